"""`-m statistic`: by chance, or every nth packet (whose turn it is no snapshot shows: a chance of 1/n).

Kernel: net/netfilter/xt_statistic.c:statistic_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Chance

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Statistic(Match):
    """`-m statistic`."""

    name = "statistic"
    options = {"--mode": 1, "--probability": 1, "--every": 1, "--packet": 1}

    __slots__ = ("negated", "probability")

    def compile(self) -> None:
        """Parse the options once."""
        probability, every = self.option("--probability"), self.option("--every")
        chosen = probability or every
        if chosen is None:
            raise ValueError("neither --probability nor --every")
        self.negated = chosen.negated
        self.probability = float(chosen.value) if chosen is probability else 1 / int(chosen.value)

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return (
            Chance(1.0 - self.probability if self.negated else self.probability)
            if 0 < self.probability < 1
            else ((self.probability >= 1) is not self.negated)
        )
