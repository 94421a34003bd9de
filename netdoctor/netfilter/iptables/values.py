"""How iptables writes numbers, marks, ranges of ports and of addresses. Knows nothing of what they are for."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import parse_address

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Family

MASK = 0xFFFFFFFF
DSCP_CLASSES = (
    {f"CS{n}": n << 3 for n in range(8)}
    | {f"AF{n}{m}": (n << 3) | (m << 1) for n in range(1, 5) for m in range(1, 4)}
    | {"BE": 0, "EF": 0x2E}
)
TOS_NAMES = {
    "minimize-delay": 0x10,
    "maximize-throughput": 0x08,
    "maximize-reliability": 0x04,
    "minimize-cost": 0x02,
    "normal-service": 0x00,
}


def number(text: str) -> int:
    """Return a number written in decimal, hexadecimal (0x) or octal (0), as strtoul does. Raises: ValueError."""
    if text[:2].lower() == "0x":
        return int(text, 16)
    if len(text) > 1 and text[0] == "0":
        return int(text, 8)
    return int(text)


def value_and_mask(text: str) -> tuple[int, int]:
    """Return (value, mask) of `VALUE[/MASK]`; the mask is all ones where none is given. Raises: ValueError."""
    value, _, mask = text.partition("/")
    return number(value), number(mask) if mask else MASK


def port(text: str) -> int:
    """Return a port from its number or its service's name (/etc/services). Raises: ValueError."""
    if text.isdecimal():
        return int(text)
    try:
        return socket.getservbyname(text)
    except OSError:
        raise ValueError(f"no such port: {text}") from None


def port_range(text: str) -> tuple[int, int, int | None]:
    """Return (first, last, base) of `PORT[-PORT[/BASE]]`. Raises: ValueError."""
    ports, _, base = text.partition("/")
    first, _, last = ports.partition("-")
    return int(first), int(last or first), int(base) if base else None


def nat_range(text: str, family: Family) -> tuple[int | None, int | None, int | None, int | None, int | None]:
    """Return (first address, last address, first port, last port, base port) of a NAT range. Raises: ValueError."""
    addresses, ports = text, ""
    if family == 4 or (text.startswith(":") and not text.startswith("::")):
        addresses, _, ports = text.partition(":")
    elif text.startswith("["):
        addresses, _, ports = text[1:].partition("]")
        ports = ports.removeprefix(":")
    if not addresses and not ports:
        raise ValueError("a NAT range without address and port")
    first, _, last = addresses.partition("-")
    low = parse_address(first.strip("[]"))[1] if first else None
    high = parse_address(last.strip("[]"))[1] if last else low
    return low, high, *(port_range(ports) if ports else (None, None, None))
