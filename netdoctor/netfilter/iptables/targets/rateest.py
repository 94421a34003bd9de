"""`-j RATEEST`: feeds a rate estimator.

Kernel: net/netfilter/xt_RATEEST.c:xt_rateest_tg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Rateest(Target):
    """`-j RATEEST`: feeds a rate estimator."""

    name = "RATEEST"
    options = {"--rateest-name": 1, "--rateest-interval": 1, "--rateest-ewmalog": 1}

    __slots__ = ()

    @property
    def harmless(self) -> bool:
        """It changes nobody's fate."""
        return True

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Go on with the next rule."""
        return CONTINUE
