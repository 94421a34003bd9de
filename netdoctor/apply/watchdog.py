"""The process that takes a plan back when whoever applied it dies half-way, or nobody confirms it. Run as `python -m`.

Knows nothing of what a plan does. It outlives the shell: a session of its own, no terminal, nobody's child.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

from netdoctor.model.errors import NetdoctorError

if TYPE_CHECKING:
    from netdoctor.apply.journal import Entry

START_SECONDS = 20.0
LOCK_SECONDS = 600.0
ATTEMPTS = 5


class Watchdog:
    """The applying side: started before the first change; a context manager."""

    def __init__(self, state_dir: str, entry: Entry) -> None:
        from netdoctor.apply.steps import environment

        command = [sys.executable, "-P", "-m", "netdoctor.apply.watchdog", state_dir, entry.id, repr(entry.made)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/",
            start_new_session=True, env=environment(),
        )  # fmt: skip

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        line = self.process.stdout.readline() if ready else b""
        self.process.stdout.close()
        if line.strip() != b"ready":
            self.process.kill()
            self.process.wait()
            raise NetdoctorError("the watchdog did not start: nothing was changed", "is there enough memory?")
        self.process.wait()  # the first of the two forks: the watchdog itself is nobody's child
        return self

    def __exit__(self, *_: object) -> None:
        """Closing the pipe without a word means: it was not finished."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def done(self) -> None:
        """Tell it that there is nothing to watch."""
        self._tell(b"done\n")

    def confirm(self, seconds: int) -> None:
        """Tell it to take the plan back after a time unless it is kept.

        Raises: NetdoctorError where it lives no more.
        """
        self._tell(b"confirm %d\n" % seconds)

    def _tell(self, line: bytes) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise NetdoctorError(
                "the watchdog died: the change stands and is not watched", "netdoctor fix --undo"
            ) from None


def main() -> None:
    """Arguments: the state folder, the plan's id, when it was made. Standard input is the pipe of who applies."""
    state_dir, name, made = sys.argv[1:4]
    if os.fork():
        os._exit(0)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    from netdoctor.apply import undo  # everything that is needed later is in memory before anything is changed

    print("ready", flush=True)  # noqa: T201
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    words = sys.stdin.readline().split()
    if words == ["done"]:
        return
    if words[:1] == ["confirm"]:
        time.sleep(int(words[1]))
    for _ in range(ATTEMPTS):
        try:
            undo.unless_kept(name, float(made), state_dir=state_dir, lock_seconds=LOCK_SECONDS)
        except NetdoctorError:
            time.sleep(1)
        else:
            return


if __name__ == "__main__":
    main()
