"""Ports of a packet against a range, where the kernel may still be free to pick one.

Knows nothing of protocols' flags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from netdoctor.netfilter.iptables.values import port
from netdoctor.netfilter.packet import DCCP, SCTP, TCP, UDP, UDPLITE
from netdoctor.netfilter.ternary import Answer, Unknown, negate

if TYPE_CHECKING:
    from netdoctor.netfilter.iptables.extension import Option
    from netdoctor.netfilter.packet import Packet

Side = Literal["src", "dst"]
PORT_PROTOCOLS = frozenset({TCP, UDP, UDPLITE, SCTP, DCCP})


def fragment_hides_ports(packet: Packet) -> bool:
    """Whether the packet is a later fragment, which carries no transport header."""
    return packet.fragment == "later"


def port_in(packet: Packet, side: str, low: int, high: int) -> Answer:
    """Say whether a port lies in a range; unknown where the kernel picks it and the range decides."""
    found, other = (packet.sport, packet.dport) if side == "src" else (packet.dport, packet.sport)
    if found is not None:
        return low <= found <= high
    if packet.sport_range is not None and other is not None:
        first, last = packet.sport_range
        if last < low or first > high:
            return False
        if low <= first and last <= high:
            return True
    return Unknown("a port that the kernel picks")


class PortRange:
    """`--sport A:B` or `--dport A:B`, either end may be missing."""

    sides = {"--sport": "src", "--source-port": "src", "--dport": "dst", "--destination-port": "dst"}

    __slots__ = ("high", "low", "negated", "side")

    def __init__(self, option: Option) -> None:
        low, colon, high = option.value.partition(":")
        self.side = self.sides[option.name]
        self.low = port(low) if low else 0
        self.high = port(high) if high else (0xFFFF if colon else self.low)
        self.negated = option.negated

    def contains(self, packet: Packet) -> Answer:
        """Say whether the packet's port is in the range, negation included."""
        answer = port_in(packet, self.side, self.low, self.high)
        return negate(answer) if self.negated else answer
