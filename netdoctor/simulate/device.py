"""Devices: what happens to a frame that is sent by one, and on whom it arrives. Knows nothing of addresses or rules.

Kernel: net/core/dev.c:__dev_queue_xmit, __netif_receive_skb_core; drivers/net/veth.c, macvlan.c, 8021q.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from netdoctor.simulate import frame as frames
from netdoctor.simulate import layer2
from netdoctor.simulate.run import MAX_HOPS, Fate, Onward, Run
from netdoctor.topology import wire
from netdoctor.topology.addresses import address

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Link
    from netdoctor.netfilter.packet import Packet
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
    fate = layer2.egress(run, netns, link, frame)
    if fate is not None:
        return fate
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
        frame.tags = (*frame.tags, wire.tag(link))
        cross(frame, netns, lower[0])
        return partial(transmit, run, *lower, frame)
    if link.kind in wire.MACVLAN_KINDS:
        return _macvlan(run, netns, link, frame)
    if link.vxlan is not None or link.tunnel is not None:
        return partial(tunnel.transmit, run, netns, link, frame)
    if link.kind == "veth":
        far = netns.peer(link)
        if far is None:
            return leave(run, netns, link, frame, "unread")
        return _veth(run, netns, far, frame)
    return leave(run, netns, link, frame, wire.leads_out(netns, link) or "unmodelled")


def _veth(run: Run, netns: Netns, far: tuple[Netns, Link], frame: Frame) -> Onward:
    """The other end of the pair gets it (veth_xmit, __dev_forward_skb)."""
    peer, link = far
    wide = _too_wide(run, peer, link, frame.packet)
    if wide is not None:
        return wide
    cross(frame, netns, peer)
    return partial(receive, run, peer, link, frame)


def _too_wide(run: Run, netns: Netns, link: Link, packet: Packet) -> Fate | None:
    """An end of a veth pair takes nothing that it could not send (is_skb_forwardable)."""
    if packet.widest <= link.mtu + _VLAN_HEADER:
        return None
    detail = f"{packet.widest} bytes do not fit the mtu {link.mtu} of {link.name}; nobody is told"
    run.step("transmit", netns, packet, action="drop", note=detail)
    cause = run.cause("mtu", netns, interface=link.name, detail=detail)
    return Fate("too-big", netns, link.name, packet, cause)


def from_outside(run: Run, netns: Netns, link: Link, frame: Frame) -> Onward:
    """A frame of the outside arrives, which sends what its own interface can (__netif_receive_skb_core)."""
    wide = _too_wide(run, netns, link, frame.packet) if link.kind == "veth" else None
    return wide or partial(receive, run, netns, link, frame)


def cross(frame: Frame, here: Netns, there: Netns) -> None:
    """Take off what a frame does not carry from device to device (skb_scrub_packet)."""
    frames.scrub(frame.packet, other_namespace=here is not there)
    frame.prerouted = False


def _loop(run: Run, netns: Netns, link: Link, frame: Frame) -> Onward:
    """Loopback: the packet keeps its connection and its route, and loses its socket (loopback_xmit)."""
    from netdoctor.simulate import receive as reception

    frame.packet.has_socket = frame.packet.kernel_socket = False
    frame.packet.in_dev, frame.packet.out_dev = link.name, None
    fate = layer2.ingress(run, netns, link, frame)
    if fate is not None:
        return fate
    return partial(reception.receive_ip, run, netns, link, frame)


def _macvlan(run: Run, netns: Netns, link: Link, frame: Frame) -> Onward:
    """Siblings of a bridge-mode macvlan get it directly, the parent's host never (macvlan_queue_xmit)."""
    from netdoctor.simulate import ipvlan

    lower = netns.lower(link)
    if lower is None:
        return leave(run, netns, link, frame, "unread")
    if wire.is_ipvlan(link):
        return ipvlan.transmit(run, netns, link, lower, frame)
    cross(frame, netns, lower[0])
    for sibling in wire.children(*lower) if wire.mode_of(link) == "bridge" else ():
        takes = sibling.link.kind in wire.MACVLAN_KINDS and wire.mode_of(sibling.link) == "bridge"
        if sibling.link is not link and sibling.link.is_up and takes and sibling.link.mac == frame.packet.dst_mac:
            cross(frame, lower[0], sibling.netns)
            return partial(receive, run, sibling.netns, sibling.link, frame)
    return partial(transmit, run, *lower, frame)


def receive(run: Run, netns: Netns, link: Link, frame: Frame) -> Onward:
    """A frame arrives at a device, which may be a bridge port (__netif_receive_skb_core)."""
    from netdoctor.simulate import bridge

    frame.packet.pkttype = frames.packet_type(frame.packet, link.mac)
    fate = layer2.ingress(run, netns, link, frame)
    if fate is not None:
        return fate
    if netns.bridge_of(link) is not None:
        return partial(bridge.handle_frame, run, netns, link, frame)
    return partial(take, run, netns, link, frame)


