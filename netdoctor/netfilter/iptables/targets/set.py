"""`-j SET`: adds the packet's addresses to an ipset, or removes them; `--map-set` reads marks from one.

Kernel: net/netfilter/xt_set.c:set_target_v3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect, Undecided
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


class Set(Target):
    """The trace does not change the snapshot's sets: a later rule of the same trace sees them as they were."""

    name = "SET"
    options = {
        "--add-set": 2, "--del-set": 2, "--map-set": 2, "--timeout": 1, "--exist": 0,
        "--map-mark": 0, "--map-prio": 0, "--map-queue": 0,
    }  # fmt: skip

    __slots__ = ()

    @property
    def harmless(self) -> bool:
        """Adding and removing changes later packets, not this one."""
        return self.option("--map-set") is None

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Go on; a mark taken from a set is not modelled."""
        mapped = self.option("--map-set")
        if mapped is not None:
            return Undecided(f"target SET --map-set {mapped.value}")
        packet.note("changes an ipset for later packets")
        return CONTINUE
