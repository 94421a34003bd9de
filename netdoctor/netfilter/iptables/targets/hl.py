"""`-j HL`: changes IPv6's hop limit.

Kernel: net/netfilter/xt_HL.c:hl_tg6
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import number

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Hl(Target):
    """Set, decrease or increase; it stays between 0 and 255."""

    name = "HL"
    tables = ("mangle",)
    options = {"--hl-set": 1, "--hl-dec": 1, "--hl-inc": 1}

    __slots__ = ("change", "how")

    def compile(self) -> None:
        """Parse the number."""
        self.how, self.change = self.written[0].name, number(self.written[0].value)

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Change it."""
        change = self.change
        changed = {"--hl-set": change, "--hl-dec": packet.ttl - change, "--hl-inc": packet.ttl + change}
        packet.ttl = min(255, max(0, changed[self.how]))
        packet.note(f"HL {packet.ttl}")
        return CONTINUE
