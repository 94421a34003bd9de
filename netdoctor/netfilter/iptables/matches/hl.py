"""`-m hl`: IPv6's hop limit.

Kernel: net/netfilter/xt_hl.c:hl_mt6
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Hl(Match):
    """`-m hl`."""

    name = "hl"
    options = {"--hl-eq": 1, "--hl-lt": 1, "--hl-gt": 1, "--hl": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        option = self.written[0]
        value = int(option.value)
        if option.name.endswith("-lt"):
            return packet.ttl < value
        if option.name.endswith("-gt"):
            return packet.ttl > value
        return (packet.ttl == value) is not option.negated
