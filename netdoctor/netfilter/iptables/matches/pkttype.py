"""`-m pkttype`: to this host, broadcast, multicast, or overheard. What is sent by loopback counts by its address.

Kernel: net/netfilter/xt_pkttype.c:pkttype_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.packet import is_multicast

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Pkttype(Match):
    """`-m pkttype`."""

    name = "pkttype"
    options = {"--pkt-type": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        kind = packet.pkttype
        if kind == "loopback":
            kind = "multicast" if is_multicast(packet.family, packet.dst) else "broadcast"
        wanted = {"unicast": "host"}.get(self.written[0].value, self.written[0].value)
        return (kind == wanted) is not self.written[0].negated
