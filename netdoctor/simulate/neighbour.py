"""Who answers for the next hop: the neighbour cache, ARP, neighbour discovery. Knows nothing of routes.

Kernel: net/ipv4/arp.c:arp_constructor, arp_solicit, arp_process; net/ipv6/ndisc.c:ndisc_recv_ns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import ICMPV6, Packet, family_name
from netdoctor.simulate import arp, routing, source
from netdoctor.simulate import frame as frames
from netdoctor.simulate.fib import SCOPES, Key
from netdoctor.simulate.run import Answer, Fate, Run
from netdoctor.topology import wire
from netdoctor.topology.addresses import is_link_local, mask

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Link
    from netdoctor.netfilter.packet import Family
    from netdoctor.simulate.frame import Frame
    from netdoctor.simulate.trace import Cause
    from netdoctor.topology.namespace import Netns
    from netdoctor.topology.wire import Station

_USABLE = frozenset({"PERMANENT", "NOARP", "REACHABLE", "STALE", "DELAY", "PROBE"})
_WITHOUT = frozenset({"none", "ipip", "sit", "tunnel6", "gre", "ppp", "void"})


def resolve(run: Run, netns: Netns, link: Link, frame: Frame, family: Family, hop: int) -> Fate | None:
    """Give the frame the MAC of its next hop, or end it (neigh_resolve_output, arp_constructor): nobody answers."""
    packet = frame.packet
    if link.link_type in _WITHOUT or "POINTOPOINT" in link.flags:
        packet.dst_mac = None
        return None
    if "NOARP" in link.flags and link.kind != "vxlan":
        packet.dst_mac = link.mac  # arp_constructor: without ARP a neighbour has the device's own address
        return None
    if family == 4 and (hop >> 28 == 0xE or hop == 0xFFFFFFFF):
        packet.dst_mac = frames.BROADCAST
        return None
    if family == 6 and hop >> 120 == 0xFF:
        packet.dst_mac = _group6(hop)
        return None
    cached = netns.neighbours.get((link.name, family, hop))
    if cached is not None and cached.mac is not None and _USABLE & set(cached.state):
        packet.dst_mac = cached.mac
        run.step("neighbour", netns, packet, note=f"{frame.next_hop} is {cached.mac} ({cached.state[0].lower()})")
        return None
    learned = run.learned.get((netns.name, link.name, family, hop))
    if learned is not None:
        packet.dst_mac = learned
        run.step(
            "neighbour", netns, packet, note=f"{frame.next_hop} is {learned} (it has asked for an address of here)"
        )
        return None
    return _ask(run, netns, link, frame, family, hop)


def _ask(run: Run, netns: Netns, link: Link, frame: Frame, family: Family, hop: int) -> Fate | None:
    """Ask the wire (neigh_probe). Several stations with different MACs: nobody knows whose answer comes first."""
    packet = frame.packet
    heard = wire.reach(netns, link, "broadcast" if family == 4 else "multicast")
    macs: dict[str, Station] = {}
    stopped: list[Cause] = []
    for station in heard.stations if _is_found_again(netns, link) else ():
        if station.link.mac is None or station.link is link:
            continue
        if _answers(run, netns, link, station, packet, family, hop, stopped) and _gets_back(netns, link, station):
            macs.setdefault(station.link.mac, station)
    if macs:
        names = list(macs)
        at = 0
        if len(names) > 1:
            owners = [f"{macs[mac].netns.name} {macs[mac].link.name}" for mac in names]
            at = run.choose([f"{frame.next_hop} is answered for by {owner}" for owner in owners])
        packet.dst_mac = names[at]
        who = macs[names[at]]
        run.step("neighbour", netns, packet, note=f"{frame.next_hop} is {names[at]}, {who.netns.name} {who.link.name}")
        return None
    if any(_hears_from(run, netns, link, way, packet, family, hop, stopped) for way in heard.exits):
        packet.dst_mac = frames.OUTSIDE
        return None
    return _nobody(run, netns, link, frame, stopped)


def _hears_from(
    run: Run, netns: Netns, link: Link, way: wire.Exit, packet: Packet, family: Family, hop: int, stopped: list[Cause]
) -> bool:
    """Whether this end's own rules let a question out and an answer in, where the other end is not known (arp_solicit).

    Kernel: net/ipv6/ndisc.c:ndisc_solicit
    """
    from netdoctor.simulate.deliver import discover_outside

    if family == 4:
        exchange = arp.exchange_outside(run, netns, link, way, _arp_sender(netns, link, packet, hop), hop)
        stopped += [exchange.stopped] if exchange.stopped is not None else []
        return exchange.answered
    asker = _solicitor(netns, link, packet)
    return asker is not None and discover_outside(run, netns, link, way, asker, hop)


def _gets_back(netns: Netns, link: Link, station: Station) -> bool:
    """Whether what a station sends to one MAC reaches who asked: VLANs and locked ports may let one way through."""
    return any(
        one.link is link and one.netns is netns for one in wire.reach(station.netns, station.link, "unicast").stations
    )


def _is_found_again(netns: Netns, link: Link) -> bool:
    """Whether a bridge sends an answer, which is for one MAC, out of the port that the question came in by."""
    far = netns.peer(link)
    return far is None or wire.finds(*far, link.mac)


def _nobody(run: Run, netns: Netns, link: Link, frame: Frame, stopped: list[Cause]) -> Fate:
    """Nobody answered: the sender is told (arp_error_report, ndisc_error_report)."""
    packet = frame.packet
    carrier = wire.carrier(netns, link)
    if link.kind == "bridge":
        carrier = link.is_up and any(wire.carrier(netns, port) for port in netns.bridge_ports(link.name))
    protocol = "ARP" if packet.family == 4 else "neighbour discovery"
    why = _why_nobody(netns, frame) if carrier else f"{link.name} has no carrier"
    if stopped:
        by = stopped[0]
        why = f"{by.netns} drops it by {by.text or 'the policy'} in {by.family} {by.table} {by.chain}"
    note = f"nobody answers {protocol} for {frame.next_hop} on {link.name}{': ' + why if why else ''}"
    run.step("neighbour", netns, packet, action="no answer", note=note)
    cause = run.cause(
        "neighbour" if carrier else "link", netns, interface=link.name, detail=note, drop_reason="NEIGH_FAILED",
        family=family_name(packet.family),
    )  # fmt: skip
    kind = "icmp-host-unreachable" if packet.family == 4 else "icmp6-addr-unreachable"
    return Fate(
        "no-neighbour", netns, link.name, packet, cause, answer=Answer(kind, netns, packet.in_dev), errno="EHOSTUNREACH"
    )


def _why_nobody(netns: Netns, frame: Frame) -> str:
    """Say why the owner of the address does not hear or answer, where the snapshot shows it."""
    from netdoctor.topology.addresses import address

    if frame.next_hop is None:
        return ""
    family, value = address(frame.next_hop)
    for owner in netns.world.owners(family, value):
        for own, _ in owner.addresses[(family, value)]:
            if own.link_type == "loopback":
                continue
            if not own.is_up:
                return f"{owner.name} {own.name} is down"
            far = owner.peer(own)
            port = None if far is None else far[1]
            if port is not None and port.port is not None:
                if port.port.state != "forwarding":
                    return f"bridge port {port.name} of {owner.name} is {port.port.state}"
                if port.port.isolated:
                    return f"bridge port {port.name} of {owner.name} is isolated"
    return ""


def _answers(
    run: Run, netns: Netns, link: Link, station: Station, packet: Packet, family: Family, hop: int, stopped: list[Cause]
) -> bool:
    """Whether a station answers. From the question it learns who asks (neigh_event_ns, ndisc_recv_ns)."""
    if family == 6:
        return _answers6(run, netns, link, station, packet, hop)
    sender = _arp_sender(netns, link, packet, hop)
    if not _answers4(run, station, sender, hop):
        return False
    exchange = arp.exchange(run, netns, link, station, sender, hop)
    stopped += [exchange.stopped] if exchange.stopped is not None else []
    if exchange.heard:
        _learn(run, station, 4, sender, link)
    return exchange.answered


def _learn(run: Run, station: Station, family: Family, asker: int, link: Link) -> None:
    if asker and link.mac is not None:
        run.learned[station.netns.name, station.link.name, family, asker] = link.mac


def _answers4(run: Run, station: Station, sender: int, hop: int) -> bool:
    """Whether a station answers an ARP request (arp_process): its addresses, or those it stands in for."""
    other, dev = station.netns, station.link
    if "NOARP" in dev.flags:
        return False
    ask = Packet(4, 0, sender, hop, in_dev=dev.name)
    if not sender:
        if not routing.is_local(other, 4, hop):
            return False
        return not _ignored(other, dev, hop, sender)
    muted, run.muted = run.muted, run.muted + 1
    try:
        route = routing.arrive(run, other, ask, dev.name)
    finally:
        run.muted = muted
    if isinstance(route, Fate):
        return False
    if route.kind == "local":
        return not _ignored(other, dev, hop, sender) and not _filtered(run, other, dev, hop, sender)
    if route.kind != "unicast":
        return False
    proxy = other.conf(4, "all", "proxy_arp", 0) or other.conf(4, dev.name, "proxy_arp", 0)
    if route.dev == dev.name:
        return bool(other.conf(4, dev.name, "proxy_arp_pvlan", 0))
    return bool(proxy) or (dev.name, 4, hop) in other.proxies


def _arp_sender(netns: Netns, link: Link, packet: Packet, hop: int) -> int:
    """The sender address of the request (arp_solicit, arp_announce)."""
    announce = max(netns.conf(4, "all", "arp_announce", 0), netns.conf(4, link.name, "arp_announce", 0))
    if packet.family == 4 and announce < 2 and routing.is_local(netns, 4, packet.src):
        if not announce:
            return packet.src
        for value, entry in netns.interface_addresses(link, 4):
            if (value ^ hop) & mask(4, entry.prefixlen) == 0 and (value ^ packet.src) & mask(4, entry.prefixlen) == 0:
                return packet.src
    return source.select4(netns, link.name, hop, SCOPES["link"])


def _ignored(netns: Netns, dev: Link, hop: int, sender: int) -> bool:
    """Whether a setting forbids the answer (arp_ignore).

    1: only addresses of this interface, 2: and of the sender's subnet, 3: not of scope host, 8: none.
    """
    mode = max(netns.conf(4, "all", "arp_ignore", 0), netns.conf(4, dev.name, "arp_ignore", 0))
    own = dict(netns.interface_addresses(dev, 4))
    if mode == 0:
        return False
    if mode == 1:
        return hop not in own
    if mode == 2:
        return hop not in own or (hop ^ sender) & mask(4, own[hop].prefixlen) != 0
    if mode == 3:
        return all(entry.scope == "host" for _, entry in netns.addresses.get((4, hop), []))
    return mode == 8


def _filtered(run: Run, netns: Netns, dev: Link, hop: int, sender: int) -> bool:
    """arp_filter: answer only where the way back to the asker is by this interface."""
    if not (netns.conf(4, "all", "arp_filter", 0) or netns.conf(4, dev.name, "arp_filter", 0)):
        return False
    back = routing.output(run, netns, Key(4, sender, hop))
    return isinstance(back, routing.NoRoute) or back.dev != dev.name


def _answers6(run: Run, netns: Netns, link: Link, station: Station, packet: Packet, hop: int) -> bool:
    """Whether a station answers a neighbour solicitation: only for addresses of that interface, and it must get
    there.

    Kernel: net/ipv6/ndisc.c:ndisc_recv_ns
    """
    other, dev = station.netns, station.link
    own = dict(other.interface_addresses(dev, 6))
    if hop in own:
        if {"tentative", "dadfailed"} & set(own[hop].flags) and "optimistic" not in own[hop].flags:
            return False
    elif not (
        (dev.name, 6, hop) in other.proxies
        and (other.conf(6, "all", "proxy_ndp", 0) or other.conf(6, dev.name, "proxy_ndp", 0))
        and other.number("net.ipv6.conf.all.forwarding", 0)
    ):
        return False
    asker = _solicitor(netns, link, packet)
    if asker is None:
        return False
    from netdoctor.simulate.deliver import discover

    heard, answered = discover(run, netns, link, station, asker, hop)
    if heard:
        _learn(run, station, 6, asker, link)
    return answered


def _solicitor(netns: Netns, link: Link, packet: Packet) -> int | None:
    """The source of a solicitation: the packet's own where it is the device's, else the device's link-local address.

    Of several link-local ones it is the oldest, which the kernel has last (__ipv6_get_lladdr).

    Kernel: net/ipv6/ndisc.c:ndisc_solicit, ndisc_send_ns
    """
    own = [
        value
        for value, entry in netns.interface_addresses(link, 6)
        if not {"tentative", "optimistic"} & set(entry.flags)
    ]
    if packet.family == 6 and packet.src in own:
        return packet.src
    return next((value for value in reversed(own) if is_link_local(6, value)), None)


def solicitation(asker: int, hop: int) -> Packet:
    """Return a neighbour solicitation (ndisc_send_ns); it goes to the solicited-node multicast address.

    It has the kernel's own socket (ndisc_alloc_skb).
    """
    group = (0xFF02 << 112) | (0x1FF << 24) | (hop & 0xFFFFFF)
    return Packet(
        6, ICMPV6, asker, group, icmp_type=135, icmp_code=0, ttl=255, size=72, payload=hop.to_bytes(16, "big"),
        kernel_socket=True, to_group=_group6(group),
    )  # fmt: skip


def _group6(hop: int) -> str:
    """The MAC of an IPv6 multicast group (ipv6_eth_mc_map)."""
    return "33:33:" + (hop & 0xFFFFFFFF).to_bytes(4, "big").hex(":")


def advertisement(hop: int, asker: int) -> Packet:
    """Return the neighbour advertisement that answers it (ndisc_send_na)."""
    return Packet(6, ICMPV6, hop, asker, icmp_type=136, icmp_code=0, ttl=255, size=72, kernel_socket=True)


def link_local(family: Family, value: int) -> bool:
    """Return whether an address needs its interface to be named."""
    return family == 6 and is_link_local(family, value)
