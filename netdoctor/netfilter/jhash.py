"""Bob Jenkins' hash as the kernel has it: over bytes and over 32-bit words. Source: include/linux/jhash.h

Knows nothing of what is hashed.
"""

from __future__ import annotations

import struct

_BITS = 0xFFFFFFFF
_INITIAL = 0xDEADBEEF  # JHASH_INITVAL


def jhash(data: bytes, initial: int) -> int:
    """Return the hash over bytes (jhash)."""
    words = struct.unpack(f"<{-(-len(data) // 4)}I", data.ljust(-(-len(data) // 4) * 4, b"\0"))
    return _hash(list(words), (_INITIAL + len(data) + initial) & _BITS)


def jhash2(words: list[int], initial: int) -> int:
    """Return the hash over 32-bit words (jhash2)."""
    return _hash(list(words), (_INITIAL + (len(words) << 2) + initial) & _BITS)


def _rol(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _BITS


def _hash(rest: list[int], start: int) -> int:
    a = b = c = start
    while len(rest) > 3:
        a, b, c = (a + rest[0]) & _BITS, (b + rest[1]) & _BITS, (c + rest[2]) & _BITS
        a = ((a - c) & _BITS) ^ _rol(c, 4)
        c = (c + b) & _BITS
        b = ((b - a) & _BITS) ^ _rol(a, 6)
        a = (a + c) & _BITS
        c = ((c - b) & _BITS) ^ _rol(b, 8)
        b = (b + a) & _BITS
        a = ((a - c) & _BITS) ^ _rol(c, 16)
        c = (c + b) & _BITS
        b = ((b - a) & _BITS) ^ _rol(a, 19)
        a = (a + c) & _BITS
        c = ((c - b) & _BITS) ^ _rol(b, 4)
        b = (b + a) & _BITS
        rest = rest[3:]
    if not rest:
        return c
    added = [*rest, 0, 0]
    a, b, c = (a + added[0]) & _BITS, (b + added[1]) & _BITS, (c + added[2]) & _BITS
    c = ((c ^ b) - _rol(b, 14)) & _BITS
    a = ((a ^ c) - _rol(c, 11)) & _BITS
    b = ((b ^ a) - _rol(a, 25)) & _BITS
    c = ((c ^ b) - _rol(b, 16)) & _BITS
    a = ((a ^ c) - _rol(c, 4)) & _BITS
    b = ((b ^ a) - _rol(a, 14)) & _BITS
    return ((c ^ b) - _rol(b, 24)) & _BITS
