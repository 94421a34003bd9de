"""Sets as `ipset save` writes them, and whether a packet is in one. Knows nothing of rules.

Kernel: net/netfilter/ipset/ip_set_core.c:ip_set_test, ip_set_hash_gen.h
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from netdoctor.model.errors import RulesetError
from netdoctor.model.text import printable
from netdoctor.netfilter.iptables.header import parse_network, protocol_number, same_interface
from netdoctor.netfilter.packet import DCCP, ICMP, ICMPV6, SCTP, TCP, UDP, UDPLITE
from netdoctor.netfilter.ternary import Answer, Unknown, any_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from netdoctor.netfilter.packet import Family, Packet
    from netdoctor.netfilter.surroundings import Surroundings

_PORTED = frozenset({TCP, UDP, UDPLITE, SCTP, DCCP})
Key = tuple[int | str | Unknown, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One element, as written."""

    element: str
    options: tuple[str, ...] = ()

    @property
    def nomatch(self) -> bool:
        """Whether the element is an exception."""
        return "nomatch" in self.options


@dataclass
class IpSet:
    """A set: its type (`hash:ip,port`), its options, its elements."""

    name: str
    type: str
    options: tuple[str, ...]
    others: Mapping[str, IpSet]  # every set of the namespace: a list:set refers to them
    entries: list[Entry] = field(default_factory=list)

    @property
    def family(self) -> Family | None:
        """The address family, None for sets without addresses."""
        if self.type in {"list:set", "bitmap:port", "hash:mac"}:
            return None
        return 6 if self._value("family") == "inet6" else 4

    @property
    def dimensions(self) -> tuple[str, ...]:
        """What an element is made of: ip, net, port, mac, mark, iface."""
        return tuple(self.type.partition(":")[2].split(","))

    def _value(self, name: str) -> str | None:
        if name not in self.options:
            return None
        at = self.options.index(name) + 1
        return self.options[at] if at < len(self.options) else None

    def contains(
        self, packet: Packet, sides: tuple[str, ...], around: Surroundings, *, exceptions: bool = False
    ) -> Answer:
        """Say whether the packet is in the set (ip_set_test); `sides` are `src` or `dst`, one for each dimension.

        `exceptions`: whether it is one of the elements that are not to match (IPSET_FLAG_RETURN_NOMATCH).
        """
        if self.type == "list:set":
            return self._any_member(packet, sides, around, exceptions=exceptions)
        if "net" not in self.dimensions:
            exceptions = False  # sets without networks know no exceptions (IPSET_TYPE_NOMATCH)
        if self.family is not None and packet.family != self.family:
            return False
        if len(sides) < len(self.dimensions):
            return False
        keys = self._keys(packet, sides)
        if keys is None:
            return False
        doubt = next((part for part in keys if isinstance(part, Unknown)), None)
        if doubt is not None:
            return doubt if self._may_hold(keys) else False
        if self.type == "hash:net,iface":
            return self._by_interface(keys, exceptions=exceptions)
        for lengths, elements in self._table:
            found = elements.get(self._masked(keys, lengths))
            if found is not None:
                return found is exceptions
        if self.type == "bitmap:ip,mac":  # elements without a MAC
            bare = (keys[0], "")
            return any(elements.get(bare) is False for _, elements in self._table)
        return False

    def _masked(self, keys: Key, lengths: tuple[int | None, ...]) -> Key:
        return tuple(
            part >> (self._width - length) if length is not None and isinstance(part, int) else part
            for part, length in zip(keys, lengths, strict=True)
        )

    def _may_hold(self, keys: Key) -> bool:
        """Whether an element fits what is known of the packet."""
        for lengths, elements in self._table:
            masked = self._masked(keys, lengths)
            known = [at for at, part in enumerate(masked) if not isinstance(part, Unknown)]
            if any(all(element[at] in (masked[at], "") for at in known) for element in elements):
                return True
        return False

    def _by_interface(self, keys: Key, *, exceptions: bool) -> bool:
        """Of the networks that have elements, the smallest alone is asked for the interface.

        Kernel: ip_set_hash_netiface.c:hash_netiface4_data_equal (`multi`), ip_set_hash_gen.h:mtype_test_cidrs
        """
        for length, networks in self._networks:
            elements = networks.get(int(keys[0]) >> (self._width - length))  # type: ignore[arg-type]
            if elements is not None:
                dev = str(keys[1])
                fitting = (nomatch for word, nomatch in elements if same_interface(word, dev))
                return next(fitting, not exceptions) is exceptions
        return False

    @cached_property
    def _networks(self) -> list[tuple[int, dict[int, list[tuple[str, bool]]]]]:
        """Of hash:net,iface by prefix length, the longest first: interfaces, `+` for those with `wildcard`."""
        found: dict[int, dict[int, list[tuple[str, bool]]]] = {}
        for entry in self.entries:
            network, _, dev = entry.element.partition(",")
            value, length = self._component("net", network)
            word = f"{dev}+" if "wildcard" in entry.options else dev
            found.setdefault(length or 0, {}).setdefault(int(value), []).append((word, entry.nomatch))
        return sorted(found.items(), reverse=True)

    def _any_member(self, packet: Packet, sides: tuple[str, ...], around: Surroundings, *, exceptions: bool) -> Answer:
        """A list asks its sets in turn. Kernel: ip_set_list_set.c:list_set_ktest."""
        answers: list[Answer] = []
        for entry in self.entries:
            member = self.others.get(entry.element)
            if member is None or member.type == "list:set":
                continue
            answers.append(member.contains(packet, sides, around, exceptions=exceptions))
        return any_of(answers)

    @cached_property
    def _width(self) -> int:
        return 128 if self.family == 6 else 32

    @cached_property
    def _table(self) -> list[tuple[tuple[int | None, ...], dict[Key, bool]]]:
        """Elements by their prefix lengths, the longest first; the value says whether it is an exception."""
        tables: dict[tuple[int | None, ...], dict[Key, bool]] = {}
        for entry in self.entries:
            parts = entry.element.split(",")
            key: list[int | str | Unknown] = []
            lengths: list[int | None] = []
            for kind, text in zip(self.dimensions, parts, strict=False):
                value, length = self._component(kind, text)
                key.append(value)
                lengths.append(length)
            while len(key) < len(self.dimensions):  # bitmap:ip,mac without a MAC: any
                key.append("")
                lengths.append(None)
            tables.setdefault(tuple(lengths), {})[tuple(key)] = entry.nomatch
        return sorted(tables.items(), key=lambda item: [-1 if n is None else n for n in item[0]], reverse=True)

    def _component(self, kind: str, text: str) -> tuple[int | str, int | None]:
        if kind in {"ip", "net"}:
            family: Family = 6 if self._width == 128 else 4
            value, mask = parse_network(text.partition("-")[0], family)
            length = mask.bit_count()
            if kind == "ip" and (netmask := self._value("netmask")) is not None and "/" not in text:
                length = int(netmask)
            return value >> (self._width - length), length
        if kind == "port":
            return self._port(text), None
        if kind == "mark":
            return int(text, 0), None
        return text.lower() if kind == "mac" else text, None

    def _port(self, text: str) -> str | int:
        if self.type == "bitmap:port":
            return int(text.rpartition(":")[2])
        protocol, colon, port = text.partition(":")
        if not colon:
            protocol, port = "tcp", text
        number = protocol_number(protocol)
        if number in {ICMP, ICMPV6} and "/" in port:
            kind, _, code = port.partition("/")
            return f"{number}:{int(kind) << 8 | int(code)}"
        return f"{number}:{port}"

    def _keys(self, packet: Packet, sides: tuple[str, ...]) -> Key | None:
        """Return what the packet looks like to the set; None where it has no such thing (a port of ICMP, say)."""
        key: list[int | str | Unknown] = []
        for kind, side in zip(self.dimensions, sides, strict=False):
            part = self._part(kind, packet, source=side == "src")
            if part is None:
                return part
            key.append(part)
        return tuple(key)

    def _part(self, kind: str, packet: Packet, *, source: bool) -> int | str | Unknown | None:
        if kind in {"ip", "net"}:
            return packet.src if source else packet.dst
        if kind == "port":
            return self._packet_port(packet, source=source)
        if kind == "mark":
            mask = self._value("markmask")
            return packet.mark & (int(mask, 0) if mask else 0xFFFFFFFF)
        if kind == "mac":
            mac = packet.src_mac if source else packet.dst_mac
            return Unknown(f"ipset {self.name}: the hardware address") if mac is None else mac.lower()
        dev = packet.in_dev if source else packet.out_dev
        return dev or None

    def _packet_port(self, packet: Packet, *, source: bool) -> int | str | Unknown | None:
        """Kernel: net/netfilter/ipset/ip_set_getport.c:ip_set_get_ip4_port."""
        plain = self.type == "bitmap:port"
        if packet.proto in _PORTED:
            port = packet.sport if source else packet.dport
            if packet.fragment == "later":
                return None
            if port is None:
                return Unknown(f"ipset {self.name}: a port that the kernel picks")
            return port if plain else f"{packet.proto}:{port}"
        if plain:
            return None
        if packet.proto in {ICMP, ICMPV6}:
            return f"{packet.proto}:{(packet.icmp_type or 0) << 8 | (packet.icmp_code or 0)}"
        return f"{packet.proto}:0"


