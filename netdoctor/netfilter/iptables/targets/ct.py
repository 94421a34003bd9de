"""`-j CT`: settles in raw how a connection will be tracked.

Kernel: net/netfilter/xt_CT.c:xt_ct_target
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from netdoctor.netfilter.effect import CONTINUE, CtTemplate, Effect, NoTrack
from netdoctor.netfilter.iptables.extension import Target
from netdoctor.netfilter.iptables.values import number

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


_DIRECTIONS: dict[str, Literal["both", "original", "reply"]] = {
    "--zone": "both", "--zone-orig": "original", "--zone-reply": "reply",
}  # fmt: skip


class Ct(Target):
    """Zone, helper, timeout policy, events, or no tracking at all."""

    name = "CT"
    tables = ("raw",)
    options = {
        "--notrack": 0, "--helper": 1, "--timeout": 1, "--ctevents": 1, "--expevents": 1,
        "--zone": 1, "--zone-orig": 1, "--zone-reply": 1,
    }  # fmt: skip

    __slots__ = ("result",)

    def compile(self) -> None:
        """Build the template once."""
        self.result: Effect
        if self.option("--notrack"):
            self.result = NoTrack()
            return
        zone, direction, from_mark = None, _DIRECTIONS["--zone"], False
        for name, its_direction in _DIRECTIONS.items():
            if (option := self.option(name)) is not None:
                direction, from_mark = its_direction, option.value == "mark"
                zone = None if from_mark else number(option.value)
        helper, timeout = self.option("--helper"), self.option("--timeout")
        self.result = CtTemplate(
            zone, direction, from_mark, helper.value if helper else None, timeout.value if timeout else None
        )

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Attach the template, unless conntrack has seen the packet already (it came by loopback)."""
        return self.result if packet.ctstate is None else CONTINUE
