"""`-m mh`: IPv6 mobility header.

Kernel: net/ipv6/netfilter/ip6t_mh.c:mh_mt6
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Mh(Match):
    """`-m mh`."""

    name = "mh"
    options = {"--mh-type": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.proto != 135:
            return False
        return True if not self.written else Unknown("match mh")
