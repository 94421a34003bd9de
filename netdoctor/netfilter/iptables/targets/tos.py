"""`-j TOS`: changes the TOS byte, or IPv6's traffic class.

Kernel: net/netfilter/xt_DSCP.c:tos_tg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import TOS_NAMES, number

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Tos(Target):
    """`tos = (tos & ~mask) ^ value`."""

    name = "TOS"
    tables = ("mangle",)
    options = {"--set-tos": 1, "--and-tos": 1, "--or-tos": 1, "--xor-tos": 1}

    __slots__ = ("mask", "value")

    def compile(self) -> None:
        """Reduce each spelling to value and mask, as libxt_TOS does."""
        option = self.written[0]
        text, _, mask = option.value.partition("/")
        symbolic = TOS_NAMES.get(text.lower().removeprefix("tos-"))
        value = number(text) if symbolic is None else symbolic
        self.value, self.mask = value, number(mask) if mask else (0xFF if symbolic is None else 0x3F)
        if option.name == "--and-tos":
            self.value, self.mask = 0, ~value & 0xFF
        elif option.name == "--or-tos":
            self.mask = value
        elif option.name == "--xor-tos":
            self.mask = 0

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Set the byte."""
        packet.tos = (packet.tos & ~self.mask & 0xFF) ^ self.value
        return CONTINUE
