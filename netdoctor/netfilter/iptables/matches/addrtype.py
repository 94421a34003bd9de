"""`-m addrtype`: what the routing tables call an address: LOCAL, UNICAST, BROADCAST, …

Kernel: net/netfilter/xt_addrtype.c:addrtype_mt_v1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.packet import is_multicast
from netdoctor.netfilter.ternary import Unknown, all_of, negate

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
            address = packet.src if source else packet.dst
            if packet.family == 6:
                answer = _six(address, wanted, dev, around)
            else:
                kind = around.address_type(4, address, dev)
                answer = kind if isinstance(kind, Unknown) else kind in wanted
            answers.append(negate(answer) if negated else answer)
        return all_of(answers)


def _six(address: int, wanted: frozenset[str], dev: str | None, around: Surroundings) -> Answer:
    """IPv6 asks the address first, and its route only for types that it shows (match_type6, match_lookup_rt6)."""
    if "MULTICAST" in wanted and not is_multicast(6, address):
        return False
    if "UNICAST" in wanted and (is_multicast(6, address) or not address):
        return False
    if "UNSPEC" in wanted and address:
        return False
    routed = wanted & {"LOCAL", "ANYCAST", "UNREACHABLE"}
    if not routed:
        return True
    kind = around.address_type(6, address, dev)
    return kind if isinstance(kind, Unknown) else kind in routed
