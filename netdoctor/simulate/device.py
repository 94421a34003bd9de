"""Devices: what happens to a frame that is sent by one, and on whom it arrives. Knows nothing of addresses or rules.

Kernel: net/core/dev.c:__dev_queue_xmit, __netif_receive_skb_core; drivers/net/veth.c, macvlan.c, 8021q.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from netdoctor.simulate import frame as frames
from netdoctor.simulate.run import MAX_HOPS, Fate, Onward, Run
from netdoctor.topology import wire

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Link
    from netdoctor.simulate.frame import Frame
    from netdoctor.topology.namespace import Netns

_VLAN_HEADER = 4


def transmit(run: Run, netns: Netns, link: Link, frame: Frame) -> Onward:
    """Send a frame out of a device (__dev_queue_xmit)."""
    from netdoctor.simulate import bridge, tunnel

    run.hops += 1
    packet = frame.packet
    if run.hops > MAX_HOPS:
        cause = run.cause("bridge", netns, interface=link.name, detail="the frame goes round in circles")
        return Fate("loop", netns, frame.dev, packet, cause)
    if link.link_type == "loopback":
        return partial(_loop, run, netns, link, frame)
    if not wire.carrier(netns, link):
        return _no_carrier(run, netns, link, frame)
    if link.kind == "bridge":
        return partial(bridge.send, run, netns, link, frame)
    if link.kind == "vlan" and link.vlan is not None:
        lower = netns.lower(link)
        if lower is None:
            return leave(run, netns, link, frame, "unread")
        frame.tags = (*frame.tags, link.vlan.vid)
        _cross(frame, netns, lower[0])
        return partial(transmit, run, *lower, frame)
    if link.kind in wire.MACVLAN_KINDS:
        return _macvlan(run, netns, link, frame)
    if link.kind == "vxlan" and link.vxlan is not None:
        return partial(tunnel.encapsulate, run, netns, link, frame)
    if link.kind == "veth":
        far = netns.peer(link)
        if far is None:
            return leave(run, netns, link, frame, "unread")
        return _veth(run, netns, far, frame)
    return leave(run, netns, link, frame, wire.leads_out(netns, link) or "unmodelled")


def _veth(run: Run, netns: Netns, far: tuple[Netns, Link], frame: Frame) -> Onward:
    """The other end of the pair gets it (veth_xmit, __dev_forward_skb)."""
    peer, link = far
    packet = frame.packet
    if packet.size > link.mtu + _VLAN_HEADER:
        detail = f"{packet.size} bytes do not fit the mtu {link.mtu} of {link.name}; nobody is told"
        run.step("transmit", peer, packet, action="drop", note=detail)
        cause = run.cause("mtu", peer, interface=link.name, detail=detail)
        return Fate("too-big", peer, link.name, packet, cause)
    _cross(frame, netns, peer)
    return partial(receive, run, peer, link, frame)


def _cross(frame: Frame, here: Netns, there: Netns) -> None:
    frames.scrub(frame.packet, other_namespace=here is not there)
    frame.prerouted = False


def _loop(run: Run, netns: Netns, link: Link, frame: Frame) -> Onward:
    """Loopback: the packet keeps its connection and its route, and loses its socket (loopback_xmit)."""
    from netdoctor.simulate import receive as reception

    frame.packet.has_socket = False
    frame.packet.in_dev, frame.packet.out_dev = link.name, None
    return partial(reception.receive_ip, run, netns, link, frame)


def _macvlan(run: Run, netns: Netns, link: Link, frame: Frame) -> Onward:
    """Siblings of a bridge-mode macvlan get it directly, the parent's host never (macvlan_queue_xmit)."""
    lower = netns.lower(link)
    if lower is None:
        return leave(run, netns, link, frame, "unread")
    if link.kind in ("ipvlan", "ipvtap") and (link.macvlan is None or link.macvlan.mode != "l2"):
        detail = f"{link.name}: an ipvlan in layer-3 mode is not modelled"
        run.step("transmit", netns, frame.packet, action="unknown", note=detail)
        return Fate(
            "unknown",
            netns,
            link.name,
            frame.packet,
            run.cause("unmodelled", netns, interface=link.name, detail=detail),
        )
    _cross(frame, netns, lower[0])
    if link.macvlan is not None and link.macvlan.mode in ("bridge", "l2"):
        for sibling in wire.children(*lower):
            if sibling.link is not link and sibling.link.mac == frame.packet.dst_mac and sibling.link.is_up:
                _cross(frame, lower[0], sibling.netns)
                return partial(receive, run, sibling.netns, sibling.link, frame)
    return partial(transmit, run, *lower, frame)


