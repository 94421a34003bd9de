"""`-j DROP`: the packet is gone, in silence; a local sender gets EPERM.

Kernel: net/ipv4/netfilter/ip_tables.c:ipt_do_table (standard verdicts)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import Drop as DropEffect
from netdoctor.netfilter.effect import Effect
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Drop(Target):
    """`-j DROP`: the packet is gone, in silence; a local sender gets EPERM."""

    name = "DROP"

    __slots__ = ()

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Return the verdict."""
        return DropEffect()
