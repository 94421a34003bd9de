"""Containers and pods from the state that runtimes keep on disk: they only give names to what the kernel does.

Knows nothing of namespaces' insides. Reads no environment and no command line; torn or hostile files are noted, not fatal.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from netdoctor.model.snapshot import Network, Port, Unread, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from netdoctor.collect.namespaces import FoundNamespace

LABELS = (
    "com.docker.compose.project", "com.docker.compose.service", "com.docker.swarm.service.name",
    "io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.container.name", "app",
    "app.kubernetes.io/name", "pod-template-hash", "netdoctor.ignore",
)  # fmt: skip
_MOST_BYTES = 8 << 20  # a state file that is larger is not one
_MOST_FILES = 20_000
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FoundWorkload:
    """A workload, and by what its namespace is found: a process or a path."""

    workload: Workload
    netns_path: str | None = None

    def inode(self, found: Mapping[int, FoundNamespace]) -> int | None:
        """Return the inode of its network namespace, None where it is gone."""
        for path in (self.netns_path, f"/proc/{self.workload.pid}/ns/net" if self.workload.pid else None):
            if path is None:
                continue
            try:
                inode = os.stat(path).st_ino  # noqa: PTH116
            except OSError:
                continue
            if inode in found:
                return inode
        return None


@dataclass(frozen=True, slots=True)
class Discovered:
    """What every runtime's state tells."""

    workloads: tuple[FoundWorkload, ...]
    networks: tuple[Network, ...]
    unread: tuple[Unread, ...]


def discover(root: Path = Path("/")) -> Discovered:
    """Read the state of Docker, podman, containerd, CRI-O and CNI below `root`."""
    workloads: list[FoundWorkload] = []
    networks: list[Network] = []
    unread: list[Unread] = []
    for name, read in _SOURCES:
        try:
            for one in read(root, unread):
                (workloads if isinstance(one, FoundWorkload) else networks).append(one)  # type: ignore[arg-type]
        except OSError as error:
            unread.append(Unread(f"workloads of {name}", error.strerror or str(error)))
    return Discovered(tuple(workloads), tuple(networks), tuple(unread))


def _json_files(paths: Iterator[Path], unread: list[Unread]) -> Iterator[tuple[Path, Json]]:
    """Yield the files that hold a JSON object; note the others."""
    for count, path in enumerate(paths):
        if count >= _MOST_FILES:
            unread.append(Unread("workloads", f"more than {_MOST_FILES} state files in {path.parent}"))
            return
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise ValueError("too large for a state file")
            value = msgspec.json.decode(path.read_bytes())
            if not isinstance(value, dict):
                raise TypeError("not a JSON object")
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError, msgspec.DecodeError) as error:
            unread.append(Unread("workloads", f"{path}: {error}"))
            continue
        yield path, value


def allowed(labels: Any) -> dict[str, str]:
    """Return the labels that a snapshot may hold."""
    if not isinstance(labels, dict):
        return {}
    return {key: str(labels[key]) for key in LABELS if key in labels}


def _docker(root: Path, unread: list[Unread]) -> Iterator[FoundWorkload]:
    """Moby daemon/container: config.v2.json."""
    paths = (root / "var/lib/docker/containers").glob("*/config.v2.json")
    for _, config in _json_files(paths, unread):
        state = config.get("State") or {}
        if not state.get("Running"):
            continue
        yield docker_container(config, state.get("Pid"), config.get("ID", ""))


def docker_container(config: Json, pid: int | None, identity: str) -> FoundWorkload:
    """Return a container from Docker's state on disk or from `docker inspect`, which agree in these parts."""
    settings = config.get("NetworkSettings") or {}
    labels = allowed((config.get("Config") or {}).get("Labels"))
    networks = settings.get("Networks") or {}
    addresses = [
        address
        for network in networks.values()
        if isinstance(network, dict)
        for address in (network.get("IPAddress"), network.get("GlobalIPv6Address"))
        if address
    ]
    workload = Workload(
        runtime="docker",
        id=identity,
        name=str(config.get("Name", identity[:12])).removeprefix("/"),
        pod=labels.get("io.kubernetes.pod.name"),
        pod_namespace=labels.get("io.kubernetes.pod.namespace"),
        owner=labels.get("com.docker.compose.service"),
        pid=pid or None,
        state="running" if pid else None,
        networks=tuple(networks),
        addresses=tuple(addresses),
        ports=tuple(_docker_ports(settings.get("Ports"))),
        labels=labels,
    )
    return FoundWorkload(workload, settings.get("SandboxKey") or None)


def _docker_ports(ports: Any) -> Iterator[Port]:
    for inside, bindings in (ports or {}).items():
        number, _, proto = str(inside).partition("/")
        for binding in bindings or ():
            if number.isdecimal() and str(binding.get("HostPort", "")).isdecimal():
                yield Port(proto or "tcp", int(number), int(binding["HostPort"]), binding.get("HostIp") or None)


