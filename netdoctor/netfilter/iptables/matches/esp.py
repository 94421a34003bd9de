"""`-m esp`: the index of an ESP header.

Kernel: net/netfilter/xt_esp.c:esp_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.packet import ESP
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Esp(Match):
    """`-m esp`."""

    name = "esp"
    options = {"--espspi": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.proto != ESP:
            return False
        return True if not self.written else Unknown("match esp")
