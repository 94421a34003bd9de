"""`-m ecn`: ECN bits of IP and TCP.

Kernel: net/netfilter/xt_ecn.c:ecn_mt4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.packet import CWR, ECE, TCP

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Ecn(Match):
    """`-m ecn`."""

    name = "ecn"
    options = {"--ecn-tcp-cwr": 0, "--ecn-tcp-ece": 0, "--ecn-ip-ect": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        for option in self.written:
            if option.name == "--ecn-ip-ect":
                hit = packet.tos & 3 == int(option.value)
            elif packet.proto != TCP:
                return False
            else:
                hit = bool(packet.tcp_flags & (CWR if option.name == "--ecn-tcp-cwr" else ECE))
            if hit is option.negated:
                return False
        return True
