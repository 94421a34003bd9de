"""`-j TCPOPTSTRIP`: blanks TCP options.

Kernel: net/netfilter/xt_TCPOPTSTRIP.c:tcpoptstrip_tg4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import number
from netdoctor.netfilter.packet import TCP

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings

_KINDS = {"mss": 2, "wscale": 3, "sack-permitted": 4, "sack": 5, "timestamp": 8, "md5": 19}


class Tcpoptstrip(Target):
    """`--strip-options KIND,…`, by name or number. Each option becomes padding."""

    name = "TCPOPTSTRIP"
    tables = ("mangle",)
    options = {"--strip-options": 1}

    __slots__ = ("kinds",)

    def compile(self) -> None:
        """Parse the kinds."""
        self.kinds = frozenset(_KINDS.get(kind) or number(kind) for kind in self.written[0].value.split(","))

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Take the options away."""
        if packet.proto == TCP and packet.fragment != "later":
            packet.tcp_options -= self.kinds
            if _KINDS["mss"] in self.kinds:
                packet.tcp_mss = None
        return CONTINUE
