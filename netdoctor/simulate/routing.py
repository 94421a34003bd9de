"""Routing decisions: for what is sent here, and for what arrives. Knows nothing of rules in rulesets or of neighbours.

Kernel: net/ipv4/route.c:ip_route_output_key_hash_rcu, ip_route_input_slow; net/ipv4/fib_frontend.c:fib_validate_source;
net/ipv6/route.c:ip6_route_output, ip6_route_input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from netdoctor.netfilter.packet import family_name, format_address
from netdoctor.simulate import source
from netdoctor.simulate.fib import SCOPES, Found, Key, fib, route_text
from netdoctor.simulate.run import Answer, Fate
from netdoctor.topology.addresses import address, is_link_local, is_loopback, is_multicast

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Nexthop
    from netdoctor.model.snapshot import Route as Listed
    from netdoctor.netfilter.packet import Family, Packet
    from netdoctor.simulate.run import Run
    from netdoctor.simulate.trace import Verdict
    from netdoctor.topology.namespace import Netns


Kind = Literal["local", "unicast", "broadcast", "multicast"]


@dataclass(frozen=True, slots=True)
class Route:
    """Where a packet goes: struct rtable, struct rt6_info."""

    kind: Kind
    dev: str
    gateway: tuple[Family, int] | None
    src: int  # the address that a socket without one would use
    text: str
    mtu: int | None = None
    hoplimit: int | None = None

    def next_hop(self, packet: Packet) -> tuple[Family, int]:
        """Return whom to send it to (rt_nexthop)."""
        return self.gateway if self.gateway is not None else (packet.family, packet.dst)


@dataclass(frozen=True, slots=True)
class NoRoute:
    """There is none: the error that a local sender gets, and what said so."""

    errno: str
    found: Found | None
    why: str
    unread: bool = False  # there may be one: the routes are not in the snapshot


def key_of(packet: Packet, **changes: object) -> Key:
    """Return the lookup key of a packet; `changes` replace fields."""
    key = Key(
        packet.family,
        packet.dst,
        packet.src,
        mark=packet.mark,
        tos=packet.tos,
        proto=packet.proto,
        sport=packet.sport,
        dport=packet.dport,
    )
    return replace(key, **changes)  # type: ignore[arg-type]


def hop_limit(netns: Netns, family: Family, route: Route) -> int:
    """Return the time to live of a packet that asked for none: of its route, else of the device or the namespace.

    Kernel: include/net/route.h:ip4_dst_hoplimit, net/ipv6/output_core.c:ip6_dst_hoplimit
    """
    if route.hoplimit:
        return route.hoplimit
    default = default_ttl(netns, family)
    return default if family == 4 else netns.conf(6, route.dev, "hop_limit", default)


def default_ttl(netns: Netns, family: Family) -> int:
    """Return the time to live of a packet that netfilter makes (nf_reject_skb_v4_tcp_reset, synproxy_build_ip)."""
    return netns.number("net.ipv4.ip_default_ttl" if family == 4 else "net.ipv6.conf.all.hop_limit", 64)


def _by(route: Listed, way: Nexthop, src: int = 0, kind: Kind = "unicast") -> Route:
    return Route(kind, way.dev or "lo", _gateway(way), src, route_text(route, way), route.mtu, route.hoplimit)


def output(run: Run, netns: Netns, key: Key, *, any_source: bool = False) -> Route | NoRoute:
    """Route what is sent here. `any_source`: the source need not be local (FLOWI_FLAG_ANYSRC).

    Kernel: net/ipv4/route.c:ip_route_output_key_hash_rcu, net/ipv6/route.c:ip6_route_output_flags
    """
    if key.family == 6:
        return _output6(run, netns, key)
    if key.src and not any_source and not _is_local(netns, key.family, key.src):
        return NoRoute("EINVAL", None, f"{format_address(4, key.src)} is no address of this namespace")
    if key.src and not source.acceptable(4, key.src):
        return NoRoute("EINVAL", None, f"{format_address(4, key.src)} cannot be a source")
    found = fib(netns, 4).lookup(run, key)
    if found.errno is not None:
        return _none_found(netns, found, 4)
    _no_other(run, netns, found, key)
    way = _select(run, netns, key, found)
    assert found.entry is not None
    prefsrc = found.entry.route.prefsrc
    if found.kind == "local":
        src = key.src or (address(prefsrc)[1] if prefsrc else key.dst)
        return Route("local", _loopback(netns, found), None, src, found.text())
    dev = way.dev or "lo"
    if is_loopback(4, key.src) and not _is_loopback_device(netns, dev) and not _either(netns, dev, "route_localnet"):
        return NoRoute(
            "EINVAL", found, f"source {format_address(4, key.src)} may not leave by {dev}: route_localnet is 0"
        )
    gateway = _gateway(way)
    src = key.src
    if not src:  # fib_result_prefsrc
        nearest = gateway[1] if gateway is not None and gateway[0] == 4 else 0
        scope = SCOPES.get(found.entry.route.scope, 0)
        src = address(prefsrc)[1] if prefsrc else source.select4(netns, dev, nearest, scope)
    return _by(found.entry.route, way, src, _kind(found, key.dst))


def _output6(run: Run, netns: Netns, key: Key) -> Route | NoRoute:
    """Route an IPv6 packet that is sent here (ip6_route_output_flags)."""
    if (
        key.src
        and not _is_local(netns, 6, key.src)
        and key.iif == "lo"
        and key.oif is None
        and is_multicast(6, key.src)
    ):
        return NoRoute("EINVAL", None, f"{format_address(6, key.src)} cannot be a source")
    found = fib(netns, 6).lookup(run, key)
    if found.errno is not None and not key.src:
        # Without a route a source is chosen of all addresses, and the lookup done again (ip6_dst_lookup_tail).
        chosen = source.select6(netns, None, key.dst)
        if chosen is not None:
            key = replace(key, src=chosen)
            found = fib(netns, 6).lookup(run, key)
    if found.errno is not None:
        return _none_found(netns, found, 6)
    _no_other(run, netns, found, key)
    assert found.entry is not None
    way = _select(run, netns, key, found)
    prefsrc = found.entry.route.prefsrc
    dev = way.dev or "lo"
    local = found.kind in ("local", "anycast")
    src: int | None = key.src
    if not src:
        src = address(prefsrc)[1] if prefsrc else source.select6(netns, dev, key.dst)
        if src is None:
            return NoRoute("EADDRNOTAVAIL", found, f"no IPv6 address to send from by {dev}")
    if local:
        return Route("local", _loopback(netns, found), None, src, found.text())
    return _by(found.entry.route, way, src, _kind(found, key.dst))


def _none_found(netns: Netns, found: Found, family: Family) -> NoRoute:
    if fib(netns, family).complete:
        return NoRoute(found.errno or "ENETUNREACH", found, found.text())
    return NoRoute("ENETUNREACH", None, _unread(netns), unread=True)


def _unread(netns: Netns, what: str = "routes") -> str:
    return f"the {what} of {netns.name} are not in the snapshot"


def _no_other(run: Run, netns: Netns, found: Found, key: Key) -> None:
    """Note that a route which the kernel added for an address is taken for the best, where no others were read."""
    if found.kind == "unicast" and not fib(netns, key.family).complete:
        run.assume(f"{format_address(key.family, key.dst)} is routed by {found.text()}: {_unread(netns)}")


def _loopback(netns: Netns, found: Found) -> str:
    return next((link.name for link in netns.snapshot.links if link.link_type == "loopback"), "lo") if found else "lo"


def _kind(found: Found, dst: int) -> Kind:
    if found.kind == "broadcast" or dst == 0xFFFFFFFF:
        return "broadcast"
    family: Family = 4 if found.entry is None else found.entry.network[0]  # type: ignore[assignment]
    return "multicast" if is_multicast(family, dst) else "unicast"


def _gateway(way: Nexthop) -> tuple[Family, int] | None:
    return None if way.via is None else address(way.via)


def _select(run: Run, netns: Netns, key: Key, found: Found) -> Nexthop:
    """Choose among several ways by weight; one flow keeps its way (fib_select_multipath hashes its addresses)."""
    if len(found.ways) == 1:
        return found.ways[0]
    assert found.entry is not None
    flow = (netns.name, id(found.entry), key.src, key.dst)
    if flow not in run.picked:
        total = sum(way.weight for way in found.ways)
        labels = [f"multipath: {route_text(found.entry.route, way)}" for way in found.ways]
        run.picked[flow] = run.choose(labels, [way.weight / total for way in found.ways])
    return found.ways[run.picked[flow]]


def _is_local(netns: Netns, family: Family, value: int) -> bool:
    """Whether the address is one of this namespace, or in a local route (__ip_dev_find)."""
    if (family, value) in netns.addresses:
        return True
    found = fib(netns, family).in_table(255, Key(family, value))
    return found is not None and found.kind == "local"


def is_local(netns: Netns, family: Family, value: int) -> bool:
    """Return whether the address is one of this namespace, or in a route of type local (__ip_dev_find)."""
    return _is_local(netns, family, value)


def _is_loopback_device(netns: Netns, dev: str) -> bool:
    link = netns.link(dev)
    return link is not None and link.link_type == "loopback"


def _either(netns: Netns, dev: str, name: str) -> bool:
    """A flag that is the OR of `all` and the interface's (IN_DEV_ORCONF)."""
    return bool(netns.conf(4, "all", name, 0) or netns.conf(4, dev, name, 0))


