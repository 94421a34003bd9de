"""`-j TCPOPTSTRIP`: blanks TCP options; no hop decides by them.

Kernel: net/netfilter/xt_TCPOPTSTRIP.c:tcpoptstrip_tg4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Tcpoptstrip(Target):
    """`-j TCPOPTSTRIP`: blanks TCP options; no hop decides by them."""

    name = "TCPOPTSTRIP"
    options = {"--strip-options": 1}

    __slots__ = ()

    @property
    def harmless(self) -> bool:
        """It changes nobody's fate."""
        return True

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Go on with the next rule."""
        return CONTINUE