def parse(text: str) -> dict[str, IpSet]:
    """Parse `ipset save`. Raises: RulesetError with the number of a line that is neither `create` nor `add`."""
    sets: dict[str, IpSet] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = _words(line)
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "create" and len(words) >= 3:
            sets[words[1]] = IpSet(words[1], words[2], tuple(words[3:]), sets)
        elif words[0] == "add" and len(words) >= 3 and words[1] in sets:
            sets[words[1]].entries.append(Entry(words[2], tuple(words[3:])))
        else:
            raise RulesetError(
                f"line {number} of the ipsets is neither a set nor an element of one: {printable(line[:60])!r}",
                "is this the whole output of `ipset save`?",
            )
    return sets


def _words(line: str) -> list[str]:
    """Split at blanks; a comment in quotes is one word."""
    head, quote, rest = line.partition(' "')
    words = head.split()
    if quote:
        comment, _, tail = rest.rpartition('"')
        words += [f'"{comment}"', *tail.split()]
    return words


def dump(sets: Mapping[str, IpSet]) -> Iterator[str]:
    """Yield the lines of `ipset save`, each set with its elements."""
    for found in sets.values():
        yield " ".join(("create", found.name, found.type, *found.options))
        for entry in found.entries:
            yield " ".join(("add", found.name, entry.element, *entry.options))
