"""`-j CHECKSUM`: computes a checksum that offloading left out.

Kernel: net/netfilter/xt_CHECKSUM.c:checksum_tg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Checksum(Target):
    """`-j CHECKSUM`: computes a checksum that offloading left out."""

    name = "CHECKSUM"
    tables = ("mangle",)
    options = {"--checksum-fill": 0}

    __slots__ = ()

    @property
    def harmless(self) -> bool:
        """It changes nobody's fate."""
        return True

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Go on with the next rule."""
        return CONTINUE
