"""`-j MASQUERADE`: the source becomes an address of the outgoing interface.

Kernel: net/netfilter/nf_nat_masquerade.c:nf_nat_masquerade_ipv4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import Effect, Nat
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import port_range

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Masquerade(Target):
    """With `--to-ports`, the port too."""

    name = "MASQUERADE"
    tables = ("nat",)
    hooks = ("POSTROUTING",)
    options = {"--to-ports": 1, "--random": 0, "--random-fully": 0}

    __slots__ = ("nat",)

    def compile(self) -> None:
        """Parse the ports once."""
        flags = {option.name for option in self.written}
        ports = self.option("--to-ports")
        first, last, _ = port_range(ports.value) if ports else (None, None, None)
        self.nat = Nat(
            "src",
            first_port=first,
            last_port=last,
            random="--random" in flags,
            random_fully="--random-fully" in flags,
            masquerade=True,
        )

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Return the binding; the simulator carries it out."""
        return self.nat
