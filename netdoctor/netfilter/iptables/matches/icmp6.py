"""`-m icmp6`: type and code.

Kernel: net/ipv6/netfilter/ip6_tables.c:icmp6_match
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.icmptypes import ICMPV6_TYPES, type_and_codes

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Icmp6(Match):
    """`-m icmp6`."""

    name = "icmp6"
    options = {"--icmpv6-type": 1}

    __slots__ = ("first", "last", "type")

    def compile(self) -> None:
        """Parse the options once."""
        text = self.written[0].value if self.written else "any"
        self.type, self.first, self.last = type_and_codes(text, ICMPV6_TYPES)

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.proto != 58 or packet.fragment == "later":
            return False
        if self.type is None:
            return True
        hit = packet.icmp_type == self.type and self.first <= (packet.icmp_code or 0) <= self.last
        return hit is not self.written[0].negated
