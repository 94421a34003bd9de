"""The options that a TCP segment carries, and the segment size that a SYN offers: what matches may ask for.

Knows nothing of connections' states. Kernel: net/ipv4/tcp_output.c:tcp_syn_options, tcp_synack_options,
tcp_established_options; net/ipv4/route.c:ipv4_default_advmss; net/ipv6/route.c:ip6_default_advmss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import SYN
from netdoctor.simulate import mtu

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.simulate.routing import Route
    from netdoctor.topology.namespace import Netns

NOP, MSS, WINDOW_SCALE, SACK_PERMITTED, TIMESTAMP = 1, 2, 3, 4, 8
USUAL = frozenset({NOP, MSS, WINDOW_SCALE, SACK_PERMITTED, TIMESTAMP})  # of a SYN whose sender is not known
_HEADERS = {4: 40, 6: 60}


def syn_options(netns: Netns) -> frozenset[int]:
    """Return the kinds of option in a SYN that a namespace makes (tcp_syn_options)."""
    kinds = {MSS}
    names = {TIMESTAMP: "timestamps", SACK_PERMITTED: "sack", WINDOW_SCALE: "window_scaling"}
    kinds |= {kind for kind, name in names.items() if netns.number(f"net.ipv4.tcp_{name}", 1)}
    return frozenset(kinds | _padding(kinds))


def synack_options(netns: Netns, request: frozenset[int]) -> frozenset[int]:
    """Return those of the answer: what both ends know (tcp_synack_options, tcp_parse_options)."""
    kinds = (syn_options(netns) & request) - {NOP} | {MSS}
    return frozenset(kinds | _padding(kinds))


def established_options(request: frozenset[int]) -> frozenset[int]:
    """Return those of a segment with data: a time stamp, where the SYN had one and its answer too.

    Kernel: net/ipv4/tcp_output.c:tcp_established_options
    """
    return frozenset({NOP, TIMESTAMP}) if TIMESTAMP in request else frozenset()


def _padding(kinds: set[int] | frozenset[int]) -> set[int]:
    """What fills up to four bytes (tcp_options_write): the SACK option stands before a time stamp in their place."""
    alone = len(kinds & {SACK_PERMITTED, TIMESTAMP}) == 1
    return {NOP} if WINDOW_SCALE in kinds or alone else set()


def offer(netns: Netns, packet: Packet, route: Route) -> None:
    """Write the segment size into a SYN that a process sends: what the route's MTU leaves (tcp_advertise_mss)."""
    if packet.tcp_flags & SYN:
        packet.tcp_mss = min(mtu.of(netns, route), 65535) - _HEADERS[packet.family]
