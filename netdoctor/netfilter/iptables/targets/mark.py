"""`-j MARK`: changes the packet's mark.

Kernel: net/netfilter/xt_mark.c:mark_tg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import MASK, value_and_mask

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Mark(Target):
    """`mark = (mark & ~mask) ^ value`, whatever the option's name."""

    name = "MARK"
    options = {"--set-xmark": 1, "--set-mark": 1, "--and-mark": 1, "--or-mark": 1, "--xor-mark": 1}

    __slots__ = ("mask", "value")

    def compile(self) -> None:
        """Reduce each spelling to value and mask, as libxt_MARK does."""
        option = self.written[0]
        value, mask = value_and_mask(option.value)
        if option.name == "--set-mark":
            mask |= value
        elif option.name == "--and-mark":
            value, mask = 0, ~value & MASK
        elif option.name == "--or-mark":
            mask = value
        elif option.name == "--xor-mark":
            mask = 0
        self.value, self.mask = value, mask

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Set the mark."""
        packet.mark = (packet.mark & ~self.mask & MASK) ^ self.value
        packet.note(f"mark {packet.mark:#x}")
        return CONTINUE
