"""`-m addrtype`: what the routing tables call an address: LOCAL, UNICAST, BROADCAST, …

Kernel: net/netfilter/xt_addrtype.c:addrtype_mt_v1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown, all_of

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Addrtype(Match):
    """`-m addrtype`."""

    name = "addrtype"
    options = {"--src-type": 1, "--dst-type": 1, "--limit-iface-in": 0, "--limit-iface-out": 0}

    __slots__ = ("wanted",)

    def compile(self) -> None:
        """Parse the options once."""
        self.wanted = [
            (option.name == "--src-type", frozenset(option.value.upper().split(",")), option.negated)
            for option in self.written
            if option.name in {"--src-type", "--dst-type"}
        ]

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        dev = None
        if self.option("--limit-iface-in"):
            dev = packet.in_dev
        elif self.option("--limit-iface-out"):
            dev = packet.out_dev
        answers: list[Answer] = []
        for source, wanted, negated in self.wanted:
            kind = around.address_type(packet.family, packet.src if source else packet.dst, dev)
            answers.append(kind if isinstance(kind, Unknown) else (kind in wanted) is not negated)
        return all_of(answers)
