"""`-j ACCEPT`: leave this table's hook; other tables and base chains are still asked.

Kernel: net/ipv4/netfilter/ip_tables.c:ipt_do_table (standard verdicts)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import ACCEPT, Effect
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Accept(Target):
    """`-j ACCEPT`: leave this table's hook; other tables and base chains are still asked."""

    name = "ACCEPT"

    __slots__ = ()

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Return the verdict."""
        return ACCEPT
