"""`-m string`: text anywhere in the packet; decided on the payload that the flow names, headers aside.

Kernel: net/netfilter/xt_string.c:string_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class String(Match):
    """`-m string`."""

    name = "string"
    options = {"--algo": 1, "--from": 1, "--to": 1, "--string": 1, "--hex-string": 1, "--icase": 0}

    __slots__ = ("negated", "pattern")

    def compile(self) -> None:
        """Parse the options once."""
        option = self.option("--string")
        self.negated = any(one.negated for one in self.written)
        self.pattern = option.value.encode() if option else None

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if self.pattern is None or self.option("--from") or self.option("--to"):
            return Unknown("match string")
        icase = self.option("--icase") is not None
        data, wanted = (packet.payload.lower(), self.pattern.lower()) if icase else (packet.payload, self.pattern)
        return (wanted in data) is not self.negated
