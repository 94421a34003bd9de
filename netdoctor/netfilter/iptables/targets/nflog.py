"""`-j NFLOG`: hands a copy to a logging program.

Kernel: net/netfilter/xt_NFLOG.c:nflog_tg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Nflog(Target):
    """`-j NFLOG`: hands a copy to a logging program."""

    name = "NFLOG"
    options = {"--nflog-group": 1, "--nflog-prefix": 1, "--nflog-range": 1, "--nflog-size": 1, "--nflog-threshold": 1}

    __slots__ = ()

    @property
    def harmless(self) -> bool:
        """It changes nobody's fate."""
        return True

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Go on with the next rule."""
        return CONTINUE