def take(run: Run, netns: Netns, link: Link, frame: Frame) -> Onward:
    """What is on a device takes the frame, a VLAN or a macvlan, or the device itself (__netif_receive_skb_core)."""
    from netdoctor.simulate import receive as reception

    packet = frame.packet
    above = wire.children(netns, link)
    if frame.tags:
        return _untag(run, netns, link, above, frame)
    for child in above:
        if (
            wire.mode_of(child.link) == "source"
            and packet.src_mac == frames.OUTSIDE
            and child.link.mac == packet.dst_mac
        ):
            return unmodelled(run, netns, link, frame, "whom a macvlan that chooses by source listens to")
        if child.link.is_up and _is_for(child, packet):
            cross(frame, netns, child.netns)
            return partial(receive, run, child.netns, child.link, frame)
    packet.in_dev, packet.out_dev = link.name, None
    return partial(reception.receive_ip, run, netns, link, frame)


def _untag(run: Run, netns: Netns, link: Link, above: list[wire.Station], frame: Frame) -> Onward:
    """A VLAN device takes what has its tag (vlan_do_receive)."""
    for child in above:
        if child.link.vlan is not None and wire.tag(child.link) == frame.tags[-1] and child.link.is_up:
            frame.tags = frame.tags[:-1]
            if child.netns is not netns:
                cross(frame, netns, child.netns)
            return partial(receive, run, child.netns, child.link, frame)
    detail = f"no {wire.tag_text(frame.tags[-1])} on {link.name}"
    run.step("receive", netns, frame.packet, action="drop", note=detail)
    cause = run.cause("link", netns, interface=link.name, detail=detail)
    return Fate("dropped", netns, link.name, frame.packet, cause)


def _is_for(child: wire.Station, packet: Packet) -> bool:
    """Whether a macvlan takes a frame by its MAC, an ipvlan by its address.

    Kernel: drivers/net/macvlan.c:macvlan_handle_frame, ipvlan/ipvlan_core.c:ipvlan_handle_frame
    """
    from netdoctor.simulate import ipvlan

    if child.link.kind not in wire.MACVLAN_KINDS:
        return False
    if wire.is_ipvlan(child.link):
        return wire.mode_of(child.link) != "l3s" and ipvlan.has(child, packet)
    if wire.mode_of(child.link) == "passthru":
        return True
    if child.link.mac != packet.dst_mac:
        return False
    return wire.mode_of(child.link) != "source" or wire.listens_to(child.link, packet.src_mac)


def _no_carrier(run: Run, netns: Netns, link: Link, frame: Frame) -> Fate:
    why = f"{link.name} is down" if not link.is_up else f"{link.name} has no carrier: its other end is down"
    run.step("transmit", netns, frame.packet, action="drop", note=why)
    cause = run.cause("link", netns, interface=link.name, detail=why)
    return Fate("link-down", netns, link.name, frame.packet, cause)


def leave(run: Run, netns: Netns, link: Link, frame: Frame, how: str) -> Onward:
    """The frame leaves what the snapshot holds."""
    packet = frame.packet
    towards = f" towards {frame.next_hop}" if frame.next_hop else ""
    packet.out_dev = frame.dev
    if how == "unmodelled":
        return unmodelled(run, netns, link, frame, f"a device of kind {link.kind}")
    if how == "tunnel":
        return unmodelled(run, netns, link, frame, f"a {link.kind} tunnel")
    home = is_uplink(netns, link)
    if home:
        far = _next_host(netns, frame)
        if far is not None:
            return _to_next_host(run, netns, link, far, frame)
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


def _next_host(netns: Netns, frame: Frame) -> tuple[Netns, Link] | None:
    """The device of another host, whose snapshot is in this world too, that a frame which leaves this one gets to:
    the owner of its next hop, else of its destination.
    """
    world = netns.world
    if len(world.hosts) < 2:
        return None
    wanted = [address(frame.next_hop)] if frame.next_hop is not None else []
    for family, value in (*wanted, (frame.packet.family, frame.packet.dst)):
        for owner in world.owners(family, value):
            for link, _ in owner.addresses[family, value]:
                way = _from_outside(owner, link)
                if owner.host != netns.host and way is not None:
                    return owner, way
    return None


def _from_outside(netns: Netns, link: Link) -> Link | None:
    """The device by which a frame comes in that is for an address on `link`: itself, or an uplink of its bridge."""
    ports = netns.bridge_ports(link.name) if link.kind == "bridge" else (link,)
    return next((one for one in ports if wire.leads_out(netns, one) in ("outside", "unread")), None)


def _to_next_host(run: Run, netns: Netns, link: Link, far: tuple[Netns, Link], frame: Frame) -> Onward:
    """The network between two hosts carries a frame, as is assumed and said."""
    there, way = far
    run.assume(f"the network between {netns.host} and {there.host} carries what {netns.name} {link.name} sends")
    run.step("transmit", netns, frame.packet, action="leave", note=f"leaves by {link.name} for {there.name} {way.name}")
    cross(frame, netns, there)
    master = there.bridge_of(way)
    frame.packet.dst_mac = way.mac if master is None else master.mac
    return partial(receive, run, there, way, frame)


def unmodelled(run: Run, netns: Netns, link: Link, frame: Frame, what: str) -> Fate:
    """End the way where nobody knows what a device does."""
    detail = f"{link.name}: {what} is not modelled"
    run.step("transmit", netns, frame.packet, action="unknown", note=detail)
    cause = run.cause("unmodelled", netns, interface=link.name, detail=detail)
    return Fate("unknown", netns, frame.dev, frame.packet, cause)


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
