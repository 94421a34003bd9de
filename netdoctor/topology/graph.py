"""The world as a networkx graph: namespaces and interfaces as nodes, what ties them as edges. Knows nothing of drawing.

Nodes: a namespace's name (kind "namespace"), and (namespace, interface) (kind: the link's). Edges, by `kind`:
`contains` (namespace to interface), `veth` (between the ends of a pair), `port` (bridge port to bridge), `lower` (a
VLAN, macvlan or VXLAN to the device under it), `tunnel` (between VTEPs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx as nx

from netdoctor.topology.addresses import address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.model.snapshot import Link
    from netdoctor.topology.namespace import Netns
    from netdoctor.topology.world import World

Node = tuple[str, str]


def build(world: World) -> Any:
    """Return the networkx.MultiDiGraph of a world."""
    graph = nx.MultiDiGraph()
    for netns in world.namespaces.values():
        graph.add_node(netns.name, kind="namespace", host=netns.host)
        for link in netns.snapshot.links:
            graph.add_node((netns.name, link.name), **_attributes(link))
            graph.add_edge(netns.name, (netns.name, link.name), kind="contains")
    for netns in world.namespaces.values():
        for link in netns.snapshot.links:
            for other, kind in _ties(netns, link):
                graph.add_edge((netns.name, link.name), other, kind=kind)
    return graph


def _attributes(link: Link) -> dict[str, Any]:
    return {
        "kind": link.kind or ("loopback" if link.link_type == "loopback" else "physical"),
        "up": link.is_up,
        "mtu": link.mtu,
        "mac": link.mac,
        "addresses": tuple(f"{entry.address}/{entry.prefixlen}" for entry in link.addresses),
        "flags": () if link.port is None else _port_flags(link),
    }


def _port_flags(link: Link) -> tuple[str, ...]:
    assert link.port is not None
    flags = [] if link.port.state == "forwarding" else [link.port.state]
    flags += [name for name in ("hairpin", "isolated") if getattr(link.port, name)]
    return tuple(flags if link.port.learning else [*flags, "no learning"])


def _ties(netns: Netns, link: Link) -> Iterator[tuple[Node, str]]:
    if link.master is not None and link.master in netns.links:
        yield (netns.name, link.master), "port"
    if link.kind == "veth":
        far = netns.peer(link)
        if far is not None:
            yield (far[0].name, far[1].name), "veth"
        return
    lower = netns.lower(link) if link.parent is not None else None
    if lower is not None:
        yield (lower[0].name, lower[1].name), "lower"
    if link.vxlan is not None:
        if link.vxlan.dev is not None and link.vxlan.dev in netns.links and lower is None:
            yield (netns.name, link.vxlan.dev), "lower"
        yield from _vteps(netns, link)


def _vteps(netns: Netns, link: Link) -> Iterator[tuple[Node, str]]:
    assert link.vxlan is not None
    remotes = {entry.dst for entry in netns.snapshot.fdb if entry.dev == link.name} | {link.vxlan.remote}
    for remote in sorted(remote for remote in remotes if remote is not None):
        for other in netns.world.owners(*address(remote)):
            for device in other.snapshot.links:
                if device.vxlan is not None and device.vxlan.vni == link.vxlan.vni and other is not netns:
                    yield (other.name, device.name), "tunnel"
