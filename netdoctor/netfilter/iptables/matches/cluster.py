"""`-m cluster`: which node of a cluster takes the flow. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_cluster.c:xt_cluster_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Cluster(Match):
    """`-m cluster`."""

    name = "cluster"
    options = {
        "--cluster-total-nodes": 1,
        "--cluster-local-node": 1,
        "--cluster-local-nodemask": 1,
        "--cluster-hash-seed": 1,
    }

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return Unknown(f"match cluster {self}".rstrip())
