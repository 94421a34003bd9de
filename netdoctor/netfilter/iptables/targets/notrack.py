"""`-j NOTRACK`: the connection is not tracked (now `CT --notrack`).

Kernel: net/netfilter/xt_CT.c:notrack_tg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect, NoTrack
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Notrack(Target):
    """raw only."""

    name = "NOTRACK"
    tables = ("raw",)

    __slots__ = ()

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Attach the untracked template."""
        return NoTrack() if packet.ctstate is None else CONTINUE
