"""`-m length`: bytes of the whole IP packet, in both families.

Kernel: net/netfilter/xt_length.c:length_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Length(Match):
    """`-m length`."""

    name = "length"
    options = {"--length": 1}

    __slots__ = ("high", "low")

    def compile(self) -> None:
        """Parse the options once."""
        low, colon, high = self.written[0].value.partition(":")
        self.low = int(low or 0)
        self.high = int(high) if high else (0xFFFF if colon else self.low)

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return (self.low <= packet.size <= self.high) is not self.written[0].negated
