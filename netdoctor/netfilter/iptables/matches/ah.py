"""`-m ah`: the index of an authentication header.

Kernel: net/ipv4/netfilter/ipt_ah.c:ah_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.packet import AH
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Ah(Match):
    """`-m ah`."""

    name = "ah"
    options = {"--ahspi": 1, "--ahlen": 1, "--ahres": 0}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.proto != AH:
            return False
        return True if not self.written else Unknown("match ah")
