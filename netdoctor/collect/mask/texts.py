"""Raw output of tools with its addresses and names mapped and its comments gone: iptables-save, nft, ipset, xfrm.

Knows nothing of a rule's meaning, only of which words of a tool's language are names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from netdoctor.collect.mask.addresses import Addresses
    from netdoctor.collect.mask.names import Names, Renamer

_QUOTED = r'(?:"(?:[^"\\\n]|\\.)*"|\S+)'
_COMMENT = re.compile(rf"(?: -m comment)? --comment {_QUOTED}")
_NOTE = re.compile(r"^#(?! (?:Generated|Completed|Warning)).*\n", re.MULTILINE)
_LOG = re.compile(rf"(?<= )(--(?:log|nflog|ulog)-prefix) {_QUOTED}")
_INTERFACE = re.compile(
    r"(?<= )(-i|-o|--in-interface|--out-interface|--physdev-in|--physdev-out|--logical-in|--logical-out|--oif|--iif)"
    r" ((?:! )?)([^\s+]+)"
)
_CHAIN = re.compile(r"^:(\S+) -|^(?<=-A )(\S+)", re.MULTILINE)
_DECLARED = re.compile(r"^:(\S+)", re.MULTILINE)
_NAMED = re.compile(
    r"(?<= )(--match-set|--add-set|--del-set|--map-set|--name|--hashlimit-name|--path|--string|--rateest-name) "
    rf"({_QUOTED})"
)
_INTERFACE_KEYS = frozenset(
    {"iifname", "oifname", "iif", "oif", "ibrname", "obrname", "sdifname", "sdif", "ibridgename"}
)
_DEVICE = re.compile(r"(?<=\bdev )(\S+)|(?<=\bdevice )(\S+)")


class Texts:
    """The maskers of raw text."""

    def __init__(self, addresses: Addresses, names: Names, renamer: Renamer) -> None:
        self._addresses = addresses
        self._names = names
        self._renamer = renamer

    def ruleset(self, text: str) -> str:
        """Mask what iptables-save, ip6tables-save, ebtables-save or arptables-save wrote."""
        text = _COMMENT.sub("", _NOTE.sub("", text))
        text = _LOG.sub(r'\1 "masked "', text)
        text = _INTERFACE.sub(lambda match: f"{match[1]} {match[2]}{self._names.interface(match[3])}", text)
        text = _NAMED.sub(lambda match: f"{match[1]} {self._renamer.text(match[2])}", text)
        changed = {
            chain: new for chain in set(_DECLARED.findall(text)) if (new := self._renamer.text(chain)) != chain
        }  # fmt: skip
        if changed:
            places = re.compile(r"(^:|^-[AN] | -[jg] )(\S+)", re.MULTILINE)
            text = places.sub(lambda match: match[1] + changed.get(match[2], match[2]), text)
        return self._addresses.text(text)

    def ipsets(self, text: str) -> str:
        """Mask what `ipset save` wrote."""
        kinds: dict[str, str] = {}
        return "".join(self._ipset_line(line, kinds) for line in text.splitlines(keepends=True))

    def _ipset_line(self, line: str, kinds: dict[str, str]) -> str:
        words = line.split(maxsplit=3)
        if len(words) < 3 or words[0] not in {"create", "add"}:
            return self._addresses.text(line)
        name, third = words[1], words[2]
        rest = words[3] if len(words) > 3 else ""
        if words[0] == "create":
            kinds[name] = third
        else:
            third = self._ipset_element(third, kinds.get(name, ""))
            rest = re.sub(rf"(?:^|(?<= ))comment {_QUOTED}\s*", "", rest)
        body = " ".join(part for part in (words[0], self._renamer.text(name), third, rest.rstrip("\n")) if part)
        return self._addresses.text(body) + ("\n" if line.endswith("\n") else "")

    def _ipset_element(self, element: str, kind: str) -> str:
        if kind == "list:set":
            return self._renamer.text(element)
        parts = element.split(",")
        for index, part in enumerate(kind.partition(":")[2].split(",")):
            if part == "iface" and index < len(parts):
                prefix = "physdev:" if parts[index].startswith("physdev:") else ""
                parts[index] = prefix + self._names.interface(parts[index].removeprefix(prefix))
        return ",".join(parts)

    def words(self, text: str) -> str:
        """Mask a tool's text where `dev` and `device` introduce interfaces: `ip xfrm policy`, `nft list hooks`."""
        text = _DEVICE.sub(lambda match: self._names.interface(match[0]), text)
        return self._addresses.text(self._renamer.text(text))

    # nft -j list ruleset

    def nft(self, text: str) -> str:
        """Mask what `nft -j list ruleset` wrote; what is not JSON is masked as plain text."""
        try:
            document = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return self.words(text)
        return msgspec.json.encode(self._nft(document)).decode()

    def nft_ranges(self, text: str) -> None:
        """Keep the order of every range of addresses that `nft -j` wrote."""
        for first, last in re.findall(r'"range":\s*\[\s*"([^"]+)",\s*"([^"]+)"\s*\]', text):
            self._addresses.keep_range(first, last)

    def _nft(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._nft(one) for one in value]
        if isinstance(value, str):
            return self._addresses.text(value)
        if not isinstance(value, dict):
            return value
        return {key: self._nft_field(value, key, inner) for key, inner in value.items() if key != "comment"}

    def _nft_field(self, owner: dict[str, Any], key: str, value: Any) -> Any:
        if key == "prefix" and isinstance(value, str):
            return "masked "  # of a log statement
        if key == "prefix" and isinstance(value, dict) and isinstance(value.get("addr"), str):
            return {**value, "addr": self._addresses.prefix(value["addr"], value.get("len", 128))}
        if key in {"name", "chain", "table", "target", "set", "flowtable"} and isinstance(value, str):
            return self._renamer.text(value)
        if key == "dev":
            return self._interfaces(value)
        if key == "elem" and "interface" in str(owner.get("type", "")).replace("ifname", "interface"):
            return self._elements(value, owner["type"])
        if key == "right":
            return self._right(owner.get("left"), value)
        if key in {"set", "data"} and isinstance(owner.get("key"), dict):
            return self._by_key(owner["key"], value)
        return self._nft(value)

    def _right(self, left: Any, right: Any) -> Any:
        """What is compared: an interface's name, or a network under a mask (`ip saddr & 255.255.0.0 == 10.1.0.0`)."""
        if isinstance(left, dict) and isinstance(left.get("&"), list) and isinstance(right, str):
            mask = left["&"][-1]
            length = _mask_length(mask) if isinstance(mask, str) else None
            if length is not None:
                return self._addresses.prefix(right, length)
        return self._by_key(left, right)

    def _by_key(self, key: Any, value: Any) -> Any:
        """Mask values, sets and maps that are looked up by an expression, or by a concatenation of some."""
        if _is_interface(key):
            return self._interfaces(value)
        parts = key.get("concat") if isinstance(key, dict) else None
        if isinstance(parts, list) and any(_is_interface(part) for part in parts):
            return self._concatenated([_is_interface(part) for part in parts], value)
        return self._nft(value)

    def _interfaces(self, value: Any) -> Any:
        if isinstance(value, str):
            return value if value.startswith("@") else self._wildcard(value)
        if isinstance(value, list):
            return [self._interfaces_of_pair(one) if _is_pair(one) else self._interfaces(one) for one in value]
        if isinstance(value, dict) and set(value) & {"set", "elem", "val", "range"}:
            return {
                key: self._interfaces(inner) if key in {"set", "elem", "val", "range"} else self._nft(inner)
                for key, inner in value.items()
                if key != "comment"
            }
        return self._nft(value)

    def _interfaces_of_pair(self, pair: list[Any]) -> list[Any]:
        return [self._interfaces(pair[0]), self._nft(pair[1])]

    def _wildcard(self, text: str) -> str:
        return self._names.interface(text.removesuffix("*")) + ("*" if text.endswith("*") else "")

    def _concatenated(self, positions: list[bool], value: Any) -> Any:
        if isinstance(value, list):
            return [self._concatenated(positions, one) for one in value]
        if not isinstance(value, dict):
            return self._nft(value)
        masked: dict[str, Any] = {}
        for key, inner in value.items():
            if key == "concat" and isinstance(inner, list):
                masked[key] = [
                    self._interfaces(one) if index < len(positions) and positions[index] else self._nft(one)
                    for index, one in enumerate(inner)
                ]
            elif key != "comment":
                masked[key] = (
                    self._concatenated(positions, inner) if key in {"set", "elem", "val"} else self._nft(inner)
                )
        return masked

    def _elements(self, value: Any, kind: Any) -> Any:
        """The elements of a named set or map whose type is `ifname`, or a list with it."""
        if isinstance(kind, list):
            return self._concatenated([part == "ifname" for part in kind], value)
        return self._interfaces(value)


def _is_interface(expression: Any) -> bool:
    meta = expression.get("meta") if isinstance(expression, dict) else None
    return isinstance(meta, dict) and meta.get("key") in _INTERFACE_KEYS


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], dict)


def _mask_length(mask: str) -> int | None:
    from ipaddress import ip_address

    try:
        address = ip_address(mask)
    except ValueError:
        return None
    bits = f"{int(address):0{address.max_prefixlen}b}"
    return bits.count("1") if "01" not in bits else None
