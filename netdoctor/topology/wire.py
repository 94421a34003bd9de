"""What shares a wire: whom a frame from an interface reaches, through veth pairs, bridges, VLANs and macvlans.

Knows nothing of addresses' meaning, ARP or netfilter.

Kernel: net/bridge/br_forward.c:br_flood, net/core/dev.c:__netif_receive_skb_core, drivers/net/veth.c:veth_xmit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from netdoctor.topology import overlay

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Link
    from netdoctor.topology.namespace import Netns

# Devices whose frames leave what one host's snapshot can know, unless it says what they lead to.
MACVLAN_KINDS = frozenset({"macvlan", "macvtap", "ipvlan", "ipvtap"})
_DEPTH = 64

Tags = tuple[int, ...]  # as `tag` writes them, outermost last; inside a bridge that filters VLANs there is always one
Seen = set[tuple[str, str, Tags]]  # (namespace, bridge, VLAN tags) that were flooded
How = Literal["broadcast", "multicast", "unicast"]  # to one: before any bridge has learnt where it lives
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


def reach(netns: Netns, link: Link, how: How = "broadcast") -> Reach:
    """Return whom a frame reaches that a layer-3 device sends. Cached on the namespace."""
    key = f"reach {how} {link.name}"
    found: Reach | None = netns.cache.get(key)
    if found is None:
        flood = _Flood(how, link.mac)
        flood.transmit(netns, link, (), 0)
        found = netns.cache[key] = flood.found
    return found


def behind(netns: Netns, port: Link, tags: Tags = ()) -> Reach:
    """Return whom a frame for one MAC reaches that a bridge sends out of one of its ports. Cached on the namespace."""
    key = f"behind {port.name} {tags}"
    found: Reach | None = netns.cache.get(key)
    if found is None:
        flood = _Flood("unicast", None)
        flood.seen.add((netns.name, port.master or "", tags))  # not back into the bridge that sends
        flood.transmit(netns, port, tags, 0)
        found = netns.cache[key] = flood.found
    return found


def heard(netns: Netns, link: Link) -> Reach:
    """Return whom a frame reaches that comes in by a device from outside. Cached on the namespace."""
    key = f"heard {link.name}"
    found: Reach | None = netns.cache.get(key)
    if found is None:
        flood = _Flood("broadcast", None)
        flood.receive(netns, link, (), 0)
        found = netns.cache[key] = flood.found
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
    if link.vxlan is not None or link.tunnel is not None or link.kind in ("geneve", "wireguard", "tun"):
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


@dataclass(slots=True)
class _Flood:
    """One frame, and everyone who gets it."""

    how: How
    source: str | None  # the MAC that it comes from; None: that of somebody outside
    found: Reach = field(default_factory=Reach)
    seen: Seen = field(default_factory=set)

    def transmit(self, netns: Netns, link: Link, tags: Tags, depth: int) -> None:
        """A device sends it."""
        if depth > _DEPTH or not carrier(netns, link):
            return
        if link.kind == "bridge":
            self._from_bridge(netns, link, tags, depth + 1)
            return
        if link.kind == "vlan" and link.vlan is not None:
            lower = netns.lower(link)
            if lower is None:
                self.found.exits.append(Exit(netns, link, "unread"))
            else:
                self.transmit(*lower, (*tags, tag(link)), depth + 1)
            return
        if link.kind in MACVLAN_KINDS:
            self._from_macvlan(netns, link, tags, depth)
            return
        far = netns.peer(link)
        if far is not None:
            self.receive(*far, tags, depth + 1)
            return
        if link.kind in overlay.ETHERNET:
            self._into_tunnel(netns, link, tags, depth)
            return
        kind = leads_out(netns, link)
        if kind is not None:
            self.found.exits.append(Exit(netns, link, kind))

    def _into_tunnel(self, netns: Netns, link: Link, tags: Tags, depth: int) -> None:
        """The far ends of an overlay get it, and what is for one MAC those that flooded to here (vxlan_snoop)."""
        ends, lost = overlay.far_ends(netns, link)
        for end in ends + (overlay.flooders(netns, link) if self.how == "unicast" else []):
            self.receive(*end, tags, depth + 1)
        if lost:
            self.found.exits.append(Exit(netns, link, "tunnel"))

    def _from_macvlan(self, netns: Netns, link: Link, tags: Tags, depth: int) -> None:
        """Siblings get it directly, and so does the wire (macvlan_queue_xmit, ipvlan_xmit_mode_l2)."""
        lower = netns.lower(link)
        if lower is None:
            self.found.exits.append(Exit(netns, link, "unread"))
            return
        if is_ipvlan(link) and layer3(link):
            return  # without ARP there is nobody to ask, and nothing but IP is sent
        if mode_of(link) == "bridge" or _is_open_ipvlan(link):
            self.found.stations.extend(
                sibling
                for sibling in children(*lower)
                if sibling.link is not link and sibling.link.is_up and mode_of(sibling.link) == mode_of(link)
            )
        self.transmit(*lower, tags, depth + 1)

    def receive(self, netns: Netns, link: Link, tags: Tags, depth: int) -> None:
        """A device gets it."""
        if not link.is_up:
            return
        bridge = netns.bridge_of(link)
        if bridge is not None:
            self._into_bridge(netns, bridge, link, tags, depth)
            return
        self._up(netns, link, tags, depth)

    def _up(self, netns: Netns, link: Link, tags: Tags, depth: int) -> None:
        above = children(netns, link)
        if tags:
            for child in above:
                if child.link.vlan is not None and tag(child.link) == tags[-1]:
                    self.receive(child.netns, child.link, tags[:-1], depth + 1)
            return
        upper = [child for child in above if child.link.kind in MACVLAN_KINDS and child.link.is_up]
        modes = _macvlans_that_hear(upper, None if self.how == "unicast" else self.source)
        self.found.stations.extend(
            child for child in upper if mode_of(child.link) in modes or listens_to(child.link, self.source)
        )
        if "parent" in modes:
            self.found.stations.append(Station(netns, link))

    def _from_bridge(self, netns: Netns, bridge: Link, tags: Tags, depth: int) -> None:
        inside = vlan_in(netns, bridge, None, tags)
        if inside is not None:
            self._out_of_ports(netns, bridge, None, inside, depth)

    def _into_bridge(self, netns: Netns, bridge: Link, port: Link, tags: Tags, depth: int) -> None:
        if not forwards(port):
            return
        inside = vlan_in(netns, bridge, port, tags)
        if inside is None or (self.source is not None and not admits(netns, bridge, port, self.source, inside)):
            return
        own = vlan_out(netns, bridge, None, inside)
        if bridge.is_up and own is not None and (netns.name, bridge.name, inside) not in self.seen:
            self._up(netns, bridge, own, depth)
        self._out_of_ports(netns, bridge, port, inside, depth)

    def _out_of_ports(self, netns: Netns, bridge: Link, ingress: Link | None, inside: Tags, depth: int) -> None:
        """Flood the ports that let it out (br_flood)."""
        mark = (netns.name, bridge.name, inside)
        if mark in self.seen:
            return
        self.seen.add(mark)
        for port in netns.bridge_ports(bridge.name):
            outside = vlan_out(netns, bridge, port, inside)
            if outside is not None and forwards(port) and may_cross(ingress, port) and self._floods(port, ingress):
                self.transmit(netns, port, outside, depth + 1)

    def _floods(self, port: Link, ingress: Link | None) -> bool:
        """Whether a port gets flooded frames of this kind; what the bridge itself sends to a group it always gets."""
        flags = port.port
        if flags is None or (self.how != "unicast" and ingress is None):
            return True
        if self.how == "unicast":
            return True  # who answers has been learnt; `neighbour` asks where a port learns nothing
        return flags.bcast_flood if self.how == "broadcast" else flags.mcast_flood


def mode_of(link: Link) -> str:
    """Return the mode of a macvlan or ipvlan."""
    return "bridge" if link.macvlan is None else link.macvlan.mode


def listens_to(link: Link, source: str | None) -> bool:
    """Return whether a macvlan in source mode takes frames of a MAC (macvlan_forward_source); None: of somebody's."""
    return mode_of(link) == "source" and link.macvlan is not None and (source is None or source in link.macvlan.macs)


