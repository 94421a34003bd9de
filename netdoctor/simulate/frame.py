"""A packet with what layer 2 adds to it. Knows nothing of devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet, PacketType
    from netdoctor.simulate.routing import Route
    from netdoctor.topology.namespace import Netns

BROADCAST = "ff:ff:ff:ff:ff:ff"
OUTSIDE = "outside"  # stands for the MAC of a station that no snapshot holds


@dataclass(slots=True)
class Frame:
    """A packet on a wire. Its MACs are the packet's."""

    packet: Packet
    netns: Netns  # the last namespace that routed or sent it
    dev: str | None  # and the layer-3 device there
    next_hop: str | None = None
    sender: Netns | None = None  # the last namespace that routed or made the packet
    tags: tuple[int, ...] = ()  # VLAN ids, outermost last
    prerouted: bool = False  # bridge netfilter has asked PREROUTING already
    looped: Route | None = None  # sent by loopback: the route of the sending half still counts


def scrub(packet: Packet, *, other_namespace: bool) -> None:
    """Take off what does not cross a veth pair (skb_scrub_packet): the mark only where the namespace changes."""
    packet.connection = None
    packet.ctstate = None
    packet.direction = "ORIGINAL"
    packet.phys_in = packet.phys_out = None
    packet.bridged = False
    packet.has_socket = packet.kernel_socket = False
    packet.uid = packet.gid = None
    packet.in_dev = packet.out_dev = None
    packet.realm = 0
    packet.steered = packet.summed = None
    packet.balanced = packet.duplicate = False
    if other_namespace:
        packet.mark = 0
        packet.priority = 0


def packet_type(packet: Packet, *macs: str | None) -> PacketType:
    """Return whom a frame is for that has come in by a device with these MACs."""
    shown = packet.to_group or packet.dst_mac
    if is_group(shown):
        return "broadcast" if shown == BROADCAST else "multicast"
    return "host" if shown is None or None in macs or shown in macs else "otherhost"


def is_group(mac: str | None) -> bool:
    """Return whether a MAC is broadcast or multicast."""
    return mac is not None and mac != OUTSIDE and bool(int(mac[:2], 16) & 1)
