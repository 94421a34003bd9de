"""LXC's, LXD's and Incus's containers: no state file holds a process id, so its init is found by its cgroup.

Knows nothing of their configuration files, which may hold environment variables.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netdoctor.collect.workloads import files
from netdoctor.collect.workloads.found import FoundWorkload
from netdoctor.model.snapshot import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from netdoctor.model.snapshot import Unread

_FOLDERS = ("var/lib/lxc", "var/lib/incus/containers", "var/lib/lxd/containers", "var/snap/lxd/common/lxd/containers")
_PAYLOAD = re.compile(r"/lxc\.payload\.([^/\n]+)")
_NSPID = re.compile(r"^NSpid:.*\s1$", re.MULTILINE)


def read(root: Path, unread: list[Unread]) -> Iterator[FoundWorkload]:
    """Yield the containers that run. Processes are looked at only where such containers exist."""
    known = {path.name for folder in _FOLDERS for path in files.entries(root / folder, "*/", unread)}
    if not known:
        return
    for entry in files.entries(root / "proc", "[0-9]*", unread):
        name = _init_of(entry)
        if name in known:
            yield FoundWorkload(Workload(runtime="lxc", id=name, name=name, pid=int(entry.name), state="running"))


def _init_of(entry: Path) -> str | None:
    """Return the container of which a process is the first one, None for every other process."""
    try:
        match = _PAYLOAD.search(files.read(entry / "cgroup").decode("utf-8", "replace"))
        if match is None or not _NSPID.search(files.read(entry / "status").decode("utf-8", "replace")):
            return None
    except (OSError, ValueError):
        return None  # it ended
    return match[1]
