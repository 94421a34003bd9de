"""podman's and CRI-O's containers: both keep them in containers/storage, and sign the OCI configuration.

Knows nothing of their databases. Source: containers/storage, libpod, cri-o pkg/annotations
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from netdoctor.collect.workloads import files, oci
from netdoctor.collect.workloads.found import FoundWorkload, allowed, pod_owner
from netdoctor.model.snapshot import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from netdoctor.model.snapshot import Unread

_STATIC = "var/lib/containers/storage"
_RUN = "run/containers/storage"
_CRIO = "io.kubernetes.cri-o."


class _Listed(msgspec.Struct):
    id: str = ""
    names: list[str] | None = None


def read(root: Path, unread: list[Unread]) -> Iterator[FoundWorkload]:
    """Yield the containers that run: those with a process id in the runtime's volatile folder."""
    seen: set[str] = set()
    names = _names(root, unread)
    for base in (_RUN, _STATIC):  # the configuration lies in either, by the runtime's version
        paths = files.entries(root / base, "*-containers/*/userdata/config.json", unread)
        for path, config in files.documents(paths, oci.Config, unread):
            identity = path.parent.parent.name
            pid = files.pid(root / _RUN / path.parent.parent.parent.name / identity / "userdata/pidfile")
            if identity in seen or pid is None or _ended(root, identity):
                continue
            seen.add(identity)
            yield _container(identity, config, pid, names.get(identity))


def _ended(root: Path, identity: str) -> bool:
    """Whether conmon wrote the container's exit status."""
    return any((root / folder / identity).exists() for folder in ("run/libpod/exits", "run/crio/exits"))


def _names(root: Path, unread: list[Unread]) -> dict[str, str]:
    """containers.json and, for `--rm` ones, volatile-containers.json: id -> first name."""
    names: dict[str, str] = {}
    for pattern in ("*-containers/containers.json", "*-containers/volatile-containers.json"):
        for base in (_STATIC, _RUN):
            paths = files.entries(root / base, pattern, unread)
            for _, listed in files.documents(paths, list[_Listed], unread):
                names.update({one.id: one.names[0] for one in listed if one.names})
    return names


def _container(identity: str, config: oci.Config, pid: int, name: str | None) -> FoundWorkload:
    notes = config.notes
    is_crio = notes.get("io.container.manager") == "cri-o" or f"{_CRIO}ContainerType" in notes
    pod = notes.get("io.kubernetes.pod.name") if is_crio else None
    labels = allowed(_labels(notes.get(f"{_CRIO}Labels"))) if is_crio else {}
    if is_crio:
        inside = notes.get("io.kubernetes.container.name")
        name = inside if inside and inside != "POD" else pod or name
    return FoundWorkload(
        Workload(
            runtime="cri-o" if is_crio else "podman",
            id=identity,
            name=name or identity[:12],
            pod=pod,
            pod_namespace=notes.get("io.kubernetes.pod.namespace") if is_crio else None,
            owner=pod_owner(pod, labels) if pod else None,
            pid=pid,
            state="running",
            network_mode="host" if config.shares_host else None,
            addresses=tuple(_addresses(notes)) if is_crio else (),
            labels=labels,
        ),
        config.netns_path,
    )


def _labels(text: str | None) -> dict[str, str]:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, str])
    except (ValueError, RecursionError):
        return {}


def _addresses(notes: dict[str, str]) -> Iterator[str]:
    """`io.kubernetes.cri-o.IP.0`, `.1`: a sandbox's addresses."""
    for number in range(2):
        address = notes.get(f"{_CRIO}IP.{number}")
        if address:
            yield address
