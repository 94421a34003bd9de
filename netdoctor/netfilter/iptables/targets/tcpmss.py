"""`-j TCPMSS`: lowers the segment size that a SYN offers.

Kernel: net/netfilter/xt_TCPMSS.c:tcpmss_tg4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import number

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Tcpmss(Target):
    """Only the size of later segments changes; the packets of a trace stay as they are."""

    name = "TCPMSS"
    options = {"--set-mss": 1, "--clamp-mss-to-pmtu": 0}

    __slots__ = ("mss",)

    def compile(self) -> None:
        """Parse the size; None clamps it to the path's MTU."""
        option = self.option("--set-mss")
        self.mss = None if option is None else number(option.value)

    @property
    def harmless(self) -> bool:
        """It never takes a packet away; what it prevents is a later one that is too big."""
        return False

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Lower the MSS, never raise it."""
        if self.mss is None:
            packet.note("MSS clamped to the path's MTU")
            packet.tcp_mss = None  # not known from here on
        elif packet.tcp_mss is not None:
            packet.tcp_mss = min(packet.tcp_mss, self.mss)
            packet.note(f"MSS {packet.tcp_mss}")
        return CONTINUE
