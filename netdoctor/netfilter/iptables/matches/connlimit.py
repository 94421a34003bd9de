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
        """Say whether the packet matches: no address has more connections than are tracked in all.

        A rule that meets a connection late, because it asks for data only, does not count it; since Linux 6.18 it drops
        its packets where nothing else is counted either (nf_conncount.c:count_tree returns 0). That shows nowhere.
        """
        if self._meets_late(packet):
            return Unknown("match connlimit of a connection that was not counted", drops=True)
        limit = self.option("--connlimit-upto") or self.option("--connlimit-above")
        most = around.connections()
        if limit is None or most is None or most > int(limit.value):
            return Unknown(f"match connlimit {self}".rstrip())
        return (limit.name == "--connlimit-upto") is not limit.negated

    def _meets_late(self, packet: Packet) -> bool:
        """Whether the rule has not seen the connection's first packet (nf_conncount.c:__nf_conncount_add)."""
        connection = packet.connection
        if connection is None or connection.from_snapshot:
            return False
        if not connection.confirmed:
            connection.counted |= {id(self)}
        return id(self) not in connection.counted
