"""The part of a rule that needs no extension: `-s -d -i -o -p -f`. `struct ipt_ip`, `struct ip6t_ip6`.

Knows nothing of chains, or of what follows `-m`.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.protocols import protocol_number
from netdoctor.netfilter.ternary import Answer, Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Family, Packet
    from netdoctor.netfilter.surroundings import Surroundings

__all__ = ["Header", "parse_network", "protocol_number", "same_interface"]

_SHORT = {
    "--source": "-s", "--src": "-s", "--destination": "-d", "--dst": "-d", "--in-interface": "-i",
    "--out-interface": "-o", "--protocol": "-p", "--proto": "-p", "--fragment": "-f", "--fragments": "-f",
    "--set-counters": "-c",
}  # fmt: skip


def parse_network(text: str, family: Family) -> tuple[int, int]:
    """Return (value, mask) of `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS/MASK`; the mask may have holes.

    Raises: ValueError.
    """
    width = 32 if family == 4 else 128
    address, _, mask = text.partition("/")
    kind = ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address
    value = int(kind(address))
    if not mask:
        bits = (1 << width) - 1
    elif mask.isdecimal():
        if int(mask) > width:
            raise ValueError(f"prefix length {mask} is longer than {width}")
        bits = ((1 << width) - 1) ^ ((1 << (width - int(mask))) - 1)
    else:
        bits = int(kind(mask))
    return value & bits, bits


def same_interface(pattern: str, dev: str | None) -> bool:
    """Compare as the kernel does: `eth+` is every name that begins so. Kernel: x_tables.h:ifname_compare_aligned."""
    name = dev or ""
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


class Header(Match):
    """`-s -d -i -o -p -f`, all together. Kernel: net/ipv4/netfilter/ip_tables.c:ip_packet_match, ip6_tables.c."""

    name = "header"
    options = {"-s": 1, "-d": 1, "-i": 1, "-o": 1, "-p": 1, "-f": 0, "-c": 2} | {
        long: {"-f": 0, "-c": 2}.get(short, 1) for long, short in _SHORT.items()
    }

    __slots__ = ("destination", "devices", "fragment", "protocol", "source", "unknown")

    def compile(self) -> None:
        """Parse addresses and the protocol once."""
        self.source: tuple[int, int, bool] | None = None
        self.destination: tuple[int, int, bool] | None = None
        self.protocol: tuple[int, bool] | None = None
        self.devices: list[tuple[str, str, bool]] = []
        self.fragment: bool | None = None
        self.unknown: Unknown | None = None
        for option in self.written:
            name = _SHORT.get(option.name, option.name)
            if name == "-s":
                self.source = (*parse_network(option.value, self.family), option.negated)
            elif name == "-d":
                self.destination = (*parse_network(option.value, self.family), option.negated)
            elif name in {"-i", "-o"}:
                self.devices.append((name, option.value, option.negated))
            elif name == "-p":
                self._protocol(option.value, negated=option.negated)
            elif name == "-f":
                self.fragment = not option.negated

    def _protocol(self, name: str, *, negated: bool) -> None:
        number = protocol_number(name)
        if number is None:
            self.unknown = Unknown(f"protocol {name}")
        elif number:
            self.protocol = (number, negated)

    def unmodelled(self) -> str | None:
        """Name a protocol that is not known, or words that stand outside every extension."""
        return super().unmodelled() if self.unknown is None else self.unknown.why

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the header matches."""
        if self.destination is not None:
            value, mask, negated = self.destination
            if (packet.dst & mask == value) is negated:
                return False
        if self.source is not None:
            value, mask, negated = self.source
            if (packet.src & mask == value) is negated:
                return False
        for side, pattern, negated in self.devices:
            if same_interface(pattern, packet.in_dev if side == "-i" else packet.out_dev) is negated:
                return False
        if self.protocol is not None:
            number, negated = self.protocol
            if (packet.proto == number) is negated:
                return False
        if self.fragment is not None and (packet.fragment == "later") is not self.fragment:
            return False
        return True if self.unknown is None else self.unknown
