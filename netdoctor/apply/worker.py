"""The process that enters one namespace and changes it: one operation, done or taken back. Run as `python -m`.

Knows nothing of plans or journals. It is told what to do on standard input; before it does it, it says what is there
and waits until that is written down.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from typing import Any, Literal

import msgspec

from netdoctor.change.plan import Operation
from netdoctor.model.errors import NetdoctorError

CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_SO_NETNS_COOKIE = 71


class Job(msgspec.Struct):
    """One operation in one namespace."""

    do: Literal["apply", "undo"]
    operation: Operation
    facts: dict[str, Any] = {}
    parent: int = 0


class Answer(msgspec.Struct):
    """What was found before, or what came of it."""

    facts: dict[str, Any] = {}
    error: str | None = None
    gone: bool = False  # the namespace is another one than that which was changed
    notes: tuple[str, ...] = ()


def main() -> None:
    """Read a job, enter the namespace, note what is there, wait for `go`, act, answer."""
    namespace, lock, parent = (int(word) for word in sys.argv[1:4])
    # Whoever started this is the only one who keeps the journal: without it nothing may be changed any more.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    try:
        _enter(namespace)
        from netdoctor.apply import kernel

        doing = kernel.doing(job.operation, lock)
        cookie = _cookie()
        if job.do == "apply":
            facts = {**doing.look(), "netns_cookie": cookie}
            _say(Answer(facts))
            if sys.stdin.buffer.readline().strip() != b"go":
                return
            _say(Answer(doing.do(facts)))
        elif job.facts.get("netns_cookie", cookie) != cookie:
            _say(Answer(gone=True))
        else:
            _say(Answer(notes=doing.undo(job.facts)))
    except NetdoctorError as error:
        _say(Answer(error=str(error)))
    except (OSError, ValueError) as error:
        _say(Answer(error=f"{job.operation.describe()}: {error}"))


def _enter(descriptor: int) -> None:
    """setns(2); Python has it from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    os.close(descriptor)


def _cookie() -> int | None:
    """Return the namespace's cookie, which no other ever has (its inode may be given again). None before Linux 5.14."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            return int.from_bytes(one.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)
        except OSError:
            return None


def _say(answer: Answer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
