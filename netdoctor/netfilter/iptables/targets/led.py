"""`-j LED`: blinks.

Kernel: net/netfilter/xt_LED.c:led_tg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Led(Target):
    """`-j LED`: blinks."""

    name = "LED"
    options = {"--led-trigger-id": 1, "--led-delay": 1, "--led-always-blink": 0}

    __slots__ = ()

    @property
    def harmless(self) -> bool:
        """It changes nobody's fate."""
        return True

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Go on with the next rule."""
        return CONTINUE
