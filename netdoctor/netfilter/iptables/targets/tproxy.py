"""`-j TPROXY`: steers the packet to a local socket without changing it.

Kernel: net/netfilter/xt_TPROXY.c:tproxy_tg4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import ACCEPT, Drop, Effect, Undecided
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import number, value_and_mask
from netdoctor.netfilter.packet import parse_address
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Tproxy(Target):
    """`--on-port PORT [--on-ip ADDRESS] [--tproxy-mark VALUE/MASK]`."""

    name = "TPROXY"
    tables = ("mangle",)
    hooks = ("PREROUTING",)
    options = {"--on-port": 1, "--on-ip": 1, "--tproxy-mark": 1}

    __slots__ = ("address", "mark", "mask", "port")

    def compile(self) -> None:
        """Parse address, port and mark."""
        port, address, mark = self.option("--on-port"), self.option("--on-ip"), self.option("--tproxy-mark")
        self.mark, self.mask = value_and_mask(mark.value) if mark else (0, 0)
        self.address = (parse_address(address.value)[1] if address else 0) or None
        self.port = number(port.value) if port else 0

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Accept what a transparent socket takes, with the mark set; drop the rest."""
        found = around.steer(packet, self.address, self.port)
        if found is True:
            packet.mark = (packet.mark & ~self.mask) ^ self.mark
            return ACCEPT
        return Undecided(found.why) if isinstance(found, Unknown) else Drop()
