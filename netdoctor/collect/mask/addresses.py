"""Addresses mapped to others so that prefixes stay prefixes: two that share n leading bits still share exactly n.

Knows nothing of where an address stands. After Crypto-PAn (Xu, Fan, Ammar, Moon 2002), with a keyed hash for its
cipher.

A bit is flipped or not by a keyed hash of the bits before it: a walk down a binary tree of flips. What keeps a meaning
is a node of that tree whose flip is fixed: private ranges stay private, a subnet's broadcast address its last one, and
the ends of an address range (`--src-range A-B`) keep their order with all that lies between and around them.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

# Mapped to themselves: they mean the same on every host, or (203.0.113.0/24) are netdoctor's own word for "outside".
_SAME4 = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "203.0.113.0/24", "224.0.0.0/3")
_SAME6 = ("::/96", "ff00::/8")
# Mapped into themselves: which of these an address is in matters to people, to the kernel or to the rules.
_CLASSES4 = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
_CLASSES6 = ("fc00::/8", "fd00::/8", "fe80::/64", "2000::/3")
_EMBEDDED = ("::ffff:0:0/96", "64:ff9b::/96")  # an IPv4 address in the last 32 bits
_SOLICITED = IPv6Network("ff02::1:ff00:0/104")

_IPV4 = r"\d{1,3}(?:\.\d{1,3}){3}"
_HEX = r"[0-9A-Fa-f]"
_IPV6 = rf"{_HEX}{{0,4}}(?::{_HEX}{{0,4}}){{2,8}}"
ADDRESS = re.compile(
    rf"(?<![\w.])(?P<ip4>{_IPV4})(?:/(?P<len4>{_IPV4}|\d{{1,2}}))?(?!\w|\.\d)"
    rf"|(?<![\w:.])(?P<mac>{_HEX}{{2}}(?::{_HEX}{{2}}){{5}})(?:/(?P<macmask>{_HEX}{{2}}(?::{_HEX}{{2}}){{5}}))?(?![\w:])"
    rf"|(?<![\w:.])(?P<ip6>{_IPV6})(?:/(?P<len6>\d{{1,3}}))?(?![\w:])"
)
RANGE = re.compile(rf"(?<![\w.])({_IPV4})-({_IPV4})(?!\w|\.\d)|(?<![\w:.])({_IPV6})-({_IPV6})(?![\w:])")


class Tree:
    """The flips of all prefixes of one kind of address."""

    def __init__(self, key: bytes, kind: bytes, bits: int, always: frozenset[int]) -> None:
        """`always`: at these depths every bit is flipped, so that no address stays what it was by chance."""
        self._key = key
        self._kind = kind
        self._bits = bits
        self._always = always
        self._fixed: set[tuple[int, int]] = set()  # (depth, bits above): never flipped
        self._forced: set[tuple[int, int]] = set()
        self._blocks: dict[tuple[int, int], int] = {}
        self._known: dict[int, int] = {}

    def keep_prefix(self, value: int, length: int, *, changes_below: bool = True) -> None:
        """Map a prefix to itself. `changes_below`: and everything in it to something else."""
        for depth in range(length):
            self._fixed.add((depth, value >> (self._bits - depth)))
        if changes_below:
            self._forced.add((length, value >> (self._bits - length)))

    def keep_order(self, first: int, last: int) -> None:
        """Keep what lies between two addresses between them, and everything else outside."""
        shared = self._bits - (first ^ last).bit_length()
        for end in (first, last):
            for depth in range(shared, self._bits):
                self._fixed.add((depth, end >> (self._bits - depth)))

    def map(self, value: int) -> int:
        """Return what an address becomes."""
        found = self._known.get(value)
        if found is None:
            found = self._known[value] = self._map(value)
        return found

    def _map(self, value: int) -> int:
        flips = 0
        for depth in range(self._bits):
            flips = flips << 1 | self._flip(depth, value >> (self._bits - depth))
        return value ^ flips

    def _flip(self, depth: int, above: int) -> int:
        if (depth, above) in self._fixed:
            return 0
        if (depth, above) in self._forced or depth in self._always:
            return 1
        in_block = depth % 8
        head = above >> in_block
        block = self._blocks.get((depth - in_block, head))
        if block is None:
            data = depth.to_bytes(1) + head.to_bytes(16)
            digest = blake2b(data, key=self._key, person=self._kind, digest_size=32).digest()
            block = self._blocks[depth - in_block, head] = int.from_bytes(digest)
        return block >> ((1 << in_block) - 1 + (above & ((1 << in_block) - 1))) & 1


class Addresses:
    """IPv4, IPv6 and MAC addresses, alone or inside text, to what stands for them."""

    def __init__(self, key: bytes) -> None:
        self._tree4 = Tree(key, b"ip4", 32, frozenset({9}))
        self._tree6 = Tree(key, b"ip6", 128, frozenset({17}))
        self._tree_mac = Tree(key, b"mac", 48, frozenset({8}))
        self._tree24 = Tree(key, b"solicited", 24, frozenset({0}))
        self._same4 = [IPv4Network(text) for text in _SAME4]
        self._same6 = [IPv6Network(text) for text in _SAME6]
        self._embedded = [IPv6Network(text) for text in _EMBEDDED]
        self._texts: dict[str, str] = {}
        for texts, changes in ((_SAME4, False), (_CLASSES4, True)):
            for network in map(IPv4Network, texts):
                self._tree4.keep_prefix(int(network.network_address), network.prefixlen, changes_below=changes)
        for texts6, changes in ((_SAME6, False), (_CLASSES6, True), (_EMBEDDED, False)):
            for network6 in map(IPv6Network, texts6):
                self._tree6.keep_prefix(int(network6.network_address), network6.prefixlen, changes_below=changes)
        for octet in range(256):
            self._tree_mac.keep_prefix(octet << 40, 8, changes_below=False)

    def keep_subnet(self, address: str, length: int) -> None:
        """Keep the first and the last address of an IPv4 interface's subnet the first and the last."""
        try:
            network = IPv4Network((address, length), strict=False)
        except ValueError:
            return
        if length < 31:
            self._tree4.keep_order(int(network.network_address), int(network.broadcast_address))

    def keep_ranges(self, text: str) -> None:
        """Keep the order of every `A-B` in a text."""
        for match in RANGE.finditer(text):
            self.keep_range(match[1] or match[3], match[2] or match[4])

    def keep_range(self, first: str, last: str) -> None:
        """Keep the order of a range's two ends; what is not a pair of addresses is left alone."""
        for kind, tree in ((IPv4Address, self._tree4), (IPv6Address, self._tree6)):
            try:
                tree.keep_order(int(kind(first)), int(kind(last)))
            except ValueError:
                continue

    def prefix(self, address: str, length: int) -> str:
        """Return what a prefix's address becomes: host bits that were zero stay zero."""
        return self.text(f"{address}/{length}").partition("/")[0]

    def text(self, text: str) -> str:
        """Return a text with every address in it mapped."""
        found = self._texts.get(text)
        if found is None:
            found = ADDRESS.sub(self._replace, text)
            if len(text) < 64:
                self._texts[text] = found
        return found

    def _replace(self, match: re.Match[str]) -> str:
        if match["ip4"] is not None:
            return self._replace4(match)
        if match["mac"] is not None:
            return self._replace_mac(match)
        return self._replace6(match)

    def _replace4(self, match: re.Match[str]) -> str:
        try:
            value = int(IPv4Address(match["ip4"]))
            length = 32 if match["len4"] is None else IPv4Network(f"0.0.0.0/{match['len4']}").prefixlen
        except ValueError:
            length = 32
            try:
                value = int(IPv4Address(match["ip4"]))
            except ValueError:
                return match[0]
        mapped = self._ip4(value)
        if value & ((1 << (32 - length)) - 1) == 0:
            mapped = mapped >> (32 - length) << (32 - length)
        return str(IPv4Address(mapped)) + match[0][len(match["ip4"]) :]

    def _ip4(self, value: int) -> int:
        address = IPv4Address(value)
        return value if any(address in network for network in self._same4) else self._tree4.map(value)

    def _replace6(self, match: re.Match[str]) -> str:
        try:
            address = IPv6Address(match["ip6"])
        except ValueError:
            return match[0]
        length = min(128, int(match["len6"] or 128))
        mapped = self._ip6(address)
        if int(address) & ((1 << (128 - length)) - 1) == 0:
            mapped = mapped >> (128 - length) << (128 - length)
        return str(IPv6Address(mapped)) + match[0][len(match["ip6"]) :]

    def _ip6(self, address: IPv6Address) -> int:
        value = int(address)
        if any(address in network for network in self._embedded):
            return value >> 32 << 32 | self._ip4(value & 0xFFFFFFFF)
        if address in _SOLICITED:
            return value ^ self._solicited(value & 0xFFFFFF)
        return value if any(address in network for network in self._same6) else self._tree6.map(value)

    def _solicited(self, value: int) -> int:
        """The flips of the 24 bits that a solicited-node group, and its MAC address, take from an address."""
        return self._tree24.map(value) ^ value

    def _replace_mac(self, match: re.Match[str]) -> str:
        text = match["mac"]
        value = int(text.replace(":", ""), 16)
        mapped = self._mac(value)
        if match["macmask"] is not None:
            mask = int(match["macmask"].replace(":", ""), 16)
            if value & ~mask == 0:
                mapped &= mask
        digits = f"{mapped:012X}" if text.upper() == text and text.lower() != text else f"{mapped:012x}"
        return ":".join(digits[index : index + 2] for index in range(0, 12, 2)) + match[0][len(text) :]

    def _mac(self, value: int) -> int:
        if value >> 24 == 0x3333FF:
            return value ^ self._solicited(value & 0xFFFFFF)
        if value == 0 or value >> 40 & 1 or value == 0xEEEEEEEEEEEE:  # none, a group, the one that calico uses
            return value
        return self._tree_mac.map(value)
