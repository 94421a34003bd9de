"""`-m ipv6header`: which IPv6 extension headers there are. What the snapshot cannot tell is unknown.

Kernel: net/ipv6/netfilter/ip6t_ipv6header.c:ipv6header_mt6
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Ipv6Header(Match):
    """`-m ipv6header`."""

    name = "ipv6header"
    options = {"--header": 1, "--soft": 0}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if (
            not packet.extension_headers
            and not any(option.negated for option in self.written)
            and not self.option("--soft")
        ):
            return self.option("--header") is None
        return Unknown(f"match ipv6header {self}".rstrip())
