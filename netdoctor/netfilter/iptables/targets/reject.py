"""`-j REJECT`: drops the packet and tells its sender.

Kernel: net/ipv4/netfilter/ipt_REJECT.c:reject_tg, net/ipv6/netfilter/ip6t_REJECT.c:reject_tg6
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import Effect, Reject
from netdoctor.netfilter.iptables.extension import Target

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings


_SHORT_4 = {
    "net-unreach": "icmp-net-unreachable", "host-unreach": "icmp-host-unreachable",
    "proto-unreach": "icmp-proto-unreachable",
    "port-unreach": "icmp-port-unreachable", "net-prohib": "icmp-net-prohibited", "host-prohib": "icmp-host-prohibited",
    "admin-prohib": "icmp-admin-prohibited", "tcp-rst": "tcp-reset",
}  # fmt: skip
_SHORT_6 = {
    "no-route": "icmp6-no-route", "adm-prohibited": "icmp6-adm-prohibited", "addr-unreach": "icmp6-addr-unreachable",
    "port-unreach": "icmp6-port-unreachable", "policy-fail": "icmp6-policy-fail", "reject-route": "icmp6-reject-route",
}  # fmt: skip


class Reject_(Target):  # noqa: N801  # the effect has the plain name
    """`--reject-with TYPE`; the default is the unreachable port."""

    name = "REJECT"
    tables = ("filter",)
    options = {"--reject-with": 1}

    __slots__ = ("answer",)

    def compile(self) -> None:
        """Settle on the full name of the answer."""
        option = self.option("--reject-with")
        default, short = (
            ("icmp-port-unreachable", _SHORT_4) if self.family == 4 else ("icmp6-port-unreachable", _SHORT_6)
        )
        given = option.value if option else default
        self.answer = short.get(given, given)
        if self.answer not in short.values() and self.answer != "tcp-reset":
            raise ValueError(f"no such answer: {given}")

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Return the refusal."""
        return Reject(self.answer)
