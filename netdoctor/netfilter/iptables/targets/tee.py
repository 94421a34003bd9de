"""`-j TEE`: a copy goes to a gateway, the packet itself goes on.

Kernel: net/netfilter/xt_TEE.c:tee_tg4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import Effect
from netdoctor.netfilter.effect import Tee as TeeEffect
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.packet import parse_address

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Tee(Target):
    """`--gateway ADDRESS [--oif DEV]`."""

    name = "TEE"
    options = {"--gateway": 1, "--oif": 1}

    __slots__ = ("result",)

    def compile(self) -> None:
        """Parse the gateway."""
        gateway, oif = self.option("--gateway"), self.option("--oif")
        self.result = TeeEffect(parse_address(gateway.value)[1] if gateway else 0, oif.value if oif else None)

    @property
    def harmless(self) -> bool:
        """The packet itself goes on."""
        return True

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Say where the copy goes."""
        return self.result
