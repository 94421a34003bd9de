"""`-m ipv6header`: which IPv6 extension headers there are. Knows nothing of what stands in them.

Kernel: net/ipv6/netfilter/ip6t_ipv6header.c:ipv6header_mt6
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Ipv6Header(Match):
    """`-m ipv6header`."""

    name = "ipv6header"
    options = {"--header": 1, "--soft": 0}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet has one of the headers (--soft), or these and no others."""
        given = self.option("--header")
        wanted = 0
        for name in given.values[0].split(",") if given is not None else ():
            if name not in _MASKS:
                return Unknown(f"match ipv6header: header {name}")
            wanted |= _MASKS[name]
        negated = given is not None and given.negated
        there = _there(packet)
        if there is None:
            return Unknown("match ipv6header: what follows an authentication header")
        if self.option("--soft"):
            return not (there ^ wanted ^ (0xFF if negated else 0)) & wanted
        return (there == wanted) is not negated


def _there(packet: Packet) -> int | None:
    """Return the mask of the headers that a packet has; None where the snapshot cannot tell."""
    mask = 0
    for kind in (*packet.extension_headers, packet.proto):
        if kind in _KINDS:
            mask |= _KINDS[kind]
            if kind == _AH:
                return None
    return mask if packet.proto in {50, 59} else mask | 1


_AH = 51
_KINDS = {0: 128, 60: 64, 43: 32, 44: 16, 51: 8, 50: 4, 59: 2}  # next header -> its bit (MASK_HOPOPTS, …)
_NAMES = {
    0: ("hop-by-hop", "hop", "hopopt"), 60: ("dst", "ipv6-opts", "dstopts"), 43: ("route", "ipv6-route"),
    44: ("frag", "ipv6-frag"), 51: ("auth", "ah"), 50: ("esp",), 59: ("none", "ipv6-nonxt"),
}  # fmt: skip
_MASKS = {"protocol": 1, "prot": 1} | {name: _KINDS[kind] for kind, names in _NAMES.items() for name in names}
