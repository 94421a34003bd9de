"""`-j NFQUEUE`: a program decides.

Kernel: net/netfilter/xt_NFQUEUE.c:nfqueue_tg_v3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import Effect, Queue
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import number

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Nfqueue(Target):
    """`--queue-balance A:B` spreads over several; the first stands for all."""

    name = "NFQUEUE"
    options = {"--queue-num": 1, "--queue-balance": 1, "--queue-bypass": 0, "--queue-cpu-fanout": 0}

    __slots__ = ("queue",)

    def compile(self) -> None:
        """Parse the number."""
        option = self.option("--queue-num") or self.option("--queue-balance")
        first = option.value.partition(":")[0] if option else "0"
        self.queue = Queue(number(first), self.option("--queue-bypass") is not None)

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Hand it over."""
        return self.queue
