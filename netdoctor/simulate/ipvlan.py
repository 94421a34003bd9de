"""ipvlan: devices that share their parent's MAC and are told apart by address. Knows nothing of rules or neighbours.

Kernel: drivers/net/ipvlan/ipvlan_core.c:ipvlan_queue_xmit, ipvlan_handle_frame; ipvlan_l3s.c:ipvlan_nf_input.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import format_address
from netdoctor.simulate import device
from netdoctor.simulate import frame as frames
from netdoctor.simulate.run import Fate, Onward, Run
from netdoctor.topology import wire

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Link
    from netdoctor.netfilter.packet import Packet
    from netdoctor.simulate.frame import Frame
    from netdoctor.topology.namespace import Netns
    from netdoctor.topology.wire import Station

_SOLICITED = (0xFF02 << 112 | 0x1FF << 24) >> 24  # of a solicited-node address, but for the last three bytes


def owner(netns: Netns, parent: Link, packet: Packet) -> Station | None:
    """Return the ipvlan on a parent that has a packet's destination (ipvlan_addr_lookup)."""
    for child in wire.children(netns, parent):
        if wire.is_ipvlan(child.link) and child.link.is_up and has(child, packet):
            return child
    return None


def has(child: Station, packet: Packet) -> bool:
    """Return whether a packet's destination is an address here, or the group that asks for it (ipvlan_addr_lookup)."""
    own = [value for value, _ in child.netns.interface_addresses(child.link, packet.family)]
    if packet.family == 6 and packet.dst >> 24 == _SOLICITED:
        return int.from_bytes(packet.payload[:16], "big") in own
    return packet.dst in own


def transmit(run: Run, netns: Netns, link: Link, lower: tuple[Netns, Link], frame: Frame) -> Onward:
    """Send by an ipvlan: to a sibling, or by its parent's wire or tables (ipvlan_xmit_mode_l2, ipvlan_xmit_mode_l3)."""
    packet = frame.packet
    flags = () if link.macvlan is None else link.macvlan.flags
    if "vepa" not in flags and (wire.layer3(link) or packet.dst_mac == packet.src_mac):
        sibling = owner(*lower, packet)
        if sibling is not None and "private" in flags:
            return _private(run, netns, link, sibling, packet)
        if sibling is not None:
            device.cross(frame, netns, sibling.netns)
            return partial(device.receive, run, sibling.netns, sibling.link, frame)
        if not wire.layer3(link):
            device.cross(frame, netns, lower[0])
            return partial(device.receive, run, *lower, frame)
    device.cross(frame, netns, lower[0])
    if wire.layer3(link):
        return partial(_outbound, run, *lower, packet)
    return partial(device.transmit, run, *lower, frame)


def _private(run: Run, netns: Netns, link: Link, sibling: Station, packet: Packet) -> Fate:
    detail = f"{link.name} is private: it does not send to {sibling.netns.name} {sibling.link.name}"
    run.step("transmit", netns, packet, action="drop", note=detail)
    return Fate("dropped", netns, link.name, packet, run.cause("link", netns, interface=link.name, detail=detail))


def _outbound(run: Run, netns: Netns, parent: Link, packet: Packet) -> Onward:
    """The parent's namespace routes it as if it sent it itself, by that device (ipvlan_process_outbound)."""
    from netdoctor.simulate import send

    packet.src_mac = packet.dst_mac = None
    onward = send.send(run, netns, packet, oif=parent.name, any_source=True)
    if isinstance(onward, Fate):
        onward.errno = None  # nobody tells the process behind the ipvlan
    return onward


def deliver_l3s(run: Run, netns: Netns, link: Link, packet: Packet) -> Onward | None:
    """Deliver to an l3s ipvlan: the parent's namespace asks INPUT, the child has the socket (ipvlan_nf_input)."""
    from netdoctor.simulate import deliver
    from netdoctor.simulate.hooks import At, pass_hook

    child = owner(netns, link, packet)
    if child is None or wire.mode_of(child.link) != "l3s":
        return None
    note = f"{format_address(packet.family, packet.dst)} is of {child.netns.name} {child.link.name}"
    run.step("route", netns, packet, hook="input", action="local", note=note)
    fate = pass_hook(At(run, netns, "INPUT", packet))
    if fate is not None:
        return fate
    frames.scrub(packet, other_namespace=child.netns is not netns)
    packet.in_dev = child.link.name
    return partial(deliver.hand_over, run, child.netns, child.link.name, packet)
