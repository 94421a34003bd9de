"""`-m rpfilter`: whether the source would be routed back by where the packet came in.

Kernel: net/ipv4/netfilter/ipt_rpfilter.c:rpfilter_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import negate

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Rpfilter(Match):
    """`-m rpfilter`."""

    name = "rpfilter"
    tables = ("raw", "mangle")
    hooks = ("PREROUTING",)
    options = {"--loose": 0, "--validmark": 0, "--accept-local": 0, "--invert": 0}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        flags = {option.name for option in self.written}
        answer = around.reverse_path(
            packet, loose="--loose" in flags, use_mark="--validmark" in flags, accept_local="--accept-local" in flags
        )
        return negate(answer) if "--invert" in flags else answer
