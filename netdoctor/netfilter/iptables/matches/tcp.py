"""`-m tcp`: ports, flags and options of TCP.

Kernel: net/netfilter/xt_tcpudp.c:tcp_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.flags import tcp_flags
from netdoctor.netfilter.iptables.ports import PortRange, fragment_hides_ports
from netdoctor.netfilter.ternary import all_of

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Tcp(Match):
    """`-m tcp`."""

    name = "tcp"
    options = {
        "--sport": 1,
        "--source-port": 1,
        "--dport": 1,
        "--destination-port": 1,
        "--tcp-flags": 2,
        "--syn": 0,
        "--tcp-option": 1,
    }

    __slots__ = ("flags", "kinds", "ports")

    def compile(self) -> None:
        """Parse the options once."""
        self.ports = [PortRange(option) for option in self.written if option.name in PortRange.sides]
        self.flags: list[tuple[int, int, bool]] = []
        self.kinds: list[tuple[int, bool]] = []
        for option in self.written:
            if option.name == "--syn":
                self.flags.append((tcp_flags("SYN,RST,ACK,FIN"), tcp_flags("SYN"), option.negated))
            elif option.name == "--tcp-flags":
                mask, wanted = option.values
                self.flags.append((tcp_flags(mask), tcp_flags(wanted), option.negated))
            elif option.name == "--tcp-option":
                self.kinds.append((int(option.value), option.negated))

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.proto != 6 or fragment_hides_ports(packet):
            return False
        answers: list[Answer] = [ports.contains(packet) for ports in self.ports]
        for mask, wanted, negated in self.flags:
            answers.append((packet.tcp_flags & mask == wanted) is not negated)
        for kind, negated in self.kinds:
            answers.append((kind in packet.tcp_options) is not negated)
        return all_of(answers)
