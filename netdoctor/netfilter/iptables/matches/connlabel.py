"""`-m connlabel`: labels of a connection. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_connlabel.c:connlabel_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Connlabel(Match):
    """`-m connlabel`."""

    name = "connlabel"
    options = {"--label": 1, "--set": 0}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return Unknown(f"match connlabel {self}".rstrip())
