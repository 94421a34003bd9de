"""A packet's bytes from its IP header on, as far as they are known: for matches that look at bytes.

Knows nothing of matches. What the kernel fills in by itself (identification, checksums, sequence numbers) is not known.
Source: RFC 791, 793, 768, 792, 8200, 4443
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import ICMP, ICMPV6, TCP, UDP

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet


class Bytes:
    """Bytes and, of each, which bits are known."""

    __slots__ = ("known", "values")

    def __init__(self) -> None:
        self.values = bytearray()
        self.known = bytearray()

    def __len__(self) -> int:
        return len(self.values)

    def add(self, value: int | None, size: int) -> None:
        """Append a number in network order; None: not known."""
        self.values += (value or 0).to_bytes(size, "big")
        self.known += bytes(size) if value is None else b"\xff" * size

    def word(self, at: int) -> tuple[int, int]:
        """Return the 32 bits at an offset, and which of them are known."""
        return int.from_bytes(self.values[at : at + 4], "big"), int.from_bytes(self.known[at : at + 4], "big")

    def find(self, wanted: bytes, first: int, last: int, *, fold: bool) -> bool | None:
        """Return whether `wanted` begins anywhere from `first` to `last`; None where unknown bytes decide."""
        values = bytes(self.values)
        if fold:
            values, wanted = values.lower(), wanted.lower()
        if values.find(wanted, first) in range(first, last + 1) and self._sure(wanted, values, first, last):
            return True
        for at in range(first, min(last, len(values) - len(wanted)) + 1):
            pairs = zip(values[at : at + len(wanted)], self.known[at : at + len(wanted)], wanted, strict=True)
            if any(not known for _, known, _ in pairs) and self._possible(values, at, wanted):
                return None
        return False

    def _sure(self, wanted: bytes, values: bytes, first: int, last: int) -> bool:
        at = values.find(wanted, first)
        while first <= at <= last:
            if all(self.known[at : at + len(wanted)]):
                return True
            at = values.find(wanted, at + 1)
        return False

    def _possible(self, values: bytes, at: int, wanted: bytes) -> bool:
        return all(not self.known[at + offset] or values[at + offset] == byte for offset, byte in enumerate(wanted))


def of(packet: Packet) -> Bytes:
    """Return the bytes of a packet; its size says how many there are."""
    made = Bytes()
    _header4(made, packet) if packet.family == 4 else _header6(made, packet)
    if packet.fragment != "later":
        _transport(made, packet)
    for byte in packet.payload[: max(0, packet.size - len(made))]:
        made.add(byte, 1)
    while len(made) < packet.size:
        made.add(None, 1)
    return made


def _header4(made: Bytes, packet: Packet) -> None:
    made.add(0x45, 1)
    made.add(packet.tos, 1)
    made.add(packet.size, 2)
    made.add(None, 2)
    whole = packet.fragment == "no"
    made.add((0x4000 if packet.df else 0) if whole else None, 2)
    made.add(packet.ttl, 1)
    made.add(packet.proto, 1)
    made.add(None, 2)
    made.add(packet.src, 4)
    made.add(packet.dst, 4)


def _header6(made: Bytes, packet: Packet) -> None:
    made.add(6 << 28 | packet.tos << 20 | packet.flow_label, 4)
    made.known[1:4] = b"\xf0\x00\x00"  # the flow label is the kernel's choice (net.ipv6.auto_flowlabels)
    made.add(packet.size - 40, 2)
    made.add((*packet.extension_headers, packet.proto)[0], 1)
    made.add(packet.ttl, 1)
    made.add(packet.src, 16)
    made.add(packet.dst, 16)
    for _ in packet.extension_headers:
        made.add(None, 8)


def _transport(made: Bytes, packet: Packet) -> None:
    if packet.proto == TCP:
        made.add(packet.sport, 2)
        made.add(packet.dport, 2)
        made.add(None, 8)
        made.add(None, 1)  # how long the options are
        made.add(packet.tcp_flags, 1)
        made.add(None, 6)
    elif packet.proto == UDP:
        made.add(packet.sport, 2)
        made.add(packet.dport, 2)
        made.add(packet.size - (20 if packet.family == 4 else 40), 2)
        made.add(None, 2)
    elif packet.proto in (ICMP, ICMPV6):
        made.add(packet.icmp_type, 1)
        made.add(packet.icmp_code, 1)
        made.add(None, 2)
        made.add(packet.icmp_id, 2)
        made.add(None, 2)
