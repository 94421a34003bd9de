"""`-j TRACE`: the kernel logs every rule that the packet meets.

Kernel: net/netfilter/xt_TRACE.c:trace_tg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Trace(Target):
    """`-j TRACE`."""

    name = "TRACE"

    __slots__ = ()

    @property
    def harmless(self) -> bool:
        """It changes nobody's fate."""
        return True

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Set nf_trace."""
        packet.trace = True
        return CONTINUE
