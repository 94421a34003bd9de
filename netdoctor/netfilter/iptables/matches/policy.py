"""`-m policy`: whether IPsec handled or will handle the packet. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_policy.c:policy_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import HEAR, SAY, Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Policy(Match):
    """`-m policy`."""

    name = "policy"
    options = {
        "--dir": 1,
        "--pol": 1,
        "--strict": 0,
        "--reqid": 1,
        "--spi": 1,
        "--proto": 1,
        "--mode": 1,
        "--tunnel-src": 1,
        "--tunnel-dst": 1,
        "--next": 0,
    }

    __slots__ = ()

    def places(self) -> tuple[str, ...]:
        """Return where packets of the direction are (policy_mt_check)."""
        way = self.option("--dir")
        return () if way is None else HEAR if way.value == "in" else SAY

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches; without any policy no packet is transformed (match_policy_in)."""
        if around.transforms() is not False:
            return Unknown(f"match policy {self}".rstrip())
        wanted = self.option("--pol")
        return wanted is not None and wanted.value == "none"
