"""containerd's tasks: pods and their containers (CRI), and nerdctl's. Source: the OCI bundle of every running task.

Knows nothing of containerd's database. Docker's own tasks are left to Docker's state, which says more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.collect.workloads import files, oci
from netdoctor.collect.workloads.found import FoundWorkload, pod_owner
from netdoctor.model.snapshot import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from netdoctor.model.snapshot import Unread

_TASKS = (
    "run/containerd/io.containerd.runtime.v2.task",
    "run/k3s/containerd/io.containerd.runtime.v2.task",
)
_CRI = "io.kubernetes.cri."
_NERDCTL = "nerdctl/"


def read(root: Path, unread: list[Unread]) -> Iterator[FoundWorkload]:
    """Yield the tasks that CRI or nerdctl named; a bundle exists only while its task does."""
    for folder in _TASKS:
        paths = (
            path for path in files.entries(root / folder, "*/*/config.json", unread) if path.parts[-3] != "moby"
        )  # fmt: skip
        for path, config in files.documents(paths, oci.Config, unread):
            found = _task(path, config)
            if found is not None:
                yield found


def _task(path: Path, config: oci.Config) -> FoundWorkload | None:
    notes, identity = config.notes, path.parent.name
    pod = notes.get(f"{_CRI}sandbox-name")
    name = notes.get(f"{_CRI}container-name") or pod or notes.get(f"{_NERDCTL}name")
    if name is None:
        return None
    return FoundWorkload(
        Workload(
            runtime="containerd",
            id=identity,
            name=name,
            pod=pod,
            pod_namespace=notes.get(f"{_CRI}sandbox-namespace"),
            owner=pod_owner(pod) if pod else None,
            pid=files.pid(path.parent / "init.pid"),
            state="running",
            network_mode="host" if config.shares_host else None,
        ),
        config.netns_path,
    )
