"""`-m ipvs`: properties of an IPVS connection. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_ipvs.c:ipvs_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Ipvs(Match):
    """`-m ipvs`."""

    name = "ipvs"
    options = {"--ipvs": 0, "--vproto": 1, "--vaddr": 1, "--vport": 1, "--vdir": 1, "--vmethod": 1, "--vportctl": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return Unknown(f"match ipvs {self}".rstrip())
