"""Sets and maps: elements compiled for lookup, exact ones by hash, intervals by bisection.

Knows nothing of who asks. A key is a tuple with one part for each field of the concatenation.
Kernel: net/netfilter/nft_set_hash.c, nft_set_rbtree.c, nft_set_pipapo.c
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from netdoctor.netfilter.packet import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netdoctor.netfilter.nft.kinds import Kind, Value

Key = tuple["Value", ...]
Bounds = tuple[Any, Any]  # the first and the last value of a part


class Elements:
    """What a set holds, for keys of certain kinds: key -> what a map gives for it (None in a set)."""

    def __init__(self, kinds: Sequence[Kind], written: Iterable[tuple[Any, Any]]) -> None:
        """`written`: pairs of an element as JSON has it, and its value. Raises: ValueError, KeyError, TypeError."""
        self.exact: dict[Key, Any] = {}
        self.ranges: list[tuple[tuple[Bounds, ...], Any]] = []
        self.default: list[Any] = []  # the value of `*`, which takes what no other element does
        for element, value in written:
            key = _without_counters(element)
            if key == "*":
                self.default = [value]
                continue
            parts = _parts(key, kinds)
            if all(first == last for first, last in parts):
                self.exact[tuple(first for first, _ in parts)] = value
            else:
                self.ranges.append((parts, value))
        self._starts: list[Any] = []
        if len(kinds) == 1 and all(isinstance(parts[0][0], int) for parts, _ in self.ranges):
            self.ranges.sort(key=lambda entry: entry[0][0][0])
            self._starts = [parts[0][0] for parts, _ in self.ranges]

    def find(self, key: Key) -> tuple[bool, Any]:
        """Return whether a key is in, and what a map gives for it (nft_set_ops.lookup)."""
        if key in self.exact:
            return True, self.exact[key]
        for parts, value in self._near(key):
            if all(first <= part <= last for part, (first, last) in zip(key, parts, strict=True)):
                return True, value
        return (True, self.default[0]) if self.default else (False, None)

    def _near(self, key: Key) -> Sequence[tuple[tuple[Bounds, ...], Any]]:
        if not self._starts:
            return self.ranges
        at = bisect_right(self._starts, key[0])
        return self.ranges[max(at - 1, 0) : at]


def _without_counters(element: Any) -> Any:
    """An element with a timeout, counter or comment stands in `elem`."""
    while isinstance(element, dict) and "elem" in element:
        element = element["elem"]["val"]
    return element


def _parts(key: Any, kinds: Sequence[Kind]) -> tuple[Bounds, ...]:
    written = key["concat"] if isinstance(key, dict) and "concat" in key else [key]
    if len(written) != len(kinds):
        raise ValueError(f"an element of {len(written)} parts for a key of {len(kinds)}")
    return tuple(bounds(part, kind) for part, kind in zip(written, kinds, strict=True))


def bounds(written: Any, kind: Kind) -> Bounds:
    """Return the first and the last value of a constant, a range, a prefix, or a name that ends in `*`.

    Raises: ValueError, KeyError, TypeError.
    """
    written = _without_counters(written)
    if isinstance(written, dict) and "range" in written:
        first, last = written["range"]
        return kind.parse(first), kind.parse(last)
    if isinstance(written, dict) and "prefix" in written:
        address, length = written["prefix"]["addr"], written["prefix"]["len"]
        if isinstance(address, str) and not kind.bits:
            raise ValueError("a prefix of text")
        family, value = parse_address(address) if isinstance(address, str) else (None, int(address))
        bits = {4: 32, 6: 128}.get(family or 0, kind.bits)
        low = value >> (bits - length) << (bits - length)
        return low, low | ((1 << (bits - length)) - 1)
    if isinstance(written, dict) and "|" in written:
        value = 0
        for part in written["|"]:
            value |= int(bounds(part, kind)[0])
        return value, value
    if isinstance(written, list) and kind.flags:
        value = 0
        for part in written:
            value |= int(kind.parse(part))
        return value, value
    value_ = kind.parse(written)
    if isinstance(value_, str) and value_.endswith("*"):  # a name's beginning (NFTNL_CMP over fewer bytes)
        stem = value_[:-1]
        return stem, stem + "\U0010ffff"
    return value_, value_