def _max(netns: Netns, dev: str, name: str) -> int:
    """A number that is the greater of `all` and the interface's (IN_DEV_MAXCONF)."""
    return max(netns.conf(4, "all", name, 0), netns.conf(4, dev, name, 0))


# --- what arrives
# ------------------------------------------------------------------------------------------------------


def arrive(run: Run, netns: Netns, packet: Packet, dev: str) -> Route | Fate:
    """Route what arrived on `dev` (ip_route_input_slow, ip6_route_input)."""
    return _arrive4(run, netns, packet, dev) if packet.family == 4 else _arrive6(run, netns, packet, dev)


def _arrive4(run: Run, netns: Netns, packet: Packet, dev: str) -> Route | Fate:
    """Route an IPv4 packet that arrived (ip_route_input_slow)."""
    src, dst = packet.src, packet.dst
    localnet = _either(netns, dev, "route_localnet")
    if is_multicast(4, src) or src == 0xFFFFFFFF or (src >> 24 == 0 and src != 0):
        return _martian(
            run, netns, packet, dev, "source", "INVALID_SOURCE" if is_multicast(4, src) else "IP_INVALID_SOURCE"
        )
    if dst >> 24 == 0:
        return _martian(run, netns, packet, dev, "destination", "IP_INVALID_DEST")
    if is_loopback(4, dst) and not localnet:
        return _localnet(run, netns, packet, dev, "destination", "IP_LOCALNET")
    if is_loopback(4, src) and not localnet:
        return _localnet(run, netns, packet, dev, "source", "IP_LOCALNET")
    found = fib(netns, 4).lookup(run, key_of(packet, iif=dev))
    if found.errno is not None:
        if not forwards(run, netns, 4, dev):
            return _not_forwarding(run, netns, packet, dev)
        return _unreachable(run, netns, packet, dev, found)
    if found.kind == "broadcast" or dst == 0xFFFFFFFF:
        return Route("broadcast", dev, None, 0, found.text())
    if found.kind == "local":
        wrong = _validate_source(run, netns, packet, dev, None)
        if wrong is not None:
            return wrong
        return Route("local", dev, None, 0, found.text())
    if not forwards(run, netns, 4, dev):
        return _not_forwarding(run, netns, packet, dev)
    if found.kind != "unicast":
        return _martian(run, netns, packet, dev, "destination", "IP_INVALID_DEST")
    _no_other(run, netns, found, key_of(packet))
    way = _select(run, netns, key_of(packet), found)
    wrong = _validate_source(run, netns, packet, dev, way.dev)
    if wrong is not None:
        return wrong
    assert found.entry is not None
    return _by(found.entry.route, way)


