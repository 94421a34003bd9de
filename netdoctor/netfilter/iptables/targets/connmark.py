"""`-j CONNMARK`: changes the connection's mark, or copies it from or to the packet.

Kernel: net/netfilter/xt_connmark.c:connmark_tg_shift
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import MASK, number, value_and_mask

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Connmark(Target):
    """Set, save and restore, each with its masks and shift. Untracked packets are left alone."""

    name = "CONNMARK"
    options = {
        "--set-xmark": 1, "--set-mark": 1, "--and-mark": 1, "--or-mark": 1, "--xor-mark": 1,
        "--save-mark": 0, "--restore-mark": 0, "--mask": 1, "--nfmask": 1, "--ctmask": 1,
        "--left-shift-mark": 1, "--right-shift-mark": 1,
    }  # fmt: skip

    __slots__ = ("ctmask", "mode", "nfmask", "shift", "value")

    def compile(self) -> None:
        """Reduce each spelling to mode, value and masks, as libxt_CONNMARK does."""
        self.mode, self.value, self.nfmask, self.ctmask, self.shift = "set", 0, MASK, MASK, 0
        for option in self.written:
            if option.name in {"--save-mark", "--restore-mark"}:
                self.mode = option.name[2:].partition("-")[0]
            elif option.name == "--mask":
                self.nfmask = self.ctmask = number(option.value)
            elif option.name == "--nfmask":
                self.nfmask = number(option.value)
            elif option.name == "--ctmask":
                self.ctmask = number(option.value)
            elif option.name.endswith("shift-mark"):
                self.shift = number(option.value) * (1 if option.name == "--left-shift-mark" else -1)
            else:
                self._set(option.name, *value_and_mask(option.value))

    def _set(self, name: str, value: int, mask: int) -> None:
        if name == "--set-mark":
            mask |= value
        elif name == "--and-mark":
            value, mask = 0, ~value & MASK
        elif name == "--or-mark":
            mask = value
        elif name == "--xor-mark":
            mask = 0
        self.value, self.ctmask = value, mask

    def _shifted(self, mark: int) -> int:
        return (mark << self.shift) & MASK if self.shift >= 0 else mark >> -self.shift

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Change the connection's mark, or the packet's."""
        connection = packet.connection
        if connection is None:
            return CONTINUE
        if self.mode == "set":
            connection.mark = self._shifted((connection.mark & ~self.ctmask & MASK) ^ self.value)
            packet.note(f"connection mark {connection.mark:#x}")
        elif self.mode == "save":
            saved = self._shifted(packet.mark & self.nfmask)
            connection.mark = (connection.mark & ~self.ctmask & MASK) ^ saved
            packet.note(f"connection mark {connection.mark:#x}")
        else:
            restored = self._shifted(connection.mark & self.ctmask)
            packet.mark = (packet.mark & ~self.nfmask & MASK) ^ restored
            packet.note(f"mark {packet.mark:#x}")
        return CONTINUE
