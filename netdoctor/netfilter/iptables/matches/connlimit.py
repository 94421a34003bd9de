"""`-m connlimit`: how many connections an address has. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_connlimit.c:connlimit_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Connlimit(Match):
    """`-m connlimit`."""

    name = "connlimit"
    options = {
        "--connlimit-upto": 1,
        "--connlimit-above": 1,
        "--connlimit-mask": 1,
        "--connlimit-saddr": 0,
        "--connlimit-daddr": 0,
    }

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches: no address has more connections than are tracked in all."""
        limit = self.option("--connlimit-upto") or self.option("--connlimit-above")
        most = around.connections()
        if limit is None or most is None or most > int(limit.value):
            return Unknown(f"match connlimit {self}".rstrip())
        return (limit.name == "--connlimit-upto") is not limit.negated
