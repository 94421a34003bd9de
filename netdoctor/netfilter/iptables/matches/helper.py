"""`-m helper`: the conntrack helper of the connection that expected this one.

Kernel: net/netfilter/xt_helper.c:helper_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.connections import tracked
from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Helper(Match):
    """`-m helper`."""

    name = "helper"
    options = {"--helper": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches. Only a connection that another one announced has a helper in this sense."""
        connection = tracked(packet)
        if connection is None or not connection.expected:
            return self.written[0].negated
        return Unknown(f"match helper {self.written[0].value}")
