"""`-m multiport`: up to fifteen ports or ranges.

Kernel: net/netfilter/xt_multiport.c:multiport_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.ports import PORT_PROTOCOLS, port_in
from netdoctor.netfilter.iptables.values import port
from netdoctor.netfilter.ternary import any_of, negate

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Multiport(Match):
    """`-m multiport`."""

    name = "multiport"
    options = {"--sports": 1, "--source-ports": 1, "--dports": 1, "--destination-ports": 1, "--ports": 1}

    __slots__ = ("ranges", "sides")

    def compile(self) -> None:
        """Parse the options once."""
        option = self.written[0]
        names = {"--sports": ("src",), "--source-ports": ("src",), "--ports": ("src", "dst")}
        self.sides = names.get(option.name, ("dst",))
        pairs = (part.partition(":") for part in option.value.split(","))
        self.ranges = [(port(low), port(high or low)) for low, _, high in pairs]

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if packet.fragment == "later" or packet.proto not in PORT_PROTOCOLS:
            return False
        found = [port_in(packet, side, low, high) for low, high in self.ranges for side in self.sides]
        answer = any_of(found)
        return negate(answer) if self.written[0].negated else answer