def is_ipvlan(link: Link) -> bool:
    """Return whether a device is an ipvlan: it shares its parent's MAC and is told apart by address."""
    return link.kind in ("ipvlan", "ipvtap")


def layer3(link: Link) -> bool:
    """Return whether an ipvlan routes by its parent's tables."""
    return mode_of(link) in ("l3", "l3s")


def _is_open_ipvlan(link: Link) -> bool:
    return is_ipvlan(link) and not (link.macvlan is not None and {"private", "vepa"} & set(link.macvlan.flags))


def _macvlans_that_hear(above: list[Station], source: str | None) -> set[str]:
    """Return the modes whose devices get a frame that comes in by their parent, `parent` for that one itself.

    `source`: who sent it to a group; None where that is no sibling, or where it is sent to one MAC.

    Kernel: drivers/net/macvlan.c:macvlan_handle_frame, macvlan_multicast_rx; ipvlan_core.c:ipvlan_handle_mode_l2
    """
    modes = {mode_of(child.link) for child in above}
    if "passthru" in modes:
        return {"passthru"}
    sender = next((child.link for child in above if child.link.mac == source and not is_ipvlan(child.link)), None)
    if sender is None:
        return {"parent", "private", "vepa", "bridge", "l2"}
    if mode_of(sender) == "vepa":
        return {"parent", "vepa", "bridge"}
    if mode_of(sender) == "bridge":
        return {"parent", "vepa"}
    return set()


