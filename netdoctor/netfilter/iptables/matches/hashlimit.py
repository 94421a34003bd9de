"""`-m hashlimit`: a rate for each address or port. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_hashlimit.c:hashlimit_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Hashlimit(Match):
    """`-m hashlimit`."""

    name = "hashlimit"
    options = {
        "--hashlimit-upto": 1,
        "--hashlimit": 1,
        "--hashlimit-above": 1,
        "--hashlimit-burst": 1,
        "--hashlimit-mode": 1,
        "--hashlimit-srcmask": 1,
        "--hashlimit-dstmask": 1,
        "--hashlimit-name": 1,
        "--hashlimit-htable-size": 1,
        "--hashlimit-htable-max": 1,
        "--hashlimit-htable-expire": 1,
        "--hashlimit-htable-gcinterval": 1,
        "--hashlimit-rate-match": 0,
        "--hashlimit-rate-interval": 1,
    }

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return Unknown(f"match hashlimit {self}".rstrip())
