"""A packet made in a namespace: the route, the source address, OUTPUT, and the route again where that changed it.

Knows nothing of who wants it sent. Kernel: net/ipv4/route.c:ip_route_connect, net/ipv4/ip_output.c:__ip_local_out,
net/ipv4/netfilter.c:ip_route_me_harder, net/netfilter/nf_nat_proto.c:nf_nat_ipv4_local_fn.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import ICMPV6, TCP, family_name, format_address
from netdoctor.simulate import mtu, output, routing, tcp
from netdoctor.simulate.frame import Frame
from netdoctor.simulate.hooks import At, pass_hook
from netdoctor.simulate.run import Fate, Onward, Run
from netdoctor.topology.addresses import is_link_local, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from netdoctor.netfilter.effect import CtTemplate
    from netdoctor.netfilter.packet import Packet
    from netdoctor.topology.namespace import Netns


def send(
    run: Run,
    netns: Netns,
    packet: Packet,
    *,
    oif: str | None = None,
    preferred: str | None = None,
    any_source: bool = False,
    connects: bool = False,
    connected: bool = False,
    chosen: Callable[[Packet], None] | None = None,
    template: CtTemplate | None = None,
) -> Onward:
    """Send a packet. Its source may be 0: then the kernel chooses it.

    `connects`: the socket is connected first, and IPv4 routes once more with the source that it chose
    (ip_route_connect). IPv6 does so for echo requests only: a socket keeps the route that it found without a source
    (ip6_dst_store); `connected`: such a socket sends again.
    `preferred`: what came in by that device is answered (icmpv6_echo_reply).
    `chosen` is called with the packet once its source is known, before any rule sees it.
    `template`: what its connection is prepared with.
    """
    tunnels = packet.inner is not None  # by a tunnel, which routes as root whoever sent what is inside
    uid = packet.uid if packet.has_socket and not tunnels else 0
    wanted = oif if packet.family == 4 or not is_link_local(6, packet.dst) else oif or _link_local_device(netns, packet)
    other = {"src": 0} if connected and packet.family == 6 else {}
    if packet.family == 6 and not packet.has_socket:
        other["tos"] = 0  # the kernel's own answers are not routed by their traffic class (icmpv6_echo_reply)
    key = routing.key_of(packet, uid=uid, oif=wanted, preferred=preferred, **other)
    route = routing.output(run, netns, key, any_source=any_source)
    if isinstance(route, routing.Route) and not packet.src:
        packet.src = route.src
        if connects and (packet.family == 4 or packet.proto == ICMPV6) and route.src:
            route = routing.output(run, netns, routing.key_of(packet, uid=uid, oif=wanted), any_source=any_source)
    if isinstance(route, routing.NoRoute):
        return _no_route(run, netns, packet, route)
    if packet.proto == TCP and packet.has_socket:
        tcp.offer(netns, packet, route)
    packet.ttl = packet.ttl or routing.hop_limit(netns, packet.family, route)
    if chosen is not None:
        chosen(packet)
    run.step("send", netns, packet, note=None)
    packet.out_dev, packet.in_dev = route.dev, None
    run.step(
        "route", netns, packet, hook="output", action=route.kind if route.kind == "local" else "send", note=route.text
    )
    if route.kind == "broadcast":
        return Fate(
            "unknown", netns, route.dev, packet,
            run.cause("unmodelled", netns, interface=route.dev, detail="broadcasts are not modelled"),
        )  # fmt: skip
    too_big = mtu.check_send(run, netns, packet, route)
    if too_big is not None:
        return too_big
    at = At(run, netns, "OUTPUT", packet, route)
    if template is not None:
        at.prepare(template)
    fate = pass_hook(at, reroute)
    if fate is not None:
        return fate
    assert at.route is not None
    return partial(output.output, run, netns, at.route, Frame(packet, netns, at.route.dev))


def _link_local_device(netns: Netns, packet: Packet) -> str | None:
    """The device for a link-local destination without a scope: the one that the source is on, else the only one."""
    for link, _ in netns.addresses.get((6, packet.src), []):
        return link.name
    names = [link.name for link in netns.snapshot.links if link.link_type == "ether" and link.is_up]
    return names[0] if len(names) == 1 else None


def reroute(at: At, table: str, before: Packet) -> Fate | None:
    """Route again where mangle or nat changed what decides the route (ipt_mangle_out, nf_nat_ipv4_local_fn)."""
    packet = at.packet
    if not routes_anew(table, packet, before):
        return None
    uid = packet.uid if packet.has_socket else 0  # sock_net_uid
    route = routing.output(at.run, at.netns, routing.key_of(packet, uid=uid), any_source=True)
    if isinstance(route, routing.NoRoute):
        fate = _no_route(at.run, at.netns, packet, route)
        fate.silent = packet.proto == TCP
        return fate
    if at.route is not None and (route.dev, route.gateway) != (at.route.dev, at.route.gateway):
        at.run.step("route", at.netns, packet, hook="output", action="again", note=route.text)
    at.route = route  # for the chains of this hook the packet leaves by the first route's device (nf_hook_state.out)
    return None


def routes_anew(table: str, packet: Packet, before: Packet) -> bool:
    """Whether a table of OUTPUT changed something that a route may hang on (ipt_mangle_out, ip6t_mangle_out)."""
    if table == "nat":
        return packet.dst != before.dst
    if table != "mangle":
        return False
    changed = (packet.src, packet.dst, packet.mark, packet.tos) != (before.src, before.dst, before.mark, before.tos)
    return changed or (packet.family == 6 and packet.ttl != before.ttl)


def _no_route(run: Run, netns: Netns, packet: Packet, wrong: routing.NoRoute) -> Fate:
    """What a process gets that sends where no route leads (ip_route_output_flow)."""
    destination = format_address(packet.family, packet.dst)
    if wrong.unread:
        note = f"{destination}: {wrong.why}"
        run.step("route", netns, packet, hook="output", action="unknown", note=note)
        return Fate("unknown", netns, None, packet, run.cause("route", netns, detail=note))
    note = wrong.why if wrong.found is None or wrong.found.errno is None else f"{destination}: {wrong.why}"
    run.step("route", netns, packet, hook="output", action="unreachable", note=note)
    localnet = wrong.found is not None and wrong.found.errno is None and is_loopback(packet.family, packet.src)
    if localnet and wrong.found is not None:
        dev = wrong.found.ways[0].dev
        cause = run.cause(
            "martian", netns, interface=dev, detail=note, sysctl=f"net.ipv4.conf.{dev}.route_localnet", family="ip"
        )
        return Fate("martian", netns, dev, packet, cause, errno=wrong.errno)
    cause = run.cause("route", netns, detail=note, family=family_name(packet.family))
    return Fate("unreachable", netns, None, packet, cause, errno=wrong.errno)
