"""`-m tos`: the TOS byte under a mask.

Kernel: net/netfilter/xt_dscp.c:tos_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.values import TOS_NAMES, number

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Tos(Match):
    """`-m tos`."""

    name = "tos"
    options = {"--tos": 1}

    __slots__ = ("mask", "value")

    def compile(self) -> None:
        """Parse the options once."""
        text, _, mask = self.written[0].value.partition("/")
        symbolic = TOS_NAMES.get(text.lower().removeprefix("tos-"))
        self.value = number(text) if symbolic is None else symbolic
        self.mask = number(mask) if mask else (0xFF if symbolic is None else 0x3F)

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return (packet.tos & self.mask == self.value) is not self.written[0].negated
