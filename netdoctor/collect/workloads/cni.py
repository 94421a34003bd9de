"""Pods by libcni's cache of results, which containerd, CRI-O and podman keep. Source: libcni api.go, `cachedInfo`.

Knows nothing of plugins. The plugin's configuration, which the cache also holds, is not decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from netdoctor.collect.workloads import files
from netdoctor.collect.workloads.found import FoundWorkload, pod_owner
from netdoctor.model.errors import SnapshotError
from netdoctor.model.snapshot import Port, Workload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from netdoctor.model.snapshot import Unread

_FOLDERS = ("var/lib/cni/results", "var/lib/cni/cache/results")


class _Interface(msgspec.Struct):
    sandbox: str | None = None


class _Ip(msgspec.Struct):
    address: str = ""


class _Result(msgspec.Struct):
    interfaces: list[_Interface] | None = None
    ips: list[_Ip] | None = None


class _Mapping(msgspec.Struct):
    host_port: int = msgspec.field(name="hostPort", default=0)
    container_port: int = msgspec.field(name="containerPort", default=0)
    protocol: str = "tcp"
    host_ip: str = msgspec.field(name="hostIP", default="")


class _Capabilities(msgspec.Struct):
    mappings: list[_Mapping] | None = msgspec.field(name="portMappings", default=None)


class _Cached(msgspec.Struct):
    kind: str = ""
    identity: str = msgspec.field(name="containerId", default="")
    network: str = msgspec.field(name="networkName", default="")
    netns: str | None = None
    arguments: list[list[str]] | None = msgspec.field(name="cniArgs", default=None)
    capabilities: _Capabilities | None = msgspec.field(name="capabilityArgs", default=None)
    result: _Result | None = None


def read(root: Path, unread: list[Unread]) -> Iterator[FoundWorkload]:
    """Yield a workload for every network that a container was attached to."""
    for folder in _FOLDERS:
        paths = [path for path in files.entries(root / folder, "*", unread) if path.is_file()]
        for _, cached in files.documents(paths, _Cached, unread):
            if cached.kind == "cniCacheV1" and cached.identity:
                yield _attachment(cached)


def results(document: bytes) -> tuple[FoundWorkload, ...]:
    """Return the workloads of a JSON list of cached results. Raises: SnapshotError."""
    try:
        listed = msgspec.json.decode(document or b"[]", type=list[_Cached])
    except (ValueError, RecursionError) as error:
        raise SnapshotError(f"the CNI results are damaged: {error}", "save them again") from None
    return tuple(_attachment(cached) for cached in listed if cached.identity)


def attached(workloads: Iterable[FoundWorkload], attachments: Iterable[FoundWorkload]) -> list[FoundWorkload]:
    """Merge what CNI knows (networks, addresses, ports) into its container; unknown ones stand for themselves."""
    merged = {one.workload.id: one for one in workloads}
    for attachment in attachments:
        identity = attachment.workload.id
        merged[identity] = _merge(merged[identity], attachment) if identity in merged else attachment
    return list(merged.values())


def _merge(known: FoundWorkload, attachment: FoundWorkload) -> FoundWorkload:
    mine, theirs = known.workload, attachment.workload
    return FoundWorkload(
        replace(
            mine,
            networks=tuple(dict.fromkeys((*mine.networks, *theirs.networks))),
            addresses=tuple(dict.fromkeys((*mine.addresses, *theirs.addresses))),
            ports=tuple(dict.fromkeys((*mine.ports, *theirs.ports))),
        ),
        known.netns_path or attachment.netns_path,
    )


def _attachment(cached: _Cached) -> FoundWorkload:
    arguments = {one[0]: one[1] for one in cached.arguments or () if len(one) == 2}
    pod = arguments.get("K8S_POD_NAME")
    result = cached.result or _Result()
    netns = cached.netns or next((one.sandbox for one in result.interfaces or () if one.sandbox), None)
    return FoundWorkload(
        Workload(
            runtime="cni",
            id=cached.identity,
            name=pod or cached.identity[:12],
            pod=pod,
            pod_namespace=arguments.get("K8S_POD_NAMESPACE"),
            owner=pod_owner(pod) if pod else None,
            state="running",
            networks=(cached.network,) if cached.network else (),
            addresses=tuple(one.address.partition("/")[0] for one in result.ips or () if one.address),
            ports=tuple(_ports(cached.capabilities)),
        ),
        netns,
    )


def _ports(capabilities: _Capabilities | None) -> Iterator[Port]:
    for one in (capabilities.mappings if capabilities else None) or ():
        if 0 < one.host_port < 65536 and 0 < one.container_port < 65536:
            yield Port(one.protocol.lower(), one.container_port, one.host_port, one.host_ip or None)
