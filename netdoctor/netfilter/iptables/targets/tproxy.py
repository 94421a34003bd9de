"""`-j TPROXY`: steers the packet to a local socket without changing it.

Kernel: net/netfilter/xt_TPROXY.c:tproxy_tg4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import Effect
from netdoctor.netfilter.effect import TProxy as TProxyEffect
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import number, value_and_mask
from netdoctor.netfilter.packet import parse_address

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Tproxy(Target):
    """`--on-port PORT [--on-ip ADDRESS] [--tproxy-mark VALUE/MASK]`."""

    name = "TPROXY"
    options = {"--on-port": 1, "--on-ip": 1, "--tproxy-mark": 1}

    __slots__ = ("result",)

    def compile(self) -> None:
        """Parse address, port and mark."""
        port, address, mark = self.option("--on-port"), self.option("--on-ip"), self.option("--tproxy-mark")
        value, mask = value_and_mask(mark.value) if mark else (0, 0)
        to = parse_address(address.value)[1] if address else None
        self.result = TProxyEffect(to or None, number(port.value) if port else 0, value, mask)

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Return where to; the simulator looks for the socket."""
        return self.result
