"""`-m sctp`: ports and chunk types.

Kernel: net/netfilter/xt_sctp.c:sctp_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.ports import PortRange
from netdoctor.netfilter.packet import SCTP
from netdoctor.netfilter.ternary import Unknown, all_of

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Sctp(Match):
    """`-m sctp`."""

    name = "sctp"
    options = {"--sport": 1, "--source-port": 1, "--dport": 1, "--destination-port": 1, "--chunk-types": 2}

    __slots__ = ("ports",)

    def compile(self) -> None:
        """Parse the options once."""
        self.ports = [PortRange(option) for option in self.written if option.name in PortRange.sides]

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.proto != SCTP or packet.fragment == "later":
            return False
        answers: list[Answer] = [ports.contains(packet) for ports in self.ports]
        if self.option("--chunk-types"):
            answers.append(Unknown("match sctp --chunk-types"))
        return all_of(answers)
