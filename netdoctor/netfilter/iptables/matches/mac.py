"""`-m mac`: the Ethernet source; none for what is made here or came by a device without Ethernet.

Kernel: net/netfilter/xt_mac.c:mac_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import HEAR, Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Mac(Match):
    """`-m mac`."""

    name = "mac"
    hooks = HEAR
    options = {"--mac-source": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.in_dev in {None, "lo"}:
            return False
        if packet.src_mac is None:
            return Unknown("match mac: the sender's hardware address")
        return (packet.src_mac.lower() == self.written[0].value.lower()) is not self.written[0].negated
