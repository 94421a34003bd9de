"""`-j IDLETIMER`: restarts a timer.

Kernel: net/netfilter/xt_IDLETIMER.c:idletimer_tg_target
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Idletimer(Target):
    """`-j IDLETIMER`: restarts a timer."""

    name = "IDLETIMER"
    options = {"--timeout": 1, "--label": 1, "--alarm": 0}

    __slots__ = ()

    @property
    def harmless(self) -> bool:
        """It changes nobody's fate."""
        return True

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Go on with the next rule."""
        return CONTINUE
