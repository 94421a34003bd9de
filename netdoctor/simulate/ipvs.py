"""IPVS: a virtual server's packets to one of its real servers, and their answers back under the virtual address.

Knows nothing of what rules say. Kernel: net/netfilter/ipvs/ip_vs_core.c:ip_vs_in_hook, ip_vs_out_hook, ip_vs_schedule;
ip_vs_xmit.c:ip_vs_nat_xmit, ip_vs_dr_xmit; ip_vs_nfct.c:ip_vs_update_conntrack.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import IPIP, SCTP, TCP, UDP, Packet, family_name, format_address
from netdoctor.simulate import routing
from netdoctor.simulate.conntrack import ICMP_ERRORS, retuple, tcp_kind
from netdoctor.simulate.fib import Key
from netdoctor.simulate.frame import Frame
from netdoctor.simulate.order import Asked
from netdoctor.simulate.run import Answer, Fate, protocol
from netdoctor.topology.addresses import address, is_loopback, with_port
from netdoctor.topology.namespace import FAMILY_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Hashable

    from netdoctor.model.snapshot import RealServer, VirtualServer
    from netdoctor.simulate.hooks import At
    from netdoctor.simulate.run import Run
    from netdoctor.topology.namespace import Netns

# ip_vs_core.c:ip_vs_ops4, ip_vs_ops6
OWN: dict[str, tuple[Asked, ...]] = {
    "INPUT": (Asked(98, "ipvs out", "IPVS"), Asked(99, "ipvs in", "IPVS")),
    "OUTPUT": (Asked(-99, "ipvs out", "IPVS"), Asked(-98, "ipvs in", "IPVS")),
    "FORWARD": (Asked(100, "ipvs out", "IPVS"),),
}
STEPS = frozenset(one.what for steps in OWN.values() for one in steps)
_BALANCED = frozenset({TCP, UDP, SCTP})
_EQUAL = frozenset({"rr", "wrr"})  # in the long run each gets its share; others choose by load or by hash
_UNWEIGHTED = frozenset({"rr", "lc", "lblc", "lblcr", "dh"})
_ICMP_REFUSED = {4: "icmp-port-unreachable", 6: "icmp6-port-unreachable"}

Ends = tuple[int, int, int | None, int, int | None]  # protocol, then address and port of both ends


@dataclass(slots=True)
class Balanced:
    """One connection (struct ip_vs_conn)."""

    client: tuple[int, int | None]
    virtual: tuple[int, int | None]
    real: tuple[int, int | None]
    forward: str


@dataclass(slots=True)
class Table:
    """The connections of one namespace, by the packet that asks and by the one that answers."""

    there: dict[Ends, Balanced] = field(default_factory=dict)
    back: dict[Ends, Balanced] = field(default_factory=dict)


def asked(netns: Netns, hook: str) -> tuple[Asked, ...]:
    """Return what IPVS adds to a hook: nothing where there is no virtual server (ip_vs_register_hooks)."""
    return OWN.get(hook, ()) if netns.snapshot.ipvs else ()


def tracks(netns: Netns) -> bool:
    """Return whether IPVS keeps conntrack entries, and has connections tracked (ip_vs_register_conntrack)."""
    return bool(netns.snapshot.ipvs) and bool(netns.number("net.ipv4.vs.conntrack", 0))


def pass_ipvs(at: At, what: str) -> Fate | None:
    """Take a packet through one of IPVS' hooks (ip_vs_in_hook, ip_vs_out_hook); None where it goes on."""
    packet = at.packet
    if packet.balanced or packet.src == packet.dst == 0:
        return None
    if what == "ipvs out":
        _answer(at)
        return None
    if packet.proto not in _BALANCED or (at.hook == "INPUT" and packet.pkttype != "host"):
        return None
    return _request(at)


def _table(run: Run, netns: Netns) -> Table:
    found: Table = run.balanced.setdefault(netns.name, Table())
    return found


def _key(packet: Packet) -> Ends:
    return packet.proto, packet.src, packet.sport, packet.dst, packet.dport


# --- the way there


def _request(at: At) -> Fate | None:
    """A packet for a virtual server: its connection's real server, or a new one's (ip_vs_in_hook)."""
    packet = at.packet
    known = _table(at.run, at.netns).there.get(_key(packet))
    if known is None:
        if packet.proto == TCP and tcp_kind(packet.tcp_flags) != "syn" and not _sloppy(at.netns):
            return None
        service = _service(at.netns, packet)
        if service is None:
            return None
        usable = [server for server in service.servers if server.weight > 0]
        if not usable:
            return _refuse(at, service)
        known = _connect(at, service, _schedule(at, service, usable))
    return _send(at, known)


def _sloppy(netns: Netns) -> bool:
    return bool(netns.number("net.ipv4.vs.sloppy_tcp", 0))


