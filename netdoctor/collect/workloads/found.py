"""What every runtime's reader yields: a workload, and by what its network namespace is found.

Knows nothing of any one runtime, nor of what a namespace is called.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from netdoctor.model.snapshot import Network, Unread, Workload

# The labels that a snapshot may hold: they name a workload. All others may be anything, a password too.
LABELS = frozenset({
    "app",
    "app.kubernetes.io/component",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/name",
    "com.docker.compose.project",
    "com.docker.compose.service",
    "com.docker.stack.namespace",
    "com.docker.swarm.service.name",
    "io.kubernetes.container.name",
    "io.kubernetes.pod.name",
    "io.kubernetes.pod.namespace",
    "io.podman.compose.project",
    "io.podman.compose.service",
    "k8s-app",
    "netdoctor.ignore",
    "pod-template-hash",
})  # fmt: skip

# k8s.io/apimachinery/pkg/util/rand: the letters of generated suffixes.
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
_REPLICA_SET = re.compile(rf"(.+)-{_SAFE}{{6,10}}-{_SAFE}{{5}}\Z")
_GENERATED = re.compile(rf"(.+)-{_SAFE}{{5}}\Z")


@dataclass(frozen=True, slots=True)
class FoundWorkload:
    """A workload, and by what its namespace is found: a path, else a process."""

    workload: Workload
    netns_path: str | None = None

    def inode(self, found: Container[int]) -> int | None:
        """Return the inode of its network namespace; None where it is gone or not among `found`."""
        pid = self.workload.pid
        for path in (self.netns_path, f"/proc/{pid}/ns/net" if pid else None):
            if path is None or not path.startswith("/"):
                continue
            try:
                inode = os.stat(path).st_ino  # noqa: PTH116
            except (OSError, ValueError):  # ValueError: a NUL in a hostile path
                continue
            if inode in found:
                return inode
        return None


class Discovered(NamedTuple):
    """What every runtime's state tells."""

    workloads: tuple[FoundWorkload, ...]
    networks: tuple[Network, ...]
    unread: tuple[Unread, ...]


def allowed(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Return the labels that a snapshot may hold."""
    return {key: labels[key] for key in sorted(LABELS & labels.keys())} if labels else {}


def pod_owner(pod: str, labels: Mapping[str, str] | None = None) -> str:
    """Return the name that outlives a pod: its controller's, read from the pod's name as Kubernetes composes it.

    A Deployment's pod is NAME-TEMPLATEHASH-RANDOM, a DaemonSet's or Job's NAME-RANDOM, a StatefulSet's NAME-ORDINAL
    (which is stable itself).
    """
    template = (labels or {}).get("pod-template-hash")
    if template and f"-{template}-" in pod:
        return pod.rpartition(f"-{template}-")[0]
    match = _REPLICA_SET.match(pod) or _GENERATED.match(pod)
    return match[1] if match else pod