def forwards(run: Run, netns: Netns, family: Family, dev: str) -> bool:
    """Return whether what arrives on an interface is sent on (IN_DEV_FORWARD; ip6_forward).

    Where no settings were read, it is assumed to be; but that somebody answers ARP for others, asked aside, is not.
    """
    if not netns.knows_sysctls:
        if not run.muted:
            run.assume(f"{netns.name} forwards what arrives on {dev}: {_unread(netns, 'sysctls')}")
        return not run.muted
    if family == 4:
        return bool(netns.conf(4, dev, "forwarding", netns.number("net.ipv4.ip_forward", 0)))
    everywhere = netns.number("net.ipv6.conf.all.forwarding", 0)
    return bool(everywhere or netns.conf(6, dev, "force_forwarding", 0))


def _validate_source(run: Run, netns: Netns, packet: Packet, dev: str, oif: str | None) -> Fate | None:
    """Whether the source may come in here (fib_validate_source). An unread rp_filter is assumed to be off."""
    if netns.knows_sysctls:
        return _validated(run, netns, packet, dev, oif, _max(netns, dev, "rp_filter"))
    wrong = _validated(run, netns, packet, dev, oif, 0)
    if wrong is None:
        with run.aside():
            strict = _validated(run, netns, packet, dev, oif, 1)
        if strict is not None:
            sender = format_address(4, packet.src)
            run.assume(f"rp_filter of {netns.name} lets {sender} in by {dev}: {_unread(netns, 'sysctls')}")
    return wrong


