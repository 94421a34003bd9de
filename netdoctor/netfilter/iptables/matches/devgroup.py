"""`-m devgroup`: the group number of an interface.

Kernel: net/netfilter/xt_devgroup.c:devgroup_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.values import value_and_mask
from netdoctor.netfilter.ternary import Unknown, all_of

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Devgroup(Match):
    """`-m devgroup`."""

    name = "devgroup"
    options = {"--src-group": 1, "--dst-group": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        answers: list[Answer] = []
        for option in self.written:
            dev = packet.in_dev if option.name == "--src-group" else packet.out_dev
            group = around.device_group(dev) if dev else 0
            value, mask = value_and_mask(option.value)
            answers.append(
                Unknown(f"match devgroup: the group of {dev}")
                if group is None
                else (group & mask == value) is not option.negated
            )
        return all_of(answers)
