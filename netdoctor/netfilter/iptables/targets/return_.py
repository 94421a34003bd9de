"""`-j RETURN`: back to the calling chain; in a built-in chain, to the policy.

Kernel: net/ipv4/netfilter/ip_tables.c:ipt_do_table (standard verdicts)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import RETURN, Effect
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Return(Target):
    """`-j RETURN`: back to the calling chain; in a built-in chain, to the policy."""

    name = "RETURN"

    __slots__ = ()

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Return the verdict."""
        return RETURN
