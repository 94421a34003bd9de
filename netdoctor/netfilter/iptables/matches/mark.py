"""`-m mark`: the packet's mark under a mask.

Kernel: net/netfilter/xt_mark.c:mark_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.values import value_and_mask

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Mark(Match):
    """`-m mark`."""

    name = "mark"
    options = {"--mark": 1}

    __slots__ = ("mask", "value")

    def compile(self) -> None:
        """Parse the options once."""
        self.value, self.mask = value_and_mask(self.written[0].value)

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return (packet.mark & self.mask == self.value) is not self.written[0].negated
