"""`-m devgroup`: the group number of an interface.

Kernel: net/netfilter/xt_devgroup.c:devgroup_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import HEAR, SAY, Match
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

    groups: list[tuple[bool, bool, int, int]]  # of the source, negated, value, mask

    __slots__ = ("groups",)

    def compile(self) -> None:
        """Groups are printed by their names in /etc/iproute2/group, of which only `default` is the same everywhere."""
        self.groups = [
            (option.name == "--src-group", option.negated, *value_and_mask(option.value.replace("default", "0")))
            for option in self.written
        ]

    def places(self) -> tuple[str, ...]:
        """Return where the device is known (devgroup_mt_checkentry)."""
        known = [set(HEAR if of_source else SAY) for of_source, *_ in self.groups]
        return tuple(set.intersection(*known)) if known else ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        answers: list[Answer] = []
        for of_source, negated, value, mask in self.groups:
            dev = packet.in_dev if of_source else packet.out_dev
            group = around.device_group(dev) if dev else 0
            answers.append(
                Unknown(f"match devgroup: the group of {dev}")
                if group is None
                else (group & mask == value) is not negated
            )
        return all_of(answers)
