"""`-m realm`: the routing realm of the destination.

Kernel: net/netfilter/xt_realm.c:realm_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.values import value_and_mask

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Realm(Match):
    """`-m realm`."""

    name = "realm"
    hooks = ("INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
    options = {"--realm": 1}

    __slots__ = ("mask", "value")

    def compile(self) -> None:
        """Realms are printed by their names in /etc/iproute2/rt_realms; only `cosmos` is the same everywhere."""
        self.value, self.mask = value_and_mask(self.written[0].value.replace("cosmos", "0"))

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        return (packet.realm & self.mask == self.value) is not self.written[0].negated
