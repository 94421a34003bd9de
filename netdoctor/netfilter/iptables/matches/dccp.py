"""`-m dccp`: ports, packet types and options.

Kernel: net/netfilter/xt_dccp.c:dccp_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.ports import PortRange
from netdoctor.netfilter.packet import DCCP
from netdoctor.netfilter.ternary import Unknown, all_of

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Dccp(Match):
    """`-m dccp`."""

    name = "dccp"
    options = {
        "--sport": 1,
        "--source-port": 1,
        "--dport": 1,
        "--destination-port": 1,
        "--dccp-types": 1,
        "--dccp-option": 1,
    }

    __slots__ = ("ports",)

    def compile(self) -> None:
        """Parse the options once."""
        self.ports = [PortRange(option) for option in self.written if option.name in PortRange.sides]

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.proto != DCCP or packet.fragment == "later":
            return False
        answers: list[Answer] = [ports.contains(packet) for ports in self.ports]
        answers.extend(
            Unknown(f"match dccp {option.name}") for option in self.written if option.name not in PortRange.sides
        )
        return all_of(answers)