def _podman(root: Path, unread: list[Unread]) -> Iterator[FoundWorkload]:
    """Libpod keeps names in a database; the OCI configuration beside it has the name as an annotation."""
    folders = ("var/lib/containers/storage/overlay-containers", "run/containers/storage/overlay-containers")
    names = _podman_names(root, unread)
    for folder in folders:
        for path in (root / folder).glob("*/userdata"):
            identity = path.parent.name
            pid = _pid_file(path / "pidfile") or _pid_file(path / "conmon.pid")
            if pid is None or _pid_file(path / "pidfile") is None:
                continue
            yield FoundWorkload(Workload(
                runtime="podman", id=identity, name=names.get(identity, identity[:12]), pid=pid, state="running"
            ))  # fmt: skip


def _podman_names(root: Path, unread: list[Unread]) -> dict[str, str]:
    index = root / "var/lib/containers/storage/overlay-containers/containers.json"
    try:
        listed = msgspec.json.decode(index.read_bytes())
        return {one["id"]: one["names"][0] for one in listed if one.get("names")}
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, KeyError, TypeError, IndexError) as error:
        unread.append(Unread("workloads", f"{index}: {error}"))
        return {}


def _pid_file(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _containerd(root: Path, unread: list[Unread]) -> Iterator[FoundWorkload]:
    """The OCI configuration of every task: CRI's annotations name the pod."""
    for base in ("run/containerd/io.containerd.runtime.v2.task", "run/containers/storage/overlay-containers"):
        pattern = "*/*/config.json" if "containerd" in base else "*/userdata/config.json"
        for path, config in _json_files((root / base).glob(pattern), unread):
            found = _oci(path, config)
            if found is not None:
                yield found


def _oci(path: Path, config: Json) -> FoundWorkload | None:
    notes = config.get("annotations") or {}
    crio = "io.kubernetes.cri-o.ContainerType" in notes
    pod = notes.get("io.kubernetes.cri.sandbox-name") or notes.get("io.kubernetes.pod.name")
    if pod is None:
        return None
    spaces = (config.get("linux") or {}).get("namespaces") or ()
    netns = next((space.get("path") for space in spaces if space.get("type") == "network"), None)
    identity = path.parent.parent.name if crio else path.parent.name
    return FoundWorkload(
        Workload(
            runtime="cri-o" if crio else "containerd",
            id=identity,
            name=notes.get("io.kubernetes.cri.container-name") or pod,
            pod=pod,
            pod_namespace=notes.get("io.kubernetes.cri.sandbox-namespace") or notes.get("io.kubernetes.pod.namespace"),
            pid=_pid_file(path.parent / "init.pid") or _pid_file(path.parent / "pidfile"),
            state="running",
        ),
        netns,
    )


def _cni(root: Path, unread: list[Unread]) -> Iterator[FoundWorkload]:
    """Libcni's cache of results, which containerd and CRI-O keep: pkg libcni, `cachedInfo`."""
    for _, cached in _json_files((root / "var/lib/cni/results").glob("*"), unread):
        arguments = {one[0]: one[1] for one in cached.get("cniArgs") or () if isinstance(one, list) and len(one) == 2}
        pod = arguments.get("K8S_POD_NAME")
        result = cached.get("result") or {}
        netns = cached.get("netns") or next(
            (one.get("sandbox") for one in result.get("interfaces") or () if one.get("sandbox")), None
        )
        if cached.get("kind") != "cniCacheV1" or netns is None:
            continue
        identity = str(cached.get("containerId", ""))
        yield FoundWorkload(
            Workload(
                runtime="cni",
                id=identity,
                name=pod or identity[:12],
                pod=pod,
                pod_namespace=arguments.get("K8S_POD_NAMESPACE"),
                state="running",
                networks=(str(cached["networkName"]),) if cached.get("networkName") else (),
                addresses=tuple(str(one.get("address", "")).partition("/")[0] for one in result.get("ips") or ()),
            ),
            netns,
        )


def _lxc(root: Path, unread: list[Unread]) -> Iterator[FoundWorkload]:
    """LXC's monitor keeps no state file with a pid; its containers' init processes carry the name in their cgroup."""
    del unread
    known = {path.name for path in (root / "var/lib/lxc").glob("*") if path.is_dir()}
    if not known:
        return
    for entry in (root / "proc").glob("[0-9]*"):
        try:
            text = (entry / "cgroup").read_text()
            first = (entry / "status").read_text()
        except OSError:
            continue
        name = text.rpartition("lxc.payload.")[2].partition("/")[0].strip()
        if name in known and "NSpid:" in first and first.partition("NSpid:")[2].splitlines()[0].split()[-1] == "1":
            yield FoundWorkload(Workload(runtime="lxc", id=name, name=name, pid=int(entry.name), state="running"))


_SOURCES: tuple[tuple[str, Callable[[Path, list[Unread]], Iterator[FoundWorkload]]], ...] = (
    ("cni", _cni),
    ("containerd", _containerd),
    ("docker", _docker),
    ("podman", _podman),
    ("lxc", _lxc),
)
