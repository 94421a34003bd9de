"""`-m osf`: which operating system made a SYN. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_osf.c:xt_osf_match_packet
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.packet import SYN, TCP
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Osf(Match):
    """`-m osf`."""

    name = "osf"
    options = {"--genre": 1, "--ttl": 1, "--log": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.proto != TCP or not packet.tcp_flags & SYN:
            return False
        return Unknown(f"match osf {self}".rstrip())
