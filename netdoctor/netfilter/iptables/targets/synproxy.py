"""`-j SYNPROXY`: the kernel answers the SYN itself.

Kernel: net/ipv4/netfilter/ipt_SYNPROXY.c:synproxy_tg4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import Effect, SynProxy
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Synproxy(Target):
    """Needs the SYN untracked; the connection is opened to the server later."""

    name = "SYNPROXY"
    options = {"--sack-perm": 0, "--timestamp": 0, "--wscale": 1, "--mss": 1, "--ecn": 0}

    __slots__ = ()

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Return the effect; the simulator names it."""
        return SynProxy()
