"""`-m iprange`: an arbitrary range of addresses.

Kernel: net/netfilter/xt_iprange.c:iprange_mt4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.packet import parse_address

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Iprange(Match):
    """`-m iprange`."""

    name = "iprange"
    options = {"--src-range": 1, "--dst-range": 1}

    __slots__ = ("ranges",)

    def compile(self) -> None:
        """Parse the options once."""
        self.ranges = []
        for option in self.written:
            low, _, high = option.value.partition("-")
            ends = parse_address(low)[1], parse_address(high or low)[1]
            self.ranges.append((option.name == "--src-range", *ends, option.negated))

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        for source, low, high, negated in self.ranges:
            if (low <= (packet.src if source else packet.dst) <= high) is negated:
                return False
        return True