def _validated(run: Run, netns: Netns, packet: Packet, dev: str, oif: str | None, mode: int) -> Fate | None:
    """Whether a source may come in under one mode of rp_filter (__fib_validate_source)."""
    tables = fib(netns, 4)
    accept_local = _either(netns, dev, "accept_local")
    redirects = netns.conf(4, dev, "send_redirects", 1) or netns.conf(4, "all", "send_redirects", 1)
    if not mode and (dev != oif or not redirects):
        if accept_local:
            return None
        if not tables.custom_local_routes and not tables.custom_rules:
            if _has_address(netns, packet.src):
                return _own_source(run, netns, packet, dev)
            return None
    key = Key(
        4,
        packet.src,
        packet.dst,
        iif=oif or "lo",
        mark=packet.mark if _either(netns, dev, "src_valid_mark") else 0,
        tos=packet.tos,
        proto=packet.proto,
        sport=packet.dport,
        dport=packet.sport,
    )
    back = tables.lookup(run, key)
    no_address = not netns.interface_addresses(netns.links[dev], 4) if dev in netns.links else True
    if back.errno is not None:
        return _filtered(run, netns, packet, dev, mode, back) if mode else None
    if back.kind != "unicast" and (back.kind != "local" or not accept_local):
        return _own_source(run, netns, packet, dev)
    if any(way.dev == dev for way in (back.entry.ways if back.entry is not None else ())):
        return None
    if no_address:
        return _filtered(run, netns, packet, dev, mode, back) if mode else None
    if mode == 1:
        return _filtered(run, netns, packet, dev, mode, back)
    return None


def reverse_path_ok(run: Run, netns: Netns, packet: Packet, dev: str) -> bool:
    """Return whether source validation lets a packet in that is for this namespace itself; ARP asks it too.

    Kernel: net/ipv4/fib_frontend.c:fib_validate_source
    """
    muted, run.muted = run.muted, run.muted + 1
    try:
        return _validate_source(run, netns, packet, dev, None) is None
    finally:
        run.muted = muted


def _has_address(netns: Netns, value: int) -> bool:
    """Whether it is configured on an interface here (inet_lookup_ifaddr_rcu): a local route alone does not count."""
    return (4, value) in netns.addresses


def _arrive6(run: Run, netns: Netns, packet: Packet, dev: str) -> Route | Fate:
    """Route an IPv6 packet that arrived (ip6_route_input)."""
    strict = is_link_local(6, packet.dst) or is_loopback(6, packet.dst)  # rt6_need_strict
    found = fib(netns, 6).lookup(run, key_of(packet, iif=dev, oif=dev if strict else None))
    if found.errno is not None:
        return _unreachable(run, netns, packet, dev, found)
    if found.kind in ("local", "anycast"):
        return Route("local", dev, None, 0, found.text())
    if found.kind == "multicast" or is_multicast(6, packet.dst):
        return Route("multicast", dev, None, 0, found.text())
    _no_other(run, netns, found, key_of(packet))
    way = _select(run, netns, key_of(packet), found)
    assert found.entry is not None
    return _by(found.entry.route, way)


# --- how it ends here
# --------------------------------------------------------------------------------------------------


def _end(
    run: Run, netns: Netns, packet: Packet, dev: str, verdict: Verdict, action: str, note: str, **cause: object
) -> Fate:
    run.step("route", netns, packet, action=action, note=note, hook="input")
    kind = cause.pop("kind")
    return Fate(
        verdict,
        netns,
        dev,
        packet,
        run.cause(kind, netns, interface=dev, detail=note, family=family_name(packet.family), **cause),  # type: ignore[arg-type]
    )


def _martian(run: Run, netns: Netns, packet: Packet, dev: str, which: str, reason: str) -> Fate:
    value = packet.src if which == "source" else packet.dst
    note = f"martian {which} {format_address(packet.family, value)} on {dev}"
    return _end(run, netns, packet, dev, "martian", "martian", note, kind="martian", drop_reason=reason)


