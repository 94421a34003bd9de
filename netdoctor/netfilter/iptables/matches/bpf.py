"""`-m bpf`: a BPF program decides. What the snapshot cannot tell is unknown.

Kernel: net/netfilter/xt_bpf.c:bpf_mt_v1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Bpf(Match):
    """`-m bpf`."""

    name = "bpf"
    options = {"--bytecode": 1, "--object-pinned": 1}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return Unknown(f"match bpf {self}".rstrip())
