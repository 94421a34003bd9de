"""`-m udp`: ports.

Kernel: net/netfilter/xt_tcpudp.c:udp_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.ports import PortRange, fragment_hides_ports
from netdoctor.netfilter.ternary import all_of

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Udp(Match):
    """`-m udp`."""

    name = "udp"
    options = {"--sport": 1, "--source-port": 1, "--dport": 1, "--destination-port": 1}

    __slots__ = ("ports",)

    def compile(self) -> None:
        """Parse the options once."""
        self.ports = [PortRange(option) for option in self.written if option.name in PortRange.sides]

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.proto != 17 or fragment_hides_ports(packet):
            return False
        answers: list[Answer] = [ports.contains(packet) for ports in self.ports]
        return all_of(answers)
