"""`-m u32`: arithmetic on bytes of the packet. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_u32.c:u32_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class U32(Match):
    """`-m u32`."""

    name = "u32"
    options = {"--u32": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return Unknown(f"match u32 {self}".rstrip())
