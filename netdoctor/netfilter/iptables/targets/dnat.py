"""`-j DNAT`: binds the connection's destination to an address, a port, or ranges of them.

Kernel: net/netfilter/xt_nat.c:xt_dnat_target_v2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import Effect, Nat
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import nat_range

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Dnat(Target):
    """`--to-destination [ADDRESS[-ADDRESS]][:PORT[-PORT[/BASE]]]`; IPv6 addresses with ports stand in brackets."""

    name = "DNAT"
    tables = ("nat",)
    hooks = ("PREROUTING", "OUTPUT")
    options = {"--to-destination": 1, "--random": 0, "--random-fully": 0, "--persistent": 0}

    __slots__ = ("nat",)

    def compile(self) -> None:
        """Parse the range once. Several ranges (kernels before 2.6.11) are not modelled."""
        ranges = [option for option in self.written if option.name == "--to-destination"]
        if len(ranges) != 1:
            raise ValueError("one range is modelled")
        flags = {option.name for option in self.written}
        self.nat = Nat(
            "dst",
            *nat_range(ranges[0].value, self.family),
            random="--random" in flags,
            random_fully="--random-fully" in flags,
            persistent="--persistent" in flags,
        )

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Return the binding; the simulator carries it out."""
        return self.nat
