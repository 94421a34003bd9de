"""`-j QUEUE`: the program at queue 0 decides.

Kernel: net/ipv4/netfilter/ip_tables.c (NF_QUEUE)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import Effect
from netdoctor.netfilter.effect import Queue as QueueEffect
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Queue(Target):
    """The old spelling of `NFQUEUE --queue-num 0`."""

    name = "QUEUE"

    __slots__ = ()

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Hand it over."""
        return QueueEffect(0)
