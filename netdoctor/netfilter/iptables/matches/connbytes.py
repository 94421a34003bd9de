"""`-m connbytes`: how much a connection has carried, the packet itself included.

Kernel: net/netfilter/xt_connbytes.c:connbytes_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.connections import tracked
from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Connection, Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Connbytes(Match):
    """`-m connbytes`."""

    name = "connbytes"
    options = {"--connbytes": 1, "--connbytes-dir": 1, "--connbytes-mode": 1}

    __slots__ = ("direction", "high", "low", "mode", "negated")

    def compile(self) -> None:
        """Parse the options once; `FROM` without `TO` has no upper end."""
        given = {option.name: option for option in self.written}
        low, _, high = given["--connbytes"].value.partition(":")
        self.low, self.high = int(low), int(high) if high else (1 << 64) - 1
        self.negated = given["--connbytes"].negated
        self.direction = given["--connbytes-dir"].value
        self.mode = given["--connbytes-mode"].value

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches; one without a connection never does."""
        connection = tracked(packet)
        if connection is None:
            return False
        carried = self._carried(connection)
        if carried is None:
            return Unknown(f"match connbytes {self}".rstrip())
        return (self.low <= carried <= self.high) is not self.negated

    def _carried(self, connection: Connection) -> int | None:
        packets, size = self._sum(connection.packets), self._sum(connection.bytes)
        if self.mode == "packets":
            return packets
        if self.mode == "bytes":
            return size
        if packets is None or size is None:
            return None
        return size // packets if packets else 0

    def _sum(self, counted: tuple[int | None, int | None]) -> int | None:
        original, reply = counted
        if self.direction == "both":
            return None if original is None or reply is None else original + reply
        return original if self.direction == "original" else reply
