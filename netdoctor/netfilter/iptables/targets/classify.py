"""`-j CLASSIFY`: sets the priority that queueing disciplines read.

Kernel: net/netfilter/xt_CLASSIFY.c:classify_tg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import SAY, Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Classify(Target):
    """`MAJOR:MINOR`, in hexadecimal."""

    name = "CLASSIFY"
    hooks = SAY
    options = {"--set-class": 1}

    __slots__ = ("priority",)

    def compile(self) -> None:
        """Parse `MAJOR:MINOR`."""
        major, _, minor = self.written[0].value.partition(":")
        self.priority = int(major or "0", 16) << 16 | int(minor or "0", 16)

    @property
    def harmless(self) -> bool:
        """It changes nobody's fate: no match of iptables reads the priority."""
        return True

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Set the priority."""
        packet.priority = self.priority
        return CONTINUE
