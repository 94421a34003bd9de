"""`-j NETMAP`: replaces the network part of an address: the destination before routing, the source after it.

Kernel: net/netfilter/xt_NETMAP.c:netmap_tg4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import Effect, Nat
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.header import parse_network

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Netmap(Target):
    """One to one, host part kept."""

    name = "NETMAP"
    tables = ("nat",)
    options = {"--to": 1}

    __slots__ = ("mask", "network")

    def compile(self) -> None:
        """Parse the network."""
        self.network, self.mask = parse_network(self.written[0].value, self.family)

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Return the binding of this packet's own address."""
        source = around.hook in {"POSTROUTING", "INPUT"}
        old = packet.src if source else packet.dst
        new = (old & ~self.mask) | self.network
        return Nat("src" if source else "dst", new, new, netmap_mask=self.mask)
