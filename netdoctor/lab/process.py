"""Processes in namespaces of their own that end when their owner ends, however it ends.

Knows nothing of networks. Source: unshare(1), nsenter(1), pid_namespaces(7)
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from netdoctor.model.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

START_SECONDS = 20.0
CLOSE_SECONDS = 10.0
NAMESPACES = ("--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# Each has its own /run and /var/lib: the machine's containers, locks and journals are out of sight and out of reach.
# sysfs shows the devices of the network namespace that mounted it. Duplicate address detection would keep a namespace
# that lives for seconds busy for its first two.
_PRIVATE = """
{ hostname "$0" 2>/dev/null || :; } &&
mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/netns /run/lock &&
mount -t tmpfs -o mode=755 tmpfs /var/lib && mkdir -p /var/lib/cni/results /var/lib/netdoctor &&
{ mount -t sysfs -o ro sysfs /sys 2>/dev/null || :; } &&
{ [ ! -e /proc/sys/net/ipv6 ] || sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0; } &&
ip link set lo up && echo ready || exit 1
"""
# The first process of a pid namespace: it waits, and reaps whatever is orphaned in there. `cat` ends with its input,
# which the owner holds open; with it the kernel ends all others. PR_SET_PDEATHSIG would also fire when only a
# thread of the owner ends, and not at all when the owner ends before it is set.
_UNTIL_OWNER_ENDS = 'exec 3<&0; cat <&3 >/dev/null 2>&1 & exec 3<&- >&- 2>&-; wait "$!"'
_UNTIL_KILLED = 'sleep infinity >/dev/null 2>&1 & exec >&- 2>&-; wait "$!"'


def start(command: Sequence[str], *, held: bool = False) -> subprocess.Popen[bytes]:
    """Start a process that says `ready`, and wait until it has; `held`: it ends when its standard input ends.

    Raises: LabError with the last line that it said instead.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE if held else subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=environment(), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise LabError(f"cannot build namespaces: {command[0]}: {error.strerror}") from None
    assert process.stdout is not None
    assert process.stderr is not None
    readable, _, _ = select.select([process.stdout], [], [], START_SECONDS)
    if readable and process.stdout.readline().strip() == b"ready":
        return process
    process.kill()
    said = process.stderr.read().decode("utf-8", "replace").strip().splitlines() if readable else []
    close(process)
    why = said[-1] if said else f"{command[0]} {'ended at once' if readable else f'took over {START_SECONDS:.0f} s'}"
    raise LabError(
        f"cannot build namespaces: {why}",
        "run it as root, or allow user namespaces (`netdoctor doctor` says what is missing)",
    )


def close(process: subprocess.Popen[bytes]) -> None:
    """End a process; a held one ends itself, and all that is in its pid namespace has ended when this returns."""
    if process.stdin is not None:
        process.stdin.close()
        try:
            process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    else:
        process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def keeper(name: str, inside: int | None = None) -> subprocess.Popen[bytes]:
    """Start the first process of new namespaces, inside those of another keeper or, without, as the owner of all.

    An ordinary user becomes root of a user namespace with the first. Raises: LabError.
    """
    if inside is not None:
        entry = enter(inside, user=os.geteuid() != 0)
        return start((*entry, "unshare", *NAMESPACES, "sh", "-c", _PRIVATE + _UNTIL_KILLED, name))
    for program in ("unshare", "nsenter", "setpriv", "mount", "ip", "bridge", "sysctl"):
        if shutil.which(program, path=environment()["PATH"]) is None:
            raise LabError(
                f"cannot build namespaces: {program} is not installed", "netdoctor doctor says what to install"
            )
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return start(("unshare", *user, *NAMESPACES, "sh", "-c", _PRIVATE + _UNTIL_OWNER_ENDS, name), held=True)


def environment() -> dict[str, str]:
    """Return the environment of the lab: messages in English, and the tools that an ordinary PATH lacks."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    return {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"}


def first_inside(keeper_pid: int) -> int:
    """Return the pid, as seen here, of the first process of the namespaces that a keeper made. Raises: LabError."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            children.setdefault(_parent(entry), []).append(int(entry.name))
    waiting = [keeper_pid]
    while waiting:
        pid = waiting.pop()
        if _innermost_pid(pid) == 1:
            return pid
        waiting += children.get(pid, ())
    raise LabError("cannot build namespaces: their first process has ended")


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except OSError:
        return 0  # it has ended


def _innermost_pid(pid: int) -> int:
    """Return the pid that a process has in its own pid namespace (`NSpid` of proc_pid_status(5))."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return 0
    return next((int(line.split()[-1]) for line in status.splitlines() if line.startswith("NSpid:")), 0)


def enter(pid: int, *, netns: str | None = None, user: bool) -> tuple[str, ...]:
    """Return the words that run a program in the namespaces of `pid`; `netns` is the path of another of networks."""
    who = ("-U", "--preserve-credentials") if user else ()
    return ("nsenter", "-t", str(pid), *who, "-m", "-u", "-p", f"--net={netns}" if netns else "-n")