def receive(run: Run, netns: Netns, link: Link, frame: Frame) -> Onward:
    """A frame arrives at a device: a bridge port, one with VLANs or macvlans on it, or one that speaks IP itself.

    Kernel: net/core/dev.c:__netif_receive_skb_core
    """
    from netdoctor.simulate import bridge
    from netdoctor.simulate import receive as reception

    packet = frame.packet
    if netns.bridge_of(link) is not None:
        return partial(bridge.handle_frame, run, netns, link, frame)
    above = wire.children(netns, link)
    if frame.tags:
        for child in above:
            if child.link.vlan is not None and child.link.vlan.vid == frame.tags[-1] and child.link.is_up:
                frame.tags = frame.tags[:-1]
                if child.netns is not netns:
                    _cross(frame, netns, child.netns)
                return partial(receive, run, child.netns, child.link, frame)
        detail = f"no VLAN {frame.tags[-1]} on {link.name}"
        run.step("receive", netns, packet, action="drop", note=detail)
        return Fate("dropped", netns, link.name, packet, run.cause("link", netns, interface=link.name, detail=detail))
    for child in above:
        if child.link.kind in wire.MACVLAN_KINDS and child.link.is_up and child.link.mac == packet.dst_mac:
            if child.link.kind in ("ipvlan", "ipvtap"):
                continue  # shares its parent's MAC: told apart by address, in tunnel-free layer 2 below
            _cross(frame, netns, child.netns)
            return partial(receive, run, child.netns, child.link, frame)
    for child in above:
        own = {value for value, _ in child.netns.interface_addresses(child.link, packet.family)}
        if child.link.kind in ("ipvlan", "ipvtap") and packet.dst in own:
            _cross(frame, netns, child.netns)
            return partial(receive, run, child.netns, child.link, frame)
    packet.in_dev, packet.out_dev = link.name, None
    packet.pkttype = "host"
    if frames.is_group(packet.dst_mac):
        packet.pkttype = "broadcast" if packet.dst_mac == frames.BROADCAST else "multicast"
    elif packet.dst_mac is not None and link.mac is not None and packet.dst_mac != link.mac:
        packet.pkttype = "otherhost"
    return partial(reception.receive_ip, run, netns, link, frame)


def _no_carrier(run: Run, netns: Netns, link: Link, frame: Frame) -> Fate:
    why = f"{link.name} is down" if not link.is_up else f"{link.name} has no carrier: its other end is down"
    run.step("transmit", netns, frame.packet, action="drop", note=why)
    cause = run.cause("link", netns, interface=link.name, detail=why)
    return Fate("link-down", netns, link.name, frame.packet, cause)


def leave(run: Run, netns: Netns, link: Link, frame: Frame, how: str) -> Fate:
    """The frame leaves what the snapshot holds."""
    packet = frame.packet
    towards = f" towards {frame.next_hop}" if frame.next_hop else ""
    packet.out_dev = frame.dev
    if how == "unmodelled":
        detail = f"{link.name}: a device of kind {link.kind} is not modelled"
        run.step("transmit", netns, packet, action="unknown", note=detail)
        return Fate(
            "unknown", netns, frame.dev, packet, run.cause("unmodelled", netns, interface=link.name, detail=detail)
        )
    if how == "tunnel":
        detail = f"{link.name}: a {link.kind} tunnel is not modelled"
        run.step("transmit", netns, packet, action="unknown", note=detail)
        return Fate(
            "unknown", netns, frame.dev, packet, run.cause("unmodelled", netns, interface=link.name, detail=detail)
        )
    home = is_uplink(netns, link)
    note = f"leaves by {link.name}{towards}"
    if not home:
        note += ": the namespace at the other end was not read"
    run.step("transmit", netns, packet, action="leave", note=note)
    return Fate(
        "left",
        netns,
        frame.dev,
        packet,
        next_hop=frame.next_hop,
        leaves_home=home,
        exit=(netns, link),
        sender=frame.sender,
    )


def is_uplink(netns: Netns, link: Link) -> bool:
    """Return whether a device leads to the outside, not merely to a namespace that was not read.

    A physical link does; a veth whose peer is unknown does where it, or the bridge that it is a port of, carries a
    subnet and the namespace is the one where the snapshot was taken.
    """
    if link.kind != "veth":
        return True
    if netns is not netns.world.first(netns.host):
        return False
    carriers = [link] + ([bridge] if (bridge := netns.bridge_of(link)) is not None else [])
    ports = netns.bridge_ports(link.master) if link.master is not None else ()
    for carrier in carriers:
        routed = any(
            hop.dev == carrier.name
            for route in netns.snapshot.routes
            for hop in route.nexthops
            if route.dst in ("0.0.0.0/0", "::/0")
        )
        subnet = any(
            entry.prefixlen < (32 if entry.family == "ip" else 128) and entry.scope == "global"
            for entry in carrier.addresses
        )
        if routed or (subnet and not ports):
            return True
    return False