# --- VLANs: net/bridge/br_vlan.c

_PROTOCOLS = {"802.1Q": 0, "802.1ad": 0x88A8 << 12}  # a tag's number holds its protocol where that is not the usual one


def tag(link: Link) -> int:
    """Return the tag that a VLAN device puts on its frames."""
    assert link.vlan is not None
    return _PROTOCOLS.get(link.vlan.protocol, 0) | link.vlan.vid


def tag_text(number: int) -> str:
    """Return a tag as people write it."""
    return f"VLAN {number & 0xFFF}" + (" (802.1ad)" if number >> 12 else "")


def filters(bridge: Link) -> bool:
    """Return whether a bridge tells VLANs apart."""
    return bridge.bridge is not None and bridge.bridge.vlan_filtering


def vlan_in(netns: Netns, bridge: Link, port: Link | None, tags: Tags) -> Tags | None:
    """Return the tags that a frame has inside a bridge, None where it is not let in (br_allowed_ingress).

    `port` None: the bridge itself sends it. Without filtering tags are not looked at.
    """
    if not filters(bridge) or not netns.was_read("port_vlans"):
        return tags
    known = _vlans(netns, bridge if port is None else port)
    proto = _protocol(bridge)
    if tags and tags[-1] >> 12 == proto >> 12:
        return tags if tags[-1] & 0xFFF in known else None
    own = next((vid for vid, flags in known.items() if "PVID" in flags), None)
    return None if own is None else (*tags, proto | own)


def vlan_out(netns: Netns, bridge: Link, port: Link | None, tags: Tags) -> Tags | None:
    """Return the tags with which a frame leaves a bridge, None where it does not (br_allowed_egress, br_handle_vlan).

    `port` None: the bridge itself takes it.
    """
    if not filters(bridge) or not netns.was_read("port_vlans"):
        return tags
    flags = _vlans(netns, bridge if port is None else port).get(tags[-1] & 0xFFF)
    if flags is None:
        return None
    return tags[:-1] if "Egress Untagged" in flags else tags


def _protocol(bridge: Link) -> int:
    return _PROTOCOLS.get(bridge.bridge.vlan_protocol, 0) if bridge.bridge is not None else 0


def _vlans(netns: Netns, link: Link) -> dict[int, tuple[str, ...]]:
    """The VLANs of a port, or of the bridge itself, with their flags."""
    table: dict[str, dict[int, tuple[str, ...]]] | None = netns.cache.get("vlans")
    if table is None:
        table = {}
        for entry in netns.snapshot.port_vlans:
            for vid in range(entry.vid, (entry.vid_end or entry.vid) + 1):
                table.setdefault(entry.dev, {})[vid] = entry.flags
        netns.cache["vlans"] = table
    return table.get(link.name, {})


def vid_of(bridge: Link, tags: Tags) -> int | None:
    """Return the VLAN by which a bridge's FDB tells a frame's addresses apart, None where it does not filter."""
    return tags[-1] & 0xFFF if filters(bridge) and tags else None


# --- ports


def admits(netns: Netns, bridge: Link, port: Link, source: str | None, tags: Tags) -> bool:
    """Return whether a port takes frames of a MAC: a locked one only if its FDB entry names this port.

    Kernel: net/bridge/br_input.c:br_handle_frame_finish
    """
    if port.port is None or not port.port.locked:
        return True
    vid = vid_of(bridge, tags)
    return any(
        entry.mac == source
        and entry.dev == port.name
        and entry.master == bridge.name
        and entry.state != "permanent"
        and entry.vlan == vid
        and "self" not in entry.flags
        for entry in netns.snapshot.fdb
    )


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
