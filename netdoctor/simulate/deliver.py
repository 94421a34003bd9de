"""A packet has reached its namespace: INPUT, and the socket that takes it or does not. Knows nothing of the way here.

Kernel: net/ipv4/ip_input.c:ip_local_deliver; net/ipv4/tcp_ipv4.c:tcp_v4_rcv; net/ipv4/udp.c:__udp4_lib_rcv; icmp.c.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import ICMP, ICMPV6, TCP, UDP, format_address
from netdoctor.simulate import device, neighbour, routing, send, sockets
from netdoctor.simulate.frame import BROADCAST, OUTSIDE, Frame
from netdoctor.simulate.hooks import At, pass_hook
from netdoctor.simulate.run import Answer, Fate, Onward, Run, protocol
from netdoctor.topology.addresses import is_link_local, is_multicast, with_port

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Link, Socket
    from netdoctor.netfilter.packet import Packet
    from netdoctor.topology.namespace import Netns
    from netdoctor.topology.wire import Exit, Station


def deliver(run: Run, netns: Netns, dev: str, packet: Packet) -> Onward:
    """Take a packet that is for this namespace to its process (ip_local_deliver)."""
    packet.in_dev, packet.out_dev = dev, None
    fate = pass_hook(At(run, netns, "INPUT", packet))
    if fate is not None:
        return fate
    return hand_over(run, netns, dev, packet)


def hand_over(run: Run, netns: Netns, dev: str, packet: Packet) -> Fate:
    """Give a packet that INPUT let through to its process (ip_local_deliver_finish)."""
    if packet.steered is not None and packet.stranger:
        return _stranger(run, netns, dev, packet, packet.steered)
    if packet.summed is not None and packet.summed != (packet.tos, packet.ttl):
        return _missummed(run, netns, dev, packet)
    if run.phase != "request" or run.muted:
        return Fate("delivered", netns, dev, packet)
    if packet.proto in (ICMP, ICMPV6):
        return _echo(run, netns, dev, packet)
    return _to_socket(run, netns, dev, packet)


def _echo(run: Run, netns: Netns, dev: str, packet: Packet) -> Fate:
    """The kernel itself answers an echo request, unless it is told not to (icmp_echo)."""
    if packet.icmp_type not in (8, 128):
        run.step("deliver", netns, packet, action="deliver", note="the kernel takes it")
        return Fate("delivered", netns, dev, packet)
    sysctl = "net.ipv4.icmp_echo_ignore_all" if packet.family == 4 else "net.ipv6.icmp.echo_ignore_all"
    if netns.number(sysctl, 0):
        run.step("deliver", netns, packet, action="drop", note=f"{sysctl} is 1")
        cause = run.cause("sysctl", netns, interface=dev, sysctl=sysctl, detail=f"{sysctl} is 1", drop_reason=None)
        return Fate("dropped", netns, dev, packet, cause)
    run.step("deliver", netns, packet, action="deliver", note="the kernel answers echo requests")
    return Fate("delivered", netns, dev, packet)


def _to_socket(run: Run, netns: Netns, dev: str, packet: Packet) -> Fate:
    """The socket that takes the packet, or a refusal (tcp_v4_rcv, __udp4_lib_rcv)."""
    where = with_port(packet.family, packet.dst, packet.dport)
    if not sockets.known(netns):
        run.assume(f"{netns.name} listens on {where}/{protocol(packet)}: its sockets are not in the snapshot")
        run.step("deliver", netns, packet, action="deliver", note=f"assumed to listen on {where}")
        return Fate("delivered", netns, dev, packet)
    socket = packet.steered or sockets.receiver(netns, packet, dev)
    if socket is not None:
        if packet.proto == TCP:
            run.accepted[netns.name, packet.tuple()] = socket
        elif packet.steered is not None:
            run.assume(f"{socket.program or 'the proxy'} answers from {where}, where it was called (IP_TRANSPARENT)")
        who = socket.program or "a process"
        run.step("deliver", netns, packet, action="deliver", note=f"{who} listens on {sockets.text(socket)}")
        return Fate("delivered", netns, dev, packet, program=socket.program, socket=socket)
    near = _nearly(netns, packet)
    note = f"nobody listens on {where}/{protocol(packet)}" + (f"; {near}" if near else "")
    run.step("deliver", netns, packet, action="refuse", note=note)
    cause = run.cause("socket", netns, interface=dev, detail=note, drop_reason="NO_SOCKET")
    kind = (
        "tcp-reset"
        if packet.proto == TCP
        else "icmp-port-unreachable"
        if packet.family == 4
        else "icmp6-port-unreachable"
    )
    return Fate("refused", netns, dev, packet, cause, answer=Answer(kind, netns, dev))


def _stranger(run: Run, netns: Netns, dev: str, packet: Packet, socket: Socket) -> Fate:
    """A listener resets what opens no connection, also where a translation behind TPROXY hid whose it is
    (tcp_v4_rcv, tcp_rcv_state_process).
    """
    who = socket.program or "a process"
    note = f"TPROXY gave it to the socket on which {who} listens: no connection was known by these addresses"
    run.step("deliver", netns, packet, action="refuse", note=note)
    cause = run.cause("socket", netns, interface=dev, detail=note, drop_reason="TCP_FLAGS")
    return Fate("refused", netns, dev, packet, cause, answer=Answer("tcp-reset", netns, dev))


def _missummed(run: Run, netns: Netns, dev: str, packet: Packet) -> Fate:
    """A checksum that conntrack computed over the header too no longer fits one that a rule has changed since
    (nf_ip6_checksum, ipv6_change_dsfield, udp6_csum_init).
    """
    note = "its checksum fails: it came in pieces, and a rule changed its header after conntrack had summed it up"
    run.step("deliver", netns, packet, action="drop", note=note)
    cause = run.cause("conntrack", netns, interface=dev, detail=note, drop_reason="UDP_CSUM")
    return Fate("dropped", netns, dev, packet, cause)


def _nearly(netns: Netns, packet: Packet) -> str:
    """What listens on the port, but not for this packet: the usual mistake."""
    for socket in netns.snapshot.sockets:
        if (
            socket.port == packet.dport
            and socket.proto == protocol(packet)
            and (socket.proto == "udp" or socket.state == "LISTEN")
        ):
            return f"{socket.program or 'a process'} listens on {sockets.text(socket)} only"
    return ""


def discover_outside(run: Run, netns: Netns, link: Link, way: Exit, asker: int, hop: int) -> bool:
    """Whether a solicitation gets out by `way`, and an advertisement that comes in there gets to who asked.

    Kernel: net/ipv6/ndisc.c:ndisc_send_ns, ndisc_recv_na
    """
    if not _rules6(netns):
        return True
    key = ("discovery outside", link.name, way.netns.name, way.link.name, asker, hop)
    return run.remembered(netns, key, lambda: _discover_outside(run, netns, link, way, asker, hop))


def _discover_outside(run: Run, netns: Netns, link: Link, way: Exit, asker: int, hop: int) -> bool:
    """There, a hop limit that a rule has changed is ignored (ndisc_rcv)."""
    ask = _through(run, netns, link, neighbour.solicitation(asker, hop), BROADCAST)
    if ask.verdict != "unknown" and (ask.verdict != "left" or ask.packet.ttl != 255):
        return False
    answer = neighbour.advertisement(hop, asker)
    answer.src_mac, answer.dst_mac = OUTSIDE, link.mac
    frame = Frame(answer, way.netns, way.link.name)
    return _is_heard(run.travel(partial(device.receive, run, way.netns, way.link, frame)), netns)


def discover(run: Run, netns: Netns, link: Link, station: Station, asker: int, hop: int) -> tuple[bool, bool]:
    """Whether a neighbour solicitation, and its answer, get through the rules on both ends and between.

    Conntrack does not follow them, so the answer is the same for every packet of a world, unless something forks.

    Kernel: net/ipv6/ndisc.c:ndisc_recv_ns, ndisc_recv_na
    """
    if not _rules6(netns):
        return True, True
    key = ("discovery", link.name, station.netns.name, station.link.name, asker, hop)
    return run.remembered(netns, key, lambda: _discover(run, netns, link, station, asker, hop))


def _discover(run: Run, netns: Netns, link: Link, station: Station, asker: int, hop: int) -> tuple[bool, bool]:
    ask = _through(run, netns, link, neighbour.solicitation(asker, hop), station.link.mac)
    if not _is_heard(ask, station.netns):
        return False, False
    answer = _through(run, station.netns, station.link, neighbour.advertisement(hop, asker), link.mac)
    return True, _is_heard(answer, netns)


def _is_heard(fate: Fate, netns: Netns) -> bool:
    """Whether neighbour discovery got there; one that a rule gave another hop limit is ignored (ndisc_rcv)."""
    return fate.verdict == "delivered" and fate.netns is netns and fate.packet.ttl == 255


def _through(run: Run, netns: Netns, link: Link, packet: Packet, mac: str | None) -> Fate:
    packet.out_dev = link.name
    fate = pass_hook(At(run, netns, "OUTPUT", packet), _reroute) or pass_hook(At(run, netns, "POSTROUTING", packet))
    if fate is not None:
        return fate
    packet.src_mac, packet.dst_mac = link.mac, mac
    frame = Frame(packet, netns, link.name, next_hop=format_address(6, packet.dst))
    return run.travel(partial(device.transmit, run, netns, link, frame))


def _reroute(at: At, table: str, before: Packet) -> Fate | None:
    """Discovery asks for no route, unless mangle changed it; one that leads elsewhere leads astray: what a gateway
    forwards has lost its hop limit of 255 (ip6_route_me_harder).

    Kernel: net/ipv6/ndisc.c:ndisc_send_skb, net/ipv6/netfilter.c:ip6_route_me_harder
    """
    packet = at.packet
    if not send.routes_anew(table, packet, before):
        return None
    strict = is_multicast(6, packet.dst) or is_link_local(6, packet.dst)
    key = routing.key_of(packet, oif=packet.out_dev if strict else None)
    route = routing.output(at.run, at.netns, key, any_source=True)
    if isinstance(route, routing.Route) and route.dev == packet.out_dev:
        owners = at.netns.world.owners
        if route.gateway is None or set(owners(*route.gateway)) & set(owners(6, packet.dst)):
            return None
    return Fate("unreachable", at.netns, packet.out_dev, packet)


def _rules6(netns: Netns) -> bool:
    """Whether any namespace of the world has IPv6 rules at all."""
    known: bool | None = netns.world.cache.get("rules6")
    if known is None:
        known = any(
            text.family == "ip6" and ("\n-A " in text.text or " DROP " in text.text)
            for other in netns.world.namespaces.values()
            for text in other.snapshot.rulesets
        ) or any(other.snapshot.nft is not None for other in netns.world.namespaces.values())
        netns.world.cache["rules6"] = known
    return known


def is_datagram(packet: Packet) -> bool:
    """Return whether a packet is UDP."""
    return packet.proto == UDP
