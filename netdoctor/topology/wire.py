"""What shares a wire: whom a broadcast from an interface reaches, through veth pairs, bridges, VLANs and macvlans.

Knows nothing of addresses' meaning, ARP or netfilter.

Kernel: net/bridge/br_forward.c:br_flood, net/core/dev.c:__netif_receive_skb_core, drivers/net/veth.c:veth_xmit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Link
    from netdoctor.topology.namespace import Netns

# Devices whose frames leave what one host's snapshot can know, unless it says what they lead to.
MACVLAN_KINDS = frozenset({"macvlan", "macvtap", "ipvlan", "ipvtap"})
_DEPTH = 64

Seen = set[tuple[str, str, tuple[int, ...]]]  # (namespace, bridge, VLAN tags) that were flooded
ExitKind = Literal["outside", "unread", "tunnel", "unmodelled"]


@dataclass(frozen=True, slots=True)
class Station:
    """A layer-3 device that hears the wire."""

    netns: Netns
    link: Link


@dataclass(frozen=True, slots=True)
class Exit:
    """A device through which frames leave the snapshot: a physical link, a veth whose peer was not read, a tunnel."""

    netns: Netns
    link: Link
    kind: ExitKind


@dataclass(slots=True)
class Reach:
    """Whom a broadcast reaches, and where it leaves the snapshot."""

    stations: list[Station] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)

    def with_mac(self, mac: str) -> list[Station]:
        """Return the stations that have a MAC."""
        return [station for station in self.stations if station.link.mac == mac]


def reach(netns: Netns, link: Link) -> Reach:
    """Return whom a broadcast hears that a layer-3 device sends. Cached on the namespace."""
    key = f"reach {link.name}"
    found: Reach | None = netns.cache.get(key)
    if found is None:
        found = Reach()
        _transmit(netns, link, (), found, set(), 0)
        netns.cache[key] = found
    return found


def behind(netns: Netns, port: Link) -> Reach:
    """Return whom a frame reaches that a bridge sends out of one of its ports. Cached on the namespace."""
    key = f"behind {port.name}"
    found: Reach | None = netns.cache.get(key)
    if found is None:
        found = Reach()
        seen: Seen = {(netns.name, port.master or "", ())}  # not back into the bridge that sends
        _transmit(netns, port, (), found, seen, 0)
        netns.cache[key] = found
    return found


def heard(netns: Netns, link: Link) -> Reach:
    """Return whom a frame reaches that comes in by a device from outside. Cached on the namespace."""
    key = f"heard {link.name}"
    found: Reach | None = netns.cache.get(key)
    if found is None:
        found = Reach()
        _receive(netns, link, (), found, set(), 0)
        netns.cache[key] = found
    return found


def carrier(netns: Netns, link: Link) -> bool:
    """Return whether a link can send: administratively up, and so is the other end of its pair."""
    if not link.is_up:
        return False
    far = netns.peer(link)
    if far is not None:
        return far[1].is_up
    return "NO-CARRIER" not in link.flags


def leads_out(netns: Netns, link: Link) -> ExitKind | None:
    """Return how frames on a link leave the snapshot; None where the other end is known, or the device has none."""
    if link.kind in ("vxlan", "ipip", "gre", "gretap", "sit", "ip6tnl", "ip6gre", "geneve", "wireguard", "tun"):
        return "tunnel"
    if link.kind == "veth":
        return None if netns.peer(link) is not None else "unread"
    if link.kind in ("bridge", "vlan", "loopback", *MACVLAN_KINDS) or link.link_type == "loopback":
        return None
    if link.kind in (None, "tap", "bond", "team", "hv_netvsc", "virtio_net"):
        return "outside"
    return "unmodelled"


def children(netns: Netns, link: Link) -> list[Station]:
    """Return VLANs, macvlans and ipvlans on a link, in whatever namespace they live."""
    world = netns.world
    table: dict[tuple[str, str], list[Station]] | None = world.cache.get("children")
    if table is None:
        table = {}
        for other in world.namespaces.values():
            for child in other.snapshot.links:
                if child.kind == "vlan" or child.kind in MACVLAN_KINDS:
                    lower = other.lower(child)
                    if lower is not None:
                        table.setdefault((lower[0].name, lower[1].name), []).append(Station(other, child))
        world.cache["children"] = table
    return table.get((netns.name, link.name), [])


def _transmit(netns: Netns, link: Link, tags: tuple[int, ...], found: Reach, seen: Seen, depth: int) -> None:
    """What hears a broadcast that leaves by a device (veth_xmit, vlan_dev_hard_start_xmit, macvlan_start_xmit)."""
    if depth > _DEPTH or not carrier(netns, link):
        return
    if link.kind == "bridge":
        _flood(netns, link, None, tags, found, seen, depth + 1)
        return
    if link.kind == "vlan" and link.vlan is not None:
        lower = netns.lower(link)
        if lower is not None:
            _transmit(*lower, (*tags, link.vlan.vid), found, seen, depth + 1)
        return
    if link.kind in MACVLAN_KINDS:
        lower = netns.lower(link)
        if lower is None:
            found.exits.append(Exit(netns, link, "unread"))
            return
        if link.macvlan is not None and link.macvlan.mode in ("bridge", "l2"):
            for sibling in children(*lower):
                if sibling.link.kind == link.kind and sibling.link is not link and sibling.link.is_up:
                    found.stations.append(sibling)
        _transmit(*lower, tags, found, seen, depth + 1)
        return
    far = netns.peer(link)
    if far is not None:
        _receive(*far, tags, found, seen, depth + 1)
        return
    kind = leads_out(netns, link)
    if kind is not None:
        found.exits.append(Exit(netns, link, kind))


def _receive(netns: Netns, link: Link, tags: tuple[int, ...], found: Reach, seen: Seen, depth: int) -> None:
    """What hears a broadcast that comes in by a device (__netif_receive_skb_core)."""
    if not link.is_up:
        return
    bridge = netns.bridge_of(link)
    if bridge is not None:
        _flood(netns, bridge, link, tags, found, seen, depth)
        return
    above = children(netns, link)
    if tags:
        for child in above:
            if child.link.vlan is not None and child.link.vlan.vid == tags[-1]:
                _receive(child.netns, child.link, tags[:-1], found, seen, depth + 1)
        return
    if not any(child.link.macvlan is not None and child.link.macvlan.mode == "passthru" for child in above):
        found.stations.append(Station(netns, link))
    found.stations.extend(child for child in above if child.link.kind in MACVLAN_KINDS and child.link.is_up)


def _flood(
    netns: Netns,
    bridge: Link,
    ingress: Link | None,
    tags: tuple[int, ...],
    found: Reach,
    seen: Seen,
    depth: int,
) -> None:
    """The ports that a bridge sends a broadcast out of (br_flood)."""
    mark = (netns.name, bridge.name, tags)
    if mark in seen:
        return
    seen.add(mark)
    if ingress is not None:
        if not forwards(ingress):
            return
        if bridge.is_up:
            _receive_on_bridge(netns, bridge, tags, found, seen, depth)
    for port in netns.bridge_ports(bridge.name):
        if forwards(port) and may_cross(ingress, port) and (port.port is None or port.port.bcast_flood):
            _transmit(netns, port, tags, found, seen, depth + 1)


def _receive_on_bridge(netns: Netns, bridge: Link, tags: tuple[int, ...], found: Reach, seen: Seen, depth: int) -> None:
    if not tags:
        found.stations.append(Station(netns, bridge))
        found.stations.extend(child for child in children(netns, bridge) if child.link.kind in MACVLAN_KINDS)
        return
    for child in children(netns, bridge):
        if child.link.vlan is not None and child.link.vlan.vid == tags[-1]:
            _receive(child.netns, child.link, tags[:-1], found, seen, depth + 1)


def finds(netns: Netns, port: Link, mac: str | None) -> bool:
    """Return whether a bridge sends what is for one MAC out of the port behind which it lives.

    A port that neither learns nor floods leads only to MACs in the FDB. Kernel: net/bridge/br_input.c:
    br_handle_frame_finish, br_forward.c:br_flood.
    """
    if port.port is None or port.port.learning or port.port.flood:
        return True
    return any(entry.mac == mac and entry.dev == port.name for entry in netns.snapshot.fdb)


def forwards(port: Link) -> bool:
    """Return whether a bridge port is in the forwarding state. Kernel: net/bridge/br_forward.c:should_deliver."""
    return port.port is None or port.port.state == "forwarding"


def may_cross(ingress: Link | None, egress: Link) -> bool:
    """Return whether a bridge may send out of `egress` what came in by `ingress` (None: the bridge's own).

    Kernel: net/bridge/br_forward.c:should_deliver, br_private.h:br_skb_isolated.
    """
    if ingress is None:
        return True
    if ingress.name == egress.name and not (egress.port is not None and egress.port.hairpin):
        return False
    return not (ingress.port is not None and ingress.port.isolated and egress.port is not None and egress.port.isolated)
