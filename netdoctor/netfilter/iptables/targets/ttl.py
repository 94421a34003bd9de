"""`-j TTL`: changes IPv4's time to live.

Kernel: net/netfilter/xt_HL.c:ttl_tg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import number

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Ttl(Target):
    """Set, decrease or increase; it stays between 0 and 255."""

    name = "TTL"
    tables = ("mangle",)
    options = {"--ttl-set": 1, "--ttl-dec": 1, "--ttl-inc": 1}

    __slots__ = ("change", "how")

    def compile(self) -> None:
        """Parse the number."""
        self.how, self.change = self.written[0].name, number(self.written[0].value)

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Change it."""
        change = self.change
        changed = {"--ttl-set": change, "--ttl-dec": packet.ttl - change, "--ttl-inc": packet.ttl + change}
        packet.ttl = min(255, max(0, changed[self.how]))
        packet.note(f"TTL {packet.ttl}")
        return CONTINUE
