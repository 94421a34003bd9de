"""Which network namespaces there are on this host, by inode: those of processes and those with a name.

Knows nothing of what is inside them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

NAME_FOLDERS = ("/run/netns", "/var/run/netns", "/run/docker/netns")
_MOST_PIDS = 8  # as many are kept to name a namespace and to enter it


@dataclass(slots=True)
class FoundNamespace:
    """A namespace: how to open it, who lives in it, what it is called."""

    inode: int
    path: str  # may be opened for setns(2)
    pids: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


def own_inode() -> int:
    """Return the inode of the namespace that this process is in."""
    return os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116


def find() -> dict[int, FoundNamespace]:
    """Return the namespaces of every process that may be looked at, and the named ones, by inode."""
    found: dict[int, FoundNamespace] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        path = f"/proc/{entry.name}/ns/net"
        try:
            inode = int(os.readlink(path)[5:-1])  # noqa: PTH115  # "net:[4026531840]"
        except (OSError, ValueError):
            continue  # it ended, or it is somebody else's
        namespace = found.setdefault(inode, FoundNamespace(inode, path))
        if len(namespace.pids) < _MOST_PIDS:
            namespace.pids.append(int(entry.name))
    for folder in NAME_FOLDERS:
        _add_named(Path(folder), found)
    return found


def _add_named(folder: Path, found: dict[int, FoundNamespace]) -> None:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    root = folder.stat().st_dev
    for entry in entries:
        try:
            status = entry.stat()
        except OSError:
            continue
        if status.st_dev == root:  # a file whose bind mount is gone: the namespace is no more
            continue
        namespace = found.setdefault(status.st_ino, FoundNamespace(status.st_ino, str(entry)))
        if entry.name not in namespace.names:
            namespace.names.append(entry.name)


def socket_holders() -> dict[int, tuple[str, int]]:
    """Return socket inode -> (program, pid) for every process that may be looked at. Never a command line."""
    holders: dict[int, tuple[str, int]] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        program: str | None = None
        try:
            descriptors = os.scandir(f"/proc/{entry.name}/fd")
        except OSError:
            continue
        with descriptors:
            for descriptor in descriptors:
                try:
                    link = os.readlink(descriptor.path)  # noqa: PTH115
                except OSError:
                    continue
                if not link.startswith("socket:["):
                    continue
                if program is None:
                    program = _comm(entry.name)
                holders[int(link[8:-1])] = (program, int(entry.name))
    return holders


def _comm(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "?"