def _localnet(run: Run, netns: Netns, packet: Packet, dev: str, which: str, reason: str) -> Fate:
    value = packet.src if which == "source" else packet.dst
    sysctl = f"net.ipv4.conf.{dev}.route_localnet"
    note = f"martian {which} {format_address(4, value)} on {dev}: route_localnet is 0"
    return _end(run, netns, packet, dev, "martian", "martian", note, kind="martian", drop_reason=reason, sysctl=sysctl)


def _own_source(run: Run, netns: Netns, packet: Packet, dev: str) -> Fate:
    """A source that is this namespace's own (__fib_validate_source)."""
    note = f"martian source {format_address(4, packet.src)} on {dev}: it is an address of this namespace itself"
    sysctl = f"net.ipv4.conf.{dev}.accept_local"
    return _end(
        run,
        netns,
        packet,
        dev,
        "martian",
        "martian",
        note,
        kind="martian",
        drop_reason="IP_LOCAL_SOURCE",
        sysctl=sysctl,
    )


def _filtered(run: Run, netns: Netns, packet: Packet, dev: str, mode: int, back: Found) -> Fate:
    """A source that rp_filter keeps out (__fib_validate_source)."""
    which = "all" if netns.conf(4, "all", "rp_filter", 0) >= netns.conf(4, dev, "rp_filter", 0) else dev
    sysctl = f"net.ipv4.conf.{which}.rp_filter"
    if back.errno is None:
        way = f"answers to {format_address(4, packet.src)} would leave by {back.ways[0].dev}"
    else:
        way = f"there is no route back to {format_address(4, packet.src)}"
    note = f"rp_filter={mode} on {dev}: {way}"
    return _end(
        run,
        netns,
        packet,
        dev,
        "martian",
        "rp_filter",
        note,
        kind="rp_filter",
        drop_reason="IP_RPFILTER",
        sysctl=sysctl,
    )


def _not_forwarding(run: Run, netns: Netns, packet: Packet, dev: str) -> Fate:
    """Not for this namespace, which forwards nothing (ip_route_input_slow)."""
    sysctl = f"net.ipv4.conf.{dev}.forwarding" if netns.number("net.ipv4.ip_forward", 0) else "net.ipv4.ip_forward"
    note = f"{format_address(4, packet.dst)} is not an address of this namespace, and {sysctl} is 0"
    return _end(
        run,
        netns,
        packet,
        dev,
        "not-forwarded",
        "drop",
        note,
        kind="sysctl",
        drop_reason="IP_INADDRERRORS",
        sysctl=sysctl,
    )


_UNREACHABLE4 = {
    "ENETUNREACH": "icmp-net-unreachable",
    "EHOSTUNREACH": "icmp-host-unreachable",
    "EACCES": "icmp-admin-prohibited",
}
_UNREACHABLE6 = {
    "ENETUNREACH": "icmp6-no-route",
    "EHOSTUNREACH": "icmp6-no-route",
    "EACCES": "icmp6-adm-prohibited",
}


def _unreachable(run: Run, netns: Netns, packet: Packet, dev: str, found: Found) -> Fate:
    """No way on: an ICMP error, or silence for a blackhole (ip_error, ip6_pkt_drop)."""
    errno = found.errno or "ENETUNREACH"
    if not fib(netns, packet.family).complete:
        note = f"{format_address(packet.family, packet.dst)}: {_unread(netns)}"
        return _end(run, netns, packet, dev, "unknown", "unknown", note, kind="route")
    note = (
        f"no route to {format_address(packet.family, packet.dst)}"
        if found.entry is None and found.rule is None
        else f"{found.text()}"
        if found.entry is not None
        else f"ip rule {found.rule.priority} {found.rule.action}"
        if found.rule
        else ""
    )
    reason = {4: {"ENETUNREACH": "IP_INNOROUTES"}, 6: {"ENETUNREACH": "IP_INNOROUTES"}}[packet.family].get(errno)
    fate = _end(run, netns, packet, dev, "unreachable", "unreachable", note, kind="route", drop_reason=reason)
    kind = (_UNREACHABLE4 if packet.family == 4 else _UNREACHABLE6).get(errno)
    if kind is not None:
        fate.answer = Answer(kind, netns, dev)
    return fate
