"""`-m eui64`: whether an IPv6 source was made from its hardware address. What the snapshot cannot tell is unknown.

Kernel: net/ipv6/netfilter/ip6t_eui64.c:eui64_mt6
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import HEAR, Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Eui64(Match):
    """`-m eui64`."""

    name = "eui64"
    hooks = HEAR

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return Unknown(f"match eui64 {self}".rstrip())
