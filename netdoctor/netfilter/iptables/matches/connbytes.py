"""`-m connbytes`: how much a connection has carried. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_connbytes.c:connbytes_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Connbytes(Match):
    """`-m connbytes`."""

    name = "connbytes"
    options = {"--connbytes": 1, "--connbytes-dir": 1, "--connbytes-mode": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return Unknown(f"match connbytes {self}".rstrip())
