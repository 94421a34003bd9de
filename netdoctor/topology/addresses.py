"""Addresses and prefixes as integers. Knows nothing of interfaces.

A family is 4 or 6; a prefix is (family, network, length).
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import format_address, parse_address

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Family

BITS: dict[int, int] = {4: 32, 6: 128}
LOOPBACK: dict[int, tuple[int, int]] = {4: (127 << 24, 8), 6: (1, 128)}


@lru_cache(maxsize=65536)
def address(text: str) -> tuple[Family, int]:
    """Return family and value of an address. Raises: ValueError."""
    return parse_address(text)


@lru_cache(maxsize=65536)
def prefix(text: str) -> tuple[Family, int, int]:
    """Return family, network and length of a prefix; host bits are cleared. Raises: ValueError."""
    network = ipaddress.ip_network(text, strict=False)
    return network.version, int(network.network_address), network.prefixlen


def mask(family: Family, length: int) -> int:
    """Return the netmask of a prefix length."""
    bits = BITS[family]
    return ((1 << length) - 1) << (bits - length)


def contains(network: tuple[int, int, int], family: int, value: int) -> bool:
    """Return whether a prefix holds an address."""
    return network[0] == family and (value ^ network[1]) >> (BITS[family] - network[2]) == 0


def common_bits(family: Family, one: int, other: int) -> int:
    """Return how many leading bits two addresses share (ipv6_addr_diff)."""
    return BITS[family] - (one ^ other).bit_length()


def is_loopback(family: Family, value: int) -> bool:
    """Return whether an address is in 127.0.0.0/8 or is ::1."""
    return value >> 24 == 127 if family == 4 else value == 1


def is_multicast(family: Family, value: int) -> bool:
    """Return whether an address is in 224.0.0.0/4 or ff00::/8."""
    return value >> 28 == 0xE if family == 4 else value >> 120 == 0xFF


def is_link_local(family: Family, value: int) -> bool:
    """Return whether an address is in 169.254.0.0/16 or fe80::/10."""
    return value >> 16 == 0xA9FE if family == 4 else value >> 118 == 0x3FA


def with_port(family: Family, value: int, port: int | None) -> str:
    """Return an address and port as a person writes them: 10.0.0.1:80, [2001:db8::1]:80."""
    text = format_address(family, value)
    if port is None:
        return text
    return f"[{text}]:{port}" if family == 6 else f"{text}:{port}"
