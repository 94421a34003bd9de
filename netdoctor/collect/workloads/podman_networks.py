"""podman's networks: netavark's own files, and CNI configuration lists. Source: containers/common libnetwork.

Knows nothing of containers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from netdoctor.collect.workloads import files, inspect
from netdoctor.model.snapshot import Network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from netdoctor.model.snapshot import Unread

_NETAVARK = ("etc/containers/networks", "var/lib/containers/storage/networks")
_CNI = "etc/cni/net.d"


class _Range(msgspec.Struct):
    subnet: str = ""
    gateway: str | None = None


class _Ipam(msgspec.Struct):
    subnet: str | None = None
    gateway: str | None = None
    ranges: list[list[_Range]] | None = None


class _Plugin(msgspec.Struct):
    type: str = ""
    bridge: str | None = None
    ipam: _Ipam | None = None
    is_gateway: bool = msgspec.field(name="isGateway", default=False)


class _List(msgspec.Struct):
    name: str = ""
    plugins: list[_Plugin] | None = None


def read(root: Path, unread: list[Unread]) -> Iterator[Network]:
    """Yield the networks that are configured, whether or not a container is in one."""
    for folder in _NETAVARK:
        paths = files.entries(root / folder, "*.json", unread)
        for _, one in files.documents(paths, inspect.NetavarkNetwork, unread):
            if one.name:
                yield inspect.netavark(one)
    paths = files.entries(root / _CNI, "*.conflist", unread)
    for _, listed in files.documents(paths, _List, unread):
        if listed.name and listed.plugins:
            yield _cni(listed.name, listed.plugins[0])


def _cni(name: str, plugin: _Plugin) -> Network:
    ipam = plugin.ipam or _Ipam()
    ranges = [one for group in ipam.ranges or () for one in group]
    if ipam.subnet:
        ranges.append(_Range(ipam.subnet, ipam.gateway))
    return Network(
        runtime="cni",
        name=name,
        driver=plugin.type,
        bridge=plugin.bridge,
        subnets=tuple(one.subnet for one in ranges if one.subnet),
        gateways=tuple(one.gateway for one in ranges if one.gateway),
        internal=plugin.type == "bridge" and not plugin.is_gateway,
    )
