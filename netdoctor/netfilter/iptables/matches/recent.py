"""`-m recent`: whether an address was seen lately. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_recent.c:recent_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Recent(Match):
    """`-m recent`."""

    name = "recent"
    options = {
        "--set": 0,
        "--rcheck": 0,
        "--update": 0,
        "--remove": 0,
        "--seconds": 1,
        "--reap": 0,
        "--hitcount": 1,
        "--rttl": 0,
        "--name": 1,
        "--rsource": 0,
        "--rdest": 0,
        "--mask": 1,
    }

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if self.option("--set"):
            return not any(option.negated for option in self.written if option.name == "--set")
        return Unknown(f"match recent {self}".rstrip())
