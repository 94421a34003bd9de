"""A routed packet passes through: time to live, size, FORWARD. Knows nothing of how it came or of neighbours.

Kernel: net/ipv4/ip_forward.c:ip_forward, net/ipv6/ip6_output.c:ip6_forward.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import format_address
from netdoctor.simulate import mtu, output, routing
from netdoctor.simulate.hooks import At, pass_hook
from netdoctor.simulate.run import Answer, Fate, Onward, Run
from netdoctor.topology.addresses import is_link_local, is_loopback, is_multicast

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Link
    from netdoctor.netfilter.packet import Packet
    from netdoctor.simulate.frame import Frame
    from netdoctor.simulate.routing import Route
    from netdoctor.topology.namespace import Netns


def forward(run: Run, netns: Netns, link: Link, frame: Frame, route: Route) -> Onward:
    """Send a packet on that is not for this namespace (ip_forward, ip6_forward)."""
    packet = frame.packet
    if packet.family == 6:
        wrong = _forbidden6(run, netns, link, frame)
        if wrong is not None:
            return wrong
    if packet.steered is not None:
        return _kept(run, netns, link, packet)
    if packet.ttl <= 1:
        detail = "the time to live is used up"
        run.step("route", netns, packet, action="drop", note=detail, hook="forward")
        cause = run.cause("route", netns, interface=link.name, detail=detail, drop_reason="IP_INHDR")
        kind = "ttl-exceeded" if packet.family == 4 else "hop-limit-exceeded"
        return Fate("ttl-exceeded", netns, link.name, packet, cause, answer=Answer(kind, netns, link.name))
    too_big = mtu.check_forward(run, netns, link.name, packet, route)
    if too_big is not None:
        return too_big
    packet.ttl -= 1
    packet.out_dev = route.dev
    fate = pass_hook(At(run, netns, "FORWARD", packet, route))
    if fate is not None:
        return fate
    return partial(output.output, run, netns, route, frame)


def _kept(run: Run, netns: Netns, link: Link, packet: Packet) -> Fate:
    """TPROXY gave it to a local socket, but no route brings it there (ip_forward, ip6_forward: skb->sk)."""
    mark = f"ip rule add fwmark {packet.mark:#x} lookup 100" if packet.mark else "TPROXY sets no mark for an ip rule"
    detail = f"TPROXY gave it to a local socket, and its route is not local; {mark}, ip route add local default dev lo"
    run.step("route", netns, packet, action="drop", note=detail, hook="forward")
    cause = run.cause("route", netns, interface=link.name, detail=detail)
    return Fate("dropped", netns, link.name, packet, cause)


def _forbidden6(run: Run, netns: Netns, link: Link, frame: Frame) -> Fate | None:
    """What IPv6 does not forward (ip6_forward)."""
    packet = frame.packet
    if not routing.forwards(run, netns, 6, link.name):
        sysctl = "net.ipv6.conf.all.forwarding"
        detail = f"{format_address(6, packet.dst)} is not an address of this namespace, and {sysctl} is 0"
        run.step("route", netns, packet, action="drop", note=detail, hook="forward")
        cause = run.cause(
            "sysctl",
            netns,
            interface=link.name,
            detail=detail,
            sysctl=sysctl,
            family="ip6",
            drop_reason="IP_INADDRERRORS",
        )
        return Fate("not-forwarded", netns, link.name, packet, cause)
    if packet.src == 0 or is_multicast(6, packet.src) or is_loopback(6, packet.src):
        detail = f"source {format_address(6, packet.src)} is not forwarded"
        run.step("route", netns, packet, action="drop", note=detail, hook="forward")
        cause = run.cause("martian", netns, interface=link.name, detail=detail, drop_reason="IP_INADDRERRORS")
        return Fate("martian", netns, link.name, packet, cause)
    if is_link_local(6, packet.src):
        detail = f"source {format_address(6, packet.src)} is link-local and not forwarded"
        run.step("route", netns, packet, action="drop", note=detail, hook="forward")
        cause = run.cause("martian", netns, interface=link.name, detail=detail, drop_reason="IP_INADDRERRORS")
        return Fate("martian", netns, link.name, packet, cause, answer=Answer("icmp6-beyond-scope", netns, link.name))
    return None
