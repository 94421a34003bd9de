"""`-m rateest`: an estimated rate. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_rateest.c:xt_rateest_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Rateest(Match):
    """`-m rateest`."""

    name = "rateest"
    options = {
        "--rateest1": 1,
        "--rateest2": 1,
        "--rateest": 1,
        "--rateest-delta": 0,
        "--rateest-bps": -1,
        "--rateest-pps": -1,
        "--rateest-bps1": -1,
        "--rateest-pps1": -1,
        "--rateest-bps2": -1,
        "--rateest-pps2": -1,
        "--rateest-lt": 0,
        "--rateest-gt": 0,
        "--rateest-eq": 0,
    }

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return Unknown(f"match rateest {self}".rstrip())
