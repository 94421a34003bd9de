"""`-m hbh`: IPv6 hop-by-hop options header.

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


class Hbh(Match):
    """`-m hbh`."""

    name = "hbh"
    options = {"--hbh-len": 1, "--hbh-opts": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if 0 not in packet.extension_headers:
            return False
        return True if not self.written else Unknown("match hbh")
