"""`-m icmp6`: type and code.

Kernel: net/ipv6/netfilter/ip6_tables.c:icmp6_match
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.icmptypes import ICMPV6_TYPES, type_and_codes
from netdoctor.netfilter.packet import ICMPV6

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Icmp6(Match):
    """`-m icmp6`."""

    name = "icmp6"
    options = {"--icmpv6-type": 1}

    __slots__ = ("first", "last", "negated", "type")

    def compile(self) -> None:
        """Parse the options once."""
        text = self.written[0].value if self.written else "any"
        self.negated = any(option.negated for option in self.written)
        self.type, self.first, self.last = type_and_codes(text, ICMPV6_TYPES)

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.proto != ICMPV6 or packet.fragment == "later":
            return False
        hit = self.type is None or (
            packet.icmp_type == self.type and self.first <= (packet.icmp_code or 0) <= self.last
        )
        return hit is not self.negated
