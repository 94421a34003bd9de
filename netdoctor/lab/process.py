"""Processes in namespaces of their own that end when their owner ends, however it ends.

Knows nothing of networks. Source: unshare(1), prctl(2) PR_SET_PDEATHSIG, pid_namespaces(7)
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from netdoctor.model.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
START_SECONDS = 20.0
# Each has its own /run and /var/lib: the machine's containers, locks and journals are out of sight and out of reach.
PRIVATE = """
mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/netns /run/lock &&
mount -t tmpfs -o mode=755 tmpfs /var/lib && mkdir -p /var/lib/cni/results /var/lib/netdoctor /var/lib/docker/containers &&
sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 &&
ip link set lo up && echo ready && exec sleep infinity
"""
NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def die_with_parent() -> None:
    """In a child before it executes: be killed when the parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a process that says `ready`, and wait until it has. Raises: LabError with what it said instead."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent  # noqa: PLW1509
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    if line.strip() != b"ready":
        process.kill()
        said = process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        process.wait()
        raise LabError(
            f"cannot build namespaces: {said[-1] if said else 'they ended at once'}",
            "run it as root, or allow user namespaces (netdoctor doctor says what is missing)",
        )
    return process


def outer() -> subprocess.Popen[bytes]:
    """Start the process whose end ends everything. An ordinary user becomes root of a user namespace."""
    for program in ("unshare", "nsenter", "ip", "mount"):
        if shutil.which(program, path=search_path()) is None:
            raise LabError(
                f"cannot build namespaces: {program} is not installed", "netdoctor doctor says what to install"
            )
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return start(("unshare", *user, *NAMESPACES, "sh", "-c", PRIVATE))


def search_path() -> str:
    """Where an ordinary user's PATH may not look: the tools of iproute2 and iptables."""
    return os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"


def innermost(pid: int) -> int:
    """Return the last of the chain of only children below a process: what `unshare --fork` at last became."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            text = (entry / "stat").read_text(errors="replace")
        except OSError:
            continue
        parents[int(text.rpartition(")")[2].split()[1])] = int(entry.name)
    while pid in parents:
        pid = parents[pid]
    return pid


def enter(pid: int, *, netns: str | None = None, user: bool) -> tuple[str, ...]:
    """Return the words that run a program in the namespaces of `pid`; `netns` is a path for another network namespace."""
    who = ("-U", "--preserve-credentials") if user else ()
    return ("nsenter", "-t", str(pid), *who, "-m", "-p", f"--net={netns}" if netns else "-n")
