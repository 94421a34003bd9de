"""`-m ttl`: IPv4's time to live.

Kernel: net/netfilter/xt_hl.c:ttl_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Ttl(Match):
    """`-m ttl`."""

    name = "ttl"
    options = {"--ttl-eq": 1, "--ttl-lt": 1, "--ttl-gt": 1, "--ttl": 1}

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
