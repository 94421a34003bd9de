"""`-m ipcomp`: the index of an IPComp header.

Kernel: net/netfilter/xt_ipcomp.c:comp_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer

_IPCOMP = 108


class Ipcomp(Match):
    """`-m ipcomp`."""

    name = "ipcomp"
    options = {"--ipcompspi": 1, "--compres": 0}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.proto != _IPCOMP:
            return False
        return True if not self.written else Unknown("match ipcomp")
