"""`-m set`: membership in an ipset.

Kernel: net/netfilter/xt_set.c:set_match_v4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown, negate

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Set(Match):
    """`-m set`."""

    name = "set"
    options = {
        "--match-set": 2,
        "--return-nomatch": 0,
        "--update-counters": 0,
        "--update-subcounters": 0,
        "--packets-eq": 1,
        "--packets-lt": 1,
        "--packets-gt": 1,
        "--bytes-eq": 1,
        "--bytes-lt": 1,
        "--bytes-gt": 1,
    }

    __slots__ = ("counted", "negated", "set_name", "sides")

    def compile(self) -> None:
        """Parse the options once."""
        option = self.option("--match-set") or self.written[0]
        self.set_name, sides = option.values
        self.sides = tuple(sides.split(","))
        self.negated = option.negated
        self.counted = next((one.name for one in self.written if one.name[2:7] in {"packe", "bytes"}), None)

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        found = around.ipset(self.set_name)
        if found is None:
            return Unknown(f"match set: ipset {self.set_name} is not in the snapshot")
        if self.counted:
            return Unknown(f"match set {self.set_name} {self.counted}")
        exceptions = self.option("--return-nomatch") is not None
        answer = found.contains(packet, self.sides, around, exceptions=exceptions)
        return negate(answer) if self.negated else answer
