"""`-m frag`: IPv6 fragment header.

Kernel: net/ipv6/netfilter/ip6t_frag.c:frag_mt6
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Frag(Match):
    """`-m frag`."""

    name = "frag"
    options = {"--fragid": 1, "--fraglen": 1, "--fragres": 0, "--fragfirst": 0, "--fragmore": 0, "--fraglast": 0}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if 44 not in packet.extension_headers:
            return False
        return True if not self.written else Unknown("match frag")
