"""Docker's containers, from what its daemon keeps on disk. Source: moby daemon/container, `config.v2.json`.

Knows nothing of networks' drivers: the daemon keeps those in a database of its own, which is not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from netdoctor.collect.workloads import files, inspect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from netdoctor.collect.workloads.found import FoundWorkload
    from netdoctor.model.snapshot import Network, Unread


class _Daemon(msgspec.Struct):
    data_root: str | None = msgspec.field(name="data-root", default=None)


class _HostConfig(msgspec.Struct, rename="pascal"):
    network_mode: str | None = None


def read(root: Path, unread: list[Unread]) -> Iterator[FoundWorkload | Network]:
    """Yield the running containers and the networks that they are in."""
    networks: dict[str, Network] = {}
    paths = files.entries(_data_root(root, unread) / "containers", "*/config.v2.json", unread)
    for path, stored in files.documents(paths, inspect.StoredContainer, unread):
        if not stored.state.running:
            continue
        host = files.one(path.parent / "hostconfig.json", _HostConfig, unread)
        found = inspect.container(stored, "docker")
        mode = host.network_mode if host else None
        yield _changed(found, network_mode=mode)
        for network in inspect.endpoint_networks(stored):
            networks.setdefault(network.name, replace(network, bridge=_bridge(root, network)))
    yield from networks.values()


def _changed(found: FoundWorkload, **changes: object) -> FoundWorkload:
    """Return `found` with some of its workload's fields changed."""
    return type(found)(replace(found.workload, **changes), found.netns_path)


def _data_root(root: Path, unread: list[Unread]) -> Path:
    """`data-root` of daemon.json, else /var/lib/docker."""
    daemon = files.one(root / "etc/docker/daemon.json", _Daemon, unread)
    chosen = daemon.data_root if daemon and daemon.data_root else "/var/lib/docker"
    return root / chosen.lstrip("/")


def _bridge(root: Path, network: Network) -> str | None:
    """Return the network's bridge by its default name, where the kernel has such a bridge."""
    name = "docker0" if network.name == "bridge" else f"br-{(network.id or '')[:12]}"
    return name if "/" not in name and (root / "sys/class/net" / name / "bridge").is_dir() else None
