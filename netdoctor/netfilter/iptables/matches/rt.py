"""`-m rt`: IPv6 routing header.

Kernel: net/ipv6/netfilter/ip6t_rt.c:rt_mt6
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Rt(Match):
    """`-m rt`."""

    name = "rt"
    options = {
        "--rt-type": 1,
        "--rt-segsleft": 1,
        "--rt-len": 1,
        "--rt-0-res": 0,
        "--rt-0-addrs": 1,
        "--rt-0-not-strict": 0,
    }

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if 43 not in packet.extension_headers:
            return False
        return True if not self.written else Unknown("match rt")
