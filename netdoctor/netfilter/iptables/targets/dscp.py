"""`-j DSCP`: sets the differentiated services code point.

Kernel: net/netfilter/xt_DSCP.c:dscp_tg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import DSCP_CLASSES, number

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Dscp(Target):
    """The upper six bits of the TOS byte."""

    name = "DSCP"
    tables = ("mangle",)
    options = {"--set-dscp": 1, "--set-dscp-class": 1}

    __slots__ = ("dscp",)

    def compile(self) -> None:
        """Parse a number or a class name."""
        option = self.written[0]
        self.dscp = DSCP_CLASSES[option.value.upper()] if option.name.endswith("class") else number(option.value)

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Set the code point, keep ECN."""
        packet.tos = (packet.tos & 0x03) | self.dscp << 2
        return CONTINUE
