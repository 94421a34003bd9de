"""`-m socket`: whether a local socket would take the packet.

Kernel: net/netfilter/xt_socket.c:socket_match
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Socket(Match):
    """`-m socket`."""

    name = "socket"
    hooks = ("PREROUTING", "INPUT")
    options = {"--transparent": 0, "--nowildcard": 0, "--restore-skmark": 0}

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        flags = {option.name for option in self.written}
        return around.local_socket(packet, transparent="--transparent" in flags, wildcard="--nowildcard" in flags)
