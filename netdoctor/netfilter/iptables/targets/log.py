"""`-j LOG`: writes a line into the kernel's log.

Kernel: net/netfilter/xt_LOG.c:log_tg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Log(Target):
    """`-j LOG`: writes a line into the kernel's log."""

    name = "LOG"
    options = {
        "--log-level": 1,
        "--log-prefix": 1,
        "--log-tcp-sequence": 0,
        "--log-tcp-options": 0,
        "--log-ip-options": 0,
        "--log-uid": 0,
        "--log-macdecode": 0,
    }

    __slots__ = ()

    @property
    def harmless(self) -> bool:
        """It changes nobody's fate."""
        return True

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Go on with the next rule."""
        return CONTINUE
