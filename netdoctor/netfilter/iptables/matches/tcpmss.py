"""`-m tcpmss`: the segment size that a TCP packet offers.

Kernel: net/netfilter/xt_tcpmss.c:tcpmss_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.packet import SYN, TCP
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Tcpmss(Match):
    """`-m tcpmss`."""

    name = "tcpmss"
    options = {"--mss": 1}

    __slots__ = ("high", "low")

    def compile(self) -> None:
        """Parse the options once."""
        low, _, high = self.written[0].value.partition(":")
        self.low, self.high = int(low), int(high or low)

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.proto != TCP:
            return False
        if packet.tcp_mss is None:
            return Unknown("match tcpmss") if packet.tcp_flags & SYN else self.written[0].negated
        return (self.low <= packet.tcp_mss <= self.high) is not self.written[0].negated
