"""`-m owner`: the process that made the packet.

Forwarded packets and echo replies have none: every negated option matches them.

Kernel: net/netfilter/xt_owner.c:owner_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown, all_of

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Owner(Match):
    """`-m owner`."""

    name = "owner"
    hooks = ("OUTPUT", "POSTROUTING")
    options = {"--uid-owner": 1, "--gid-owner": 1, "--socket-exists": 0, "--suppl-groups": 0}

    __slots__ = ("ranges",)

    def compile(self) -> None:
        """Parse the options once."""
        self.ranges: dict[str, tuple[int, int]] = {}
        for option in self.written:
            if option.name in {"--uid-owner", "--gid-owner"}:
                low, _, high = option.value.partition("-")
                self.ranges[option.name] = (int(low), int(high or low))

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        answers: list[Answer] = []
        for option in self.written:
            if option.name == "--socket-exists":
                exists = packet.has_socket or packet.kernel_socket
                answers.append(exists is not option.negated)
            elif option.name in {"--uid-owner", "--gid-owner"}:
                if not packet.has_socket:
                    # owner_mt returns "all options are inverted" where there is no socket
                    answers.append(option.negated)
                    continue
                own = packet.uid if option.name == "--uid-owner" else packet.gid
                if own is None:
                    answers.append(Unknown(f"match owner {option}: who sends"))
                    continue
                low, high = self.ranges[option.name]
                answers.append((low <= own <= high) is not option.negated)
        return all_of(answers)