def _service(netns: Netns, packet: Packet) -> VirtualServer | None:
    """The virtual server of a packet: by mark, by address and port, by address alone (ip_vs_service_find)."""
    table = _services(netns)
    if packet.mark:
        marked = table.get((packet.family, packet.mark))
        if marked is not None:
            return marked
    exact = table.get((protocol(packet), packet.family, packet.dst, packet.dport))
    return exact or table.get((protocol(packet), packet.family, packet.dst, 0))


def _services(netns: Netns) -> dict[Hashable, VirtualServer]:
    """The virtual servers by what finds them (ip_vs_svc_hashkey).

    /proc does not say the family of one that is found by mark: its real servers do.
    """
    found: dict[Hashable, VirtualServer] | None = netns.cache.get("ipvs")
    if found is None:
        found = {}
        for service in netns.snapshot.ipvs:
            if service.address is not None:
                found[service.proto, *address(service.address), service.port] = service
            else:
                families = {server.family for server in service.servers} or {"ip", "ip6"}
                found |= {(FAMILY_NUMBERS[family], service.mark): service for family in families}
        netns.cache["ipvs"] = found
    return found


def _refuse(at: At, service: VirtualServer) -> Fate:
    """Nobody serves it (ip_vs_leave)."""
    packet = at.packet
    detail = f"the virtual server {_name(packet, service)} has no real server"
    at.run.step("ipvs", at.netns, packet, hook=at.hook, action="drop", note=detail)
    cause = at.run.cause(
        "ipvs", at.netns, detail=detail, drop_reason="NETFILTER_DROP", family=family_name(packet.family)
    )
    kind = _ICMP_REFUSED[packet.family]
    return Fate(
        "rejected", at.netns, packet.in_dev or packet.out_dev, packet, cause,
        answer=Answer(kind, at.netns, packet.in_dev), errno="EPERM", silent=True,
    )  # fmt: skip


def _name(packet: Packet, service: VirtualServer) -> str:
    if service.address is None:
        return f"of mark {service.mark:#x}"
    return f"{with_port(packet.family, packet.dst, packet.dport)}/{protocol(packet)}"


def _schedule(at: At, service: VirtualServer, usable: list[RealServer]) -> RealServer:
    """Choose a real server: by its share, or, where load or a hash decide, without knowing which (ip_vs_schedule)."""
    packet = at.packet
    labels = [f"IPVS sends {_name(packet, service)} to {server.address}:{server.port}" for server in usable]
    weights = None
    if service.scheduler in _EQUAL and service.persistent is None:
        shares = [1 if service.scheduler in _UNWEIGHTED else server.weight for server in usable]
        weights = [share / sum(shares) for share in shares]
    key = ("ipvs", at.netns.name, _key(packet))
    if key not in at.run.picked:
        at.run.picked[key] = at.run.choose(labels, weights)
    return usable[at.run.picked[key]]


def _connect(at: At, service: VirtualServer, server: RealServer) -> Balanced:
    """Remember the connection (ip_vs_conn_new)."""
    packet = at.packet
    _, real = address(server.address)
    port = server.port if service.port and server.forward == "masq" else packet.dport
    made = Balanced((packet.src, packet.sport), (packet.dst, packet.dport), (real, port), server.forward)
    table = _table(at.run, at.netns)
    table.there[_key(packet)] = made
    if server.forward == "masq":
        table.back[packet.proto, real, port, packet.src, packet.sport] = made
    return made


def _send(at: At, balanced: Balanced) -> Fate | None:
    """Send a packet on to its real server (ip_vs_nat_xmit, ip_vs_dr_xmit)."""
    packet, run, netns = at.packet, at.run, at.netns
    real = format_address(packet.family, balanced.real[0])
    if balanced.forward not in ("masq", "route", "tunnel") or (balanced.forward == "tunnel" and packet.family == 6):
        return _not_known(at, f"IPVS forwards to {real} by {balanced.forward}, which is not modelled")
    # Neither the packet's mark nor its source is looked at (do_output_route4).
    route = routing.output(run, netns, Key(packet.family, balanced.real[0]), any_source=True)
    if isinstance(route, routing.NoRoute):
        detail = f"IPVS has no route to the real server {real}"
        run.step("ipvs", netns, packet, hook=at.hook, action="drop", note=detail)
        cause = run.cause("route", netns, detail=detail, family=family_name(packet.family))
        return Fate("unreachable", netns, packet.in_dev or packet.out_dev, packet, cause, silent=True)
    local = route.kind == "local"
    if local and at.hook == "INPUT" and is_loopback(packet.family, balanced.real[0]):
        return _martian(at, real)
    if not local and packet.ttl <= 1:
        kind = "ttl-exceeded" if packet.family == 4 else "hop-limit-exceeded"
        cause = run.cause("ipvs", netns, detail="the time to live is used up")
        return Fate("ttl-exceeded", netns, packet.in_dev, packet, cause, answer=Answer(kind, netns, packet.in_dev))
    if not local:
        packet.ttl -= 1  # decrement_ttl
    before = with_port(packet.family, packet.dst, packet.dport)
    if balanced.forward == "masq":
        packet.dst, packet.dport = balanced.real
    else:
        route = replace(route, gateway=(packet.family, balanced.real[0])) if not local else route
    packet.balanced = True
    _conntrack(netns, packet, balanced)
    after = with_port(packet.family, packet.dst, packet.dport) if balanced.forward == "masq" else f"by {real}"
    run.step("ipvs", netns, packet, hook=at.hook, action=balanced.forward, note=f"{before} => {after}")
    if local:
        return None
    return _tunnel(at, route, balanced) if balanced.forward == "tunnel" else _send_out(at, route)


