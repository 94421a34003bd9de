"""`-m state`: the connection's state; the old spelling of `conntrack --ctstate`.

Kernel: net/netfilter/xt_state.c:state_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class State(Match):
    """`-m state`."""

    name = "state"
    options = {"--state": 1}

    __slots__ = ("states",)

    def compile(self) -> None:
        """Parse the options once."""
        self.states = frozenset(self.written[0].value.split(","))

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return ((packet.ctstate or "INVALID") in self.states) is not self.written[0].negated
