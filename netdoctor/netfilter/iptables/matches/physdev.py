"""`-m physdev`: the bridge ports of a packet that bridge netfilter holds.

Kernel: net/netfilter/xt_physdev.c:physdev_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.header import same_interface

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Physdev(Match):
    """`-m physdev`."""

    name = "physdev"
    options = {
        "--physdev-in": 1,
        "--physdev-out": 1,
        "--physdev-is-in": 0,
        "--physdev-is-out": 0,
        "--physdev-is-bridged": 0,
    }

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        for option in self.written:
            if option.name == "--physdev-in":
                hit = packet.phys_in is not None and same_interface(option.value, packet.phys_in)
            elif option.name == "--physdev-out":
                hit = packet.phys_out is not None and same_interface(option.value, packet.phys_out)
            elif option.name == "--physdev-is-in":
                hit = packet.phys_in is not None
            elif option.name == "--physdev-is-out":
                hit = packet.phys_out is not None
            else:
                hit = packet.bridged and packet.phys_out is not None
            if hit is option.negated:
                return False
        return True
