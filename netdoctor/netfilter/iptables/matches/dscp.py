"""`-m dscp`: the differentiated services code point.

Kernel: net/netfilter/xt_dscp.c:dscp_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.values import DSCP_CLASSES, number

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Dscp(Match):
    """`-m dscp`."""

    name = "dscp"
    options = {"--dscp": 1, "--dscp-class": 1}

    __slots__ = ("dscp",)

    def compile(self) -> None:
        """Parse the options once."""
        option = self.written[0]
        self.dscp = DSCP_CLASSES[option.value.upper()] if option.name == "--dscp-class" else number(option.value)

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return (packet.tos >> 2 == self.dscp) is not self.written[0].negated
