"""`-m cgroup`: the control group of the sending process. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_cgroup.c:cgroup_mt_v2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Cgroup(Match):
    """`-m cgroup`."""

    name = "cgroup"
    hooks = ("INPUT", "OUTPUT", "POSTROUTING")
    options = {"--cgroup": 1, "--path": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches. Without a socket nothing does, negated or not."""
        return Unknown(f"match cgroup {self}".rstrip()) if packet.has_socket else False
