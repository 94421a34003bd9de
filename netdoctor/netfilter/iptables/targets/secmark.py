"""`-j SECMARK`: labels the packet for SELinux.

Kernel: net/netfilter/xt_SECMARK.c:secmark_tg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Secmark(Target):
    """`-j SECMARK`: labels the packet for SELinux."""

    name = "SECMARK"
    options = {"--selctx": 1}

    __slots__ = ()

    @property
    def harmless(self) -> bool:
        """It changes nobody's fate."""
        return True

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Go on with the next rule."""
        return CONTINUE
