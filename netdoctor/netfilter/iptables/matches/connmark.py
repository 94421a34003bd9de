"""`-m connmark`: the connection's mark under a mask; an untracked packet has none.

Kernel: net/netfilter/xt_connmark.c:connmark_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.connections import tracked
from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.values import value_and_mask

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Connmark(Match):
    """`-m connmark`."""

    name = "connmark"
    options = {"--mark": 1}

    __slots__ = ("mask", "value")

    def compile(self) -> None:
        """Parse the options once."""
        self.value, self.mask = value_and_mask(self.written[0].value)

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        connection = tracked(packet)
        if connection is None:
            return False
        return (connection.mark & self.mask == self.value) is not self.written[0].negated
