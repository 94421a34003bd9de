"""From a flow as a user writes it to a packet in a namespace: FROM and TO resolved.

Knows nothing of what becomes of it.

Grammar: INTERFACE, "FROM", "TO", "A flow, in".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netdoctor.model.errors import FlowError
from netdoctor.model.text import printable
from netdoctor.netfilter.packet import ICMP, ICMPV6, SCTP, TCP, TCP_FLAGS, UDP, Packet, format_address
from netdoctor.simulate import tcp
from netdoctor.simulate.fib import Key, fib
from netdoctor.topology.addresses import address, is_link_local, is_loopback

if TYPE_CHECKING:
    from netdoctor.model.flow import Flow
    from netdoctor.netfilter.packet import Family
    from netdoctor.topology.namespace import Netns
    from netdoctor.topology.world import World

OUTSIDE = {4: "203.0.113.1", 6: "2001:db8:ffff::1"}  # RFC 5737, RFC 3849: nobody's
_NUMBERS = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "icmpv6": ICMPV6, "sctp": SCTP}
_SIZES = {(4, TCP): 60, (4, UDP): 29, (4, ICMP): 84, (6, TCP): 80, (6, UDP): 49, (6, ICMPV6): 104}
_ADDRESS = re.compile(
    r"\[(?P<six>[0-9A-Fa-f:.%a-z]+)\](?::(?P<port6>\d+))?\Z|(?P<four>\d+\.\d+\.\d+\.\d+)(?::(?P<port4>\d+))?\Z"
)
_DEFAULT_PORT = 40000
_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+\.?\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """TO, its parts told apart."""

    address: str | None = None
    name: str | None = None
    service: tuple[str, str] | None = None  # namespace, name
    port: int | None = None
    port_name: str | None = None
    proto: str | None = None


@dataclass(slots=True)
class Resolved:
    """A flow that can be sent."""

    flow: Flow
    netns: Netns
    packet: Packet
    local: bool  # made by a process here; else it arrives on `in_dev` from outside
    in_dev: str | None = None
    sent: Packet = None  # type: ignore[assignment]  # the packet as its process sent it, once its source is chosen
    chosen: bool = False  # the kernel chooses the source


def parse_target(text: str) -> Target:
    """Read TO: `IP[:PORT][/PROTO]`, `[IP6]:PORT`, `NAME[:PORT[/PROTO]]`, `svc/NAMESPACE/NAME[:PORT|PORTNAME]`.

    Raises: FlowError.
    """
    rest, proto = text.strip(), None
    if not rest:
        raise FlowError("cannot read the target '': it is empty", "write an address, a name or svc/NAMESPACE/NAME")
    if rest.startswith("svc/"):
        return _service_target(rest)
    head, slash, tail = rest.rpartition("/")
    if slash and tail in _NUMBERS:
        rest, proto = head, tail
    bare = _bare_address(rest)
    if bare is not None:
        return Target(address=bare, proto=proto)
    match = _ADDRESS.match(rest)
    if match is not None:
        value = match["six"] or match["four"]
        port = match["port6"] or match["port4"]
        if _bare_address(value) is not None:
            return Target(address=value.partition("%")[0], port=_port(port, text) if port else None, proto=proto)
    name, colon, port_text = rest.rpartition(":")
    if colon and port_text.isdigit():
        return Target(name=name, port=_port(port_text, text), proto=proto)
    return Target(name=rest, proto=proto)


def _bare_address(text: str) -> str | None:
    try:
        address(text.partition("%")[0])
    except ValueError:
        return None
    return text.partition("%")[0]


def _service_target(text: str) -> Target:
    head, _, port = text.removeprefix("svc/").partition(":")
    namespace, slash, name = head.partition("/")
    if not slash or not namespace or not name:
        raise FlowError(f"cannot read the target {printable(text)!r}", "write svc/NAMESPACE/NAME[:PORT]")
    number = _port(port, text) if port.isdigit() else None
    return Target(service=(namespace, name), port=number, port_name=port if port and number is None else None)


def _port(text: str, whole: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise FlowError(f"cannot read the target {printable(whole)!r}: port {text} is not between 1 and 65535")
    return number


def resolve(world: World, flow: Flow) -> Resolved:
    """Turn a flow into a packet and the namespace that it starts in. Raises: FlowError, UnknownNamespaceError."""
    target = parse_target(flow.to)
    family, destination, port, proto_name = _destination(world, flow, target)
    proto = _protocol(flow, proto_name, port, family)
    if proto in (TCP, UDP, SCTP) and port is None:
        raise FlowError(
            f"flow to {printable(flow.to)}: {proto_name or flow.proto} needs a port", "write ADDRESS:PORT or give dport"
        )
    netns, local, src, in_dev = _origin(world, flow, family)
    if src is None and flow.src is not None:
        src = _address_of(flow.src, family, "src")
    packet = _packet(flow, netns, family, proto, src or 0, destination, port, local=local)
    if in_dev is None and not local:
        raise FlowError(f"flow from {printable(flow.from_)}: no interface leads there", "say which with --in")
    return Resolved(flow, netns, packet, local, in_dev, chosen=local and not packet.src)


def _destination(world: World, flow: Flow, target: Target) -> tuple[Family, int, int | None, str | None]:
    port = flow.dport if flow.dport is not None else target.port
    proto = flow.proto or target.proto
    if target.address is not None:
        family, value = address(target.address)
        return family, value, port, proto
    if target.service is not None:
        return _service(world, flow, target)
    name = target.name or ""
    wanted: Family | None = None
    if flow.src is not None:
        wanted = address(flow.src)[0] if _bare_address(flow.src) else None
    elif _bare_address(flow.from_):
        wanted = address(flow.from_)[0]
    netns = world.find(name)
    if netns is None:
        workload = _workload_address(world, name)
        if workload is not None:
            family, value = address(workload)
            return family, value, port, proto
        if _HOST_NAME.match(name):
            raise FlowError(f"cannot resolve {printable(name)!r}: DNS names are not looked up", "write the address")
        world.namespace(name)  # says which there are
        raise AssertionError
    own = primary_address(netns, wanted)
    if own is None:
        raise FlowError(f"namespace {netns.name} has no address", "write the address that is meant")
    return own[0], own[1], port, proto


def _workload_address(world: World, name: str) -> str | None:
    for snapshot in world.snapshots.values():
        for workload in snapshot.workloads:
            full = f"{workload.pod_namespace}/{workload.pod}"
            if workload.addresses and (
                name in (workload.name, full, workload.pod) or (len(name) > 11 and workload.id.startswith(name))
            ):
                return workload.addresses[0].partition("/")[0]
    return None


def primary_address(netns: Netns, family: Family | None = None) -> tuple[Family, int] | None:
    """Return the address by which others know a namespace: of the interface of its default route, IPv4 first."""
    best: tuple[int, tuple[Family, int]] | None = None
    defaults = {
        hop.dev for route in netns.snapshot.routes if route.dst in ("0.0.0.0/0", "::/0") for hop in route.nexthops
    }
    for link in netns.snapshot.links:
        for entry in link.addresses:
            own, value = address(entry.address)
            if (family is not None and own != family) or is_loopback(own, value) or entry.scope == "host":
                continue
            score = (
                (4 if link.name in defaults else 0) + (2 if own == 4 else 0) + (0 if is_link_local(own, value) else 8)
            )
            score = score * 2 + ("secondary" not in entry.flags)
            if best is None or score > best[0]:
                best = (score, (own, value))
    return None if best is None else best[1]


def _service(world: World, flow: Flow, target: Target) -> tuple[Family, int, int | None, str | None]:
    from netdoctor.netfilter.services import services

    assert target.service is not None
    found = []
    for netns in world.namespaces.values():
        for ruleset in netns.rulesets.values():
            found += [s for s in services(ruleset) if (s.namespace, s.name) == target.service and s.address]
    wanted = flow.dport if flow.dport is not None else target.port
    fitting = [
        s
        for s in found
        if (wanted is None or s.port == wanted) and (target.port_name is None or s.port_name == target.port_name)
    ]
    fitting = list({(s.address, s.port, s.proto): s for s in fitting}.values())
    label = "svc/" + "/".join(target.service)
    if not fitting:
        ports = ", ".join(sorted({f"{s.port_name or s.port}" for s in found}))
        why = f"it has the ports {printable(ports)}" if ports else "no ruleset of the snapshot speaks of it"
        raise FlowError(f"no service {printable(label)} with that port: {why}", "give the address instead")
    first = fitting[0]
    if len({(s.port, s.proto) for s in fitting}) > 1:
        ports = ", ".join(sorted({f"{s.port_name or s.port}" for s in fitting}))
        raise FlowError(
            f"service {printable(label)} has several ports: {printable(ports)}", f"write {printable(label)}:PORT"
        )
    family, value = address(first.address)
    return family, value, first.port, flow.proto or first.proto


def _protocol(flow: Flow, name: str | None, port: int | None, family: Family) -> int:
    chosen = flow.proto or name
    if chosen is None:
        return TCP if port is not None else ICMP if family == 4 else ICMPV6
    number = _NUMBERS.get(chosen)
    if number is None:
        raise FlowError(
            f"flow to {printable(flow.to)}: protocol {printable(chosen)!r} is none of {', '.join(_NUMBERS)}"
        )
    if number in (ICMP, ICMPV6):
        return ICMP if family == 4 else ICMPV6
    return number


def _origin(world: World, flow: Flow, family: Family) -> tuple[Netns, bool, int | None, str | None]:
    """Return the namespace, whether a process there sends it, its source, and the interface by which it arrives."""
    text = flow.from_
    if text == "outside":
        if flow.in_ is not None:
            return _arriving(world.first(), flow, family, flow.src or OUTSIDE[family])
        return _from_outside(world.first(), flow, family, flow.src or OUTSIDE[family])
    if _bare_address(text) is not None:
        own, value = address(text.partition("%")[0])
        if own != family:
            raise FlowError(f"flow from {printable(text)} to {printable(flow.to)}: the two are of different families")
        owners = world.owners(own, value)
        if flow.in_ is not None:
            return _arriving(world.first(), flow, family, text)
        if owners:
            return owners[0], True, None if is_loopback(own, value) or flow.src is not None else value, None
        return _from_outside(world.first(), flow, family, text)
    netns = world.namespace(text)
    if flow.in_ is not None:
        if flow.src is None:
            raise FlowError(f"flow in by {printable(flow.in_)}: a packet from outside needs a source", "give src")
        return _arriving(netns, flow, family, flow.src)
    return netns, True, None, None


def _arriving(netns: Netns, flow: Flow, family: Family, src: str) -> tuple[Netns, bool, int | None, str | None]:
    if netns.link(flow.in_) is None:
        if not netns.links:
            raise FlowError(
                f"{netns.name} has no interface {printable(flow.in_ or '')!r} that is known: the snapshot lists none",
                "save `ip -d -j address` as ip-addr.json beside the rules",
            )
        known = ", ".join(list(netns.links)[:8])
        raise FlowError(f"{netns.name} has no interface {printable(flow.in_ or '')!r}: it has {printable(known)}")
    return netns, False, _address_of(src, family, "src"), flow.in_


def _from_outside(netns: Netns, flow: Flow, family: Family, src: str) -> tuple[Netns, bool, int | None, str | None]:
    value = _address_of(src, family, "src")
    found = fib(netns, family).lookup(None, Key(family, value))
    dev = found.ways[0].dev if found.errno is None and found.kind == "unicast" else None
    if dev is None:
        raise FlowError(
            f"flow from {printable(flow.from_)}: {netns.name} has no route back to {format_address(family, value)}",
            "say by which interface it arrives with --in",
        )
    return netns, False, value, dev


def _address_of(text: str, family: Family, what: str) -> int:
    bare = _bare_address(text)
    if bare is None:
        raise FlowError(
            f"{what} {printable(text)!r} is not an address: DNS names are not looked up", "write the address"
        )
    own, value = address(bare)
    if own != family:
        raise FlowError(f"{what} {printable(text)} and the destination are of different families")
    return value


def default_size(family: Family, proto: int) -> int:
    """Return the size of the IP packet that a first packet of a protocol has."""
    return _SIZES.get((family, proto), 60)


def _flags(text: str) -> int:
    value = 0
    for word in text.replace(" ", ",").split(","):
        if word and word.upper() != "NONE":
            if word.upper() not in TCP_FLAGS:
                raise FlowError(f"flags {printable(text)!r}: {printable(word)!r} is none of {', '.join(TCP_FLAGS)}")
            value |= TCP_FLAGS[word.upper()]
    return value


def _packet(
    flow: Flow, netns: Netns, family: Family, proto: int, src: int, dst: int, port: int | None, *, local: bool
) -> Packet:
    echo = proto in (ICMP, ICMPV6)
    sport = flow.sport if flow.sport is not None else _DEFAULT_PORT
    request = 8 if family == 4 else 128
    return Packet(
        family, proto, src, dst,
        sport=None if echo else sport,
        dport=None if echo else port,
        icmp_type=(request if flow.icmp_type is None else flow.icmp_type) if echo else None,
        icmp_code=(flow.icmp_code or 0) if echo else None,
        icmp_id=sport if echo else None,
        tcp_flags=_flags(flow.flags) if proto == TCP else 0,
        tcp_mss=(1460 if family == 4 else 1440) if proto == TCP else None,
        tcp_options=frozenset() if proto != TCP else tcp.syn_options(netns) if local else tcp.USUAL,
        size=flow.size if flow.size is not None else default_size(family, proto),
        ttl=flow.ttl if flow.ttl is not None else 0 if local else 64,
        tos=flow.tos,
        df=flow.df if flow.df is not None else proto == TCP,
        mark=flow.mark,
        payload=flow.payload.encode(),
        src_mac=flow.smac, dst_mac=flow.dmac,
        has_socket=local,
        uid=flow.uid if local else None,
        gid=flow.gid if local else None,
    )  # fmt: skip


def with_source(resolved: Resolved, packet: Packet) -> None:
    """Note the packet as its process sent it, now that the kernel has chosen its source."""
    resolved.sent = packet.clone()
    resolved.sent.connection = None


def without(packet: Packet, **changes: object) -> Packet:
    """Return a copy of a packet with fields replaced."""
    return replace(packet, **changes)  # type: ignore[arg-type]
