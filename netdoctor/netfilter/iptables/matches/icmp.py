"""`-m icmp`: type and code.

Kernel: net/ipv4/netfilter/ip_tables.c:icmp_match
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.icmptypes import ICMP_TYPES, type_and_codes
from netdoctor.netfilter.packet import ICMP

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Icmp(Match):
    """`-m icmp`."""

    name = "icmp"
    options = {"--icmp-type": 1}

    __slots__ = ("first", "last", "negated", "type")

    def compile(self) -> None:
        """Parse the options once."""
        text = self.written[0].value if self.written else "any"
        self.negated = any(option.negated for option in self.written)
        self.type, self.first, self.last = type_and_codes(text, ICMP_TYPES)

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.proto != ICMP or packet.fragment == "later":
            return False
        hit = self.type is None or (
            packet.icmp_type == self.type and self.first <= (packet.icmp_code or 0) <= self.last
        )
        return hit is not self.negated
