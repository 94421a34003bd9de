"""`-m nfacct`: counts into an accounting object; matches unless the object has a quota that is not used up.

Kernel: net/netfilter/xt_nfacct.c:nfacct_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Nfacct(Match):
    """`-m nfacct`."""

    name = "nfacct"
    options = {"--nfacct-name": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return Unknown(f"match nfacct {self.written[0].value}: whether it has a quota")
