"""Containers and pods from the state that runtimes keep on disk: they only give names to what the kernel does.

Knows nothing of namespaces' insides. Reads no environment and no command line; torn files are noted, not fatal.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from netdoctor.collect.workloads import cni, containerd, docker, lxc, podman_networks, storage
from netdoctor.collect.workloads.found import Discovered, FoundWorkload, allowed, pod_owner
from netdoctor.model.snapshot import Network, Unread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Discovered", "FoundWorkload", "allowed", "discover", "pod_owner"]

_SOURCES: tuple[tuple[str, Callable[[Path, list[Unread]], Iterable[FoundWorkload | Network]]], ...] = (
    ("containerd", containerd.read),
    ("podman and CRI-O", storage.read),
    ("podman's networks", podman_networks.read),
    ("docker", docker.read),
    ("lxc", lxc.read),
)


def discover(root: Path = Path("/")) -> Discovered:
    """Read the state of Docker, podman, containerd, CRI-O, CNI and LXC below `root`. Raises nothing."""
    workloads: list[FoundWorkload] = []
    networks: list[Network] = []
    unread: list[Unread] = []
    attachments: list[FoundWorkload] = []
    for name, read in (*_SOURCES, ("cni", cni.read)):
        try:
            for one in read(root, unread):
                if isinstance(one, Network):
                    networks.append(one)
                elif name == "cni":
                    attachments.append(one)
                else:
                    workloads.append(one)
        except (OSError, ValueError) as error:  # ValueError: a NUL in a hostile path
            unread.append(Unread("workloads", f"{name}: {error}"))
    return Discovered(tuple(cni.attached(workloads, attachments)), tuple(networks), tuple(unread))
