"""`-m limit`: a rate; how much of it is left no snapshot shows. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_limit.c:limit_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Limit(Match):
    """`-m limit`."""

    name = "limit"
    options = {"--limit": 1, "--limit-burst": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return Unknown(f"match limit {self}".rstrip())