def _not_known(at: At, detail: str) -> Fate:
    at.run.step("ipvs", at.netns, at.packet, hook=at.hook, action="unknown", note=detail)
    return Fate("unknown", at.netns, at.packet.in_dev, at.packet, at.run.cause("unmodelled", at.netns, detail=detail))


def _martian(at: At, real: str) -> Fate:
    detail = f"IPVS does not send what comes from outside to {real}"
    at.run.step("ipvs", at.netns, at.packet, hook=at.hook, action="drop", note=detail)
    cause = at.run.cause("ipvs", at.netns, detail=detail)
    return Fate("dropped", at.netns, at.packet.in_dev, at.packet, cause)


def _conntrack(netns: Netns, packet: Packet, balanced: Balanced) -> None:
    """With `net.ipv4.vs.conntrack` the answer is expected from the real server (ip_vs_update_conntrack); without, the
    packet is tracked no longer (ip_vs_notrack).
    """
    connection = packet.connection
    if not netns.number("net.ipv4.vs.conntrack", 0):
        if connection is not None or packet.ctstate is not None:
            packet.connection, packet.ctstate = None, "UNTRACKED"
        return
    if connection is None or connection.confirmed or packet.direction != "ORIGINAL" or balanced.forward != "masq":
        return
    retuple(connection, replace(connection.reply, src=balanced.real[0], sport=balanced.real[1]))


def _send_out(at: At, route: routing.Route) -> Fate:
    """The packet passes OUTPUT, from its beginning, and leaves (ip_vs_nat_send_or_cont, ip_vs_send_or_cont)."""
    from netdoctor.simulate import output, send
    from netdoctor.simulate.hooks import At, pass_hook

    run, netns, packet = at.run, at.netns, at.packet
    packet.in_dev, packet.out_dev = None, route.dev
    run.step("route", netns, packet, hook="output", action="send", note=route.text)
    out = At(run, netns, "OUTPUT", packet, route)
    fate = pass_hook(out, send.reroute)
    if fate is not None:
        fate.silent = True
        return fate
    assert out.route is not None
    return run.travel(partial(output.output, run, netns, out.route, Frame(packet, netns, out.route.dev)))


def _tunnel(at: At, route: routing.Route, balanced: Balanced) -> Fate:
    """The packet goes to its real server inside another one (ip_vs_tunnel_xmit)."""
    from netdoctor.simulate import tunnel

    run, netns, packet = at.run, at.netns, at.packet
    outer = Packet(
        packet.family, IPIP, route.src, balanced.real[0], size=packet.size + 20, ttl=packet.ttl, tos=packet.tos,
        df=packet.df and bool(netns.number("net.ipv4.vs.pmtu_disc", 1)),
    )  # fmt: skip
    frame = Frame(packet, netns, None)
    note = f"IPVS: ipip to {format_address(packet.family, balanced.real[0])}"
    return run.travel(partial(tunnel.carry_ip, run, netns, netns, frame, outer, note, kind="ipip"))


# --- the way back


def _answer(at: At) -> None:
    """What a real server sends gets the virtual server's address as its source (handle_response)."""
    packet, table = at.packet, _table(at.run, at.netns)
    if packet.proto in ICMP_ERRORS and packet.inner is not None and packet.icmp_type in ICMP_ERRORS[packet.proto]:
        _error(at, table, packet.inner)
        return
    known = table.back.get(_key(packet))
    if known is None:
        return
    before = with_port(packet.family, packet.src, packet.sport)
    packet.src, packet.sport = known.virtual
    packet.balanced = True
    after = with_port(packet.family, packet.src, packet.sport)
    at.run.step("ipvs", at.netns, packet, hook=at.hook, action="translate", note=f"source {before} => {after}")
    if not at.netns.number("net.ipv4.vs.conntrack", 0) and packet.connection is not None:
        packet.connection, packet.ctstate = None, "UNTRACKED"


def _error(at: At, table: Table, inner: Packet) -> None:
    """An ICMP error about a balanced packet speaks of the virtual server again (ip_vs_out_icmp, ip_vs_nat_icmp)."""
    known = table.back.get((inner.proto, inner.dst, inner.dport, inner.src, inner.sport))
    if known is None:
        return
    at.packet.src = known.virtual[0]
    inner.dst, inner.dport = known.virtual
    at.packet.balanced = True
