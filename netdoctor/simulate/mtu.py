"""Whether a packet fits. Knows nothing of routes' choice.

Kernel: net/ipv4/ip_forward.c:ip_exceeds_mtu, net/ipv6/ip6_output.c:ip6_pkt_too_big, net/ipv4/ip_output.c:ip_fragment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import TCP
from netdoctor.simulate.run import Answer, Fate

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.simulate.routing import Route
    from netdoctor.simulate.run import Run
    from netdoctor.topology.namespace import Netns


def of(netns: Netns, route: Route) -> int:
    """Return the greatest size of an IP packet on a route, in bytes (ipv4_mtu, ip6_mtu)."""
    link = netns.link(route.dev)
    own = 65535 if link is None else link.mtu
    return own if route.mtu is None else min(own, route.mtu)


def check_forward(run: Run, netns: Netns, in_dev: str, packet: Packet, route: Route) -> Fate | None:
    """A forwarded packet that must not be fragmented and does not fit: told to its sender (ip_forward)."""
    limit = of(netns, route)
    if packet.widest <= limit:
        return None
    if packet.family == 4 and not packet.df:
        _cut(run, netns, packet, limit)
        return None
    detail = f"{packet.widest} bytes do not fit the mtu {limit} of {route.dev}"
    run.step("route", netns, packet, action="drop", note=detail, hook="forward")
    cause = run.cause("mtu", netns, interface=route.dev, detail=detail, drop_reason="PKT_TOO_BIG")
    kind = "frag-needed" if packet.family == 4 else "packet-too-big"
    return Fate("too-big", netns, in_dev, packet, cause, answer=Answer(kind, netns, in_dev, mtu=limit))


def check_send(run: Run, netns: Netns, packet: Packet, route: Route) -> Fate | None:
    """What a process may not cut and does not fit is refused before any rule sees it (__ip_append_data)."""
    sent = packet.has_socket and packet.inner is None and packet.proto != TCP  # by a process, not by a tunnel
    if not sent or not packet.df or packet.size <= of(netns, route):
        return None
    return _refused(run, netns, packet, route)


def check_output(run: Run, netns: Netns, packet: Packet, route: Route) -> Fate | None:
    """What is sent here and does not fit (ip_fragment, ip6_finish_output): cut in pieces, or refused with EMSGSIZE."""
    limit = of(netns, route)
    if packet.widest <= limit or not (packet.has_socket or packet.kernel_socket):
        return None
    if not packet.df:
        _cut(run, netns, packet, limit)
        return None
    return _refused(run, netns, packet, route)


def _refused(run: Run, netns: Netns, packet: Packet, route: Route) -> Fate:
    detail = f"{packet.size} bytes do not fit the mtu {of(netns, route)} of {route.dev}"
    run.step("transmit", netns, packet, action="drop", note=detail)
    cause = run.cause("mtu", netns, interface=route.dev, detail=detail, drop_reason="PKT_TOO_BIG")
    return Fate("too-big", netns, route.dev, packet, cause, errno="EMSGSIZE")


def _cut(run: Run, netns: Netns, packet: Packet, limit: int) -> None:
    """Send it in fragments; who puts them together on the way cuts it no wider again (ip_fragment, frag_max_size)."""
    run.step("transmit", netns, packet, action="fragment", note=f"{packet.size} bytes in pieces of {limit}")
    packet.pieces = limit
