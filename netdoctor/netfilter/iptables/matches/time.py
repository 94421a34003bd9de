"""`-m time`: by the clock of the snapshot.

Kernel: net/netfilter/xt_time.c:time_mt
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.clock import Window
from netdoctor.netfilter.iptables.extension import Match

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Time(Match):
    """`-m time`."""

    name = "time"
    options = {
        "--datestart": 1,
        "--datestop": 1,
        "--timestart": 1,
        "--timestop": 1,
        "--monthdays": 1,
        "--weekdays": 1,
        "--contiguous": 0,
        "--kerneltz": 0,
        "--utc": 0,
        "--localtz": 0,
    }

    __slots__ = ("window",)

    def compile(self) -> None:
        """Parse the options once."""
        self.window = Window(self.written)

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        seconds, offset = around.clock()
        now = datetime.fromtimestamp(seconds + (offset if self.option("--kerneltz") else 0), UTC)
        return self.window.contains(now)
