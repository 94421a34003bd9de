"""`-j SYNPROXY`: the kernel answers the SYN itself.

Kernel: net/ipv4/netfilter/ipt_SYNPROXY.c:synproxy_tg4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect, SynProxy
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.packet import ACK, FIN, RST, SYN

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Synproxy(Target):
    """Needs the SYN untracked; the connection is opened to the server later."""

    name = "SYNPROXY"
    hooks = ("INPUT", "FORWARD")
    options = {"--sack-perm": 0, "--timestamp": 0, "--wscale": 1, "--mss": 1, "--ecn": 0}

    __slots__ = ()

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Take a SYN, and an ACK; other segments pass."""
        kind = packet.tcp_flags & (FIN | SYN | RST | ACK)
        return SynProxy() if kind in (SYN, ACK) else CONTINUE
