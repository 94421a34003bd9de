"""`-m dst`: IPv6 destination options header.

Kernel: net/ipv6/netfilter/ip6t_hbh.c:hbh_mt6
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Dst(Match):
    """`-m dst`."""

    name = "dst"
    options = {"--dst-len": 1, "--dst-opts": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if 60 not in packet.extension_headers:
            return False
        return True if not self.written else Unknown("match dst")
