"""`-j ECN`: removes ECN bits from TCP's header or sets those of IP's.

Kernel: net/ipv4/netfilter/ipt_ECN.c:ecn_tg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import number
from netdoctor.netfilter.packet import CWR, ECE, TCP

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Ecn(Target):
    """Disables ECN towards hosts that break on it."""

    name = "ECN"
    tables = ("mangle",)
    options = {"--ecn-tcp-remove": 0, "--ecn-tcp-cwr": 1, "--ecn-tcp-ece": 1, "--ecn-ip-ect": 1}

    __slots__ = ("changes",)

    def compile(self) -> None:
        """Parse the numbers."""
        self.changes = [(option.name, number(option.value) if option.words else 0) for option in self.written]

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Change the bits."""
        for name, value in self.changes:
            if name == "--ecn-ip-ect":
                packet.tos = (packet.tos & ~0x03) | value
            elif packet.proto != TCP:
                continue
            elif name == "--ecn-tcp-remove":
                packet.tcp_flags &= ~(ECE | CWR)
            else:
                bit = CWR if name == "--ecn-tcp-cwr" else ECE
                packet.tcp_flags = packet.tcp_flags | bit if value else packet.tcp_flags & ~bit
        return CONTINUE
