"""`-m cpu`: the processor that handles the packet. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_cpu.c:cpu_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Cpu(Match):
    """`-m cpu`."""

    name = "cpu"
    options = {"--cpu": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return Unknown(f"match cpu {self}".rstrip())
