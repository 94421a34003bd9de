"""ebtables-nft's rules as nft's own expressions: what `nft -j` shows of its matches and targets are mere names.

Knows nothing of packets. A rule with an option that is not described here stays as nft shows it, and is undecided.
Source: ebtables-nft(8), iptables/extensions/libebt_*.c
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netdoctor.netfilter.nft.ruleset import Table

_TYPES = {"IPv4": "ip", "IPv6": "ip6", "ARP": "arp", "802_1Q": "8021q"}
_GROUPS = {
    "Unicast": "00:00:00:00:00:00/01:00:00:00:00:00", "Multicast": "01:00:00:00:00:00/01:00:00:00:00:00",
    "Broadcast": "ff:ff:ff:ff:ff:ff", "BGA": "01:80:c2:00:00:00",
}  # fmt: skip
_OPERATIONS = {"Request": "request", "Reply": "reply"}
_VERDICTS = {"ACCEPT": "accept", "DROP": "drop", "RETURN": "return", "CONTINUE": "continue"}
_OTHERS_OPTIONS = frozenset({"--log-level", "--log-prefix", "--nflog-group", "--nflog-prefix"})  # log, and go on


def rewrite(table: Table, saved: str) -> None:
    """Give the rules of a bridge table that nft cannot show the meaning that `ebtables-nft-save` shows."""
    lines = _lines(saved, table.name)
    for chain in table.chains.values():
        for rule, line in zip(chain.rules, lines.get(chain.name, ()), strict=False):
            if any(isinstance(one, dict) and "xt" in one for one in rule.expressions):
                expressions = translated(line)
                if expressions is not None:
                    rule.rewrite(expressions, line)


def _lines(saved: str, table: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    current = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            current = line[1:].strip()
        rule = line[line.find("-A ") :] if "-A " in line else ""
        if rule and current == table:
            found.setdefault(rule.split()[1], []).append(rule)
    return found


def translated(line: str) -> list[Any] | None:
    """Return the statements of a rule of ebtables-save, None where something in it is not described here."""
    try:
        words = shlex.split(line)[2:]
        return list(_statements(words))
    except (ValueError, KeyError, IndexError):
        return None


def _statements(words: list[str]) -> Iterator[Any]:
    options, target = words, ["CONTINUE"]
    if "-j" in words:
        at = words.index("-j")
        options, target = words[:at], words[at + 1 :]
    at = 0
    while at < len(options):
        name = options[at]
        negated = options[at + 1] == "!"
        value = options[at + 1 + negated]
        at += 2 + negated
        if name in _OTHERS_OPTIONS:
            continue
        yield from _MATCHES[name](value, "!=" if negated else "==")
    yield {"counter": None}
    yield from _target(target)


Made = list[Any]


def _match(left: Any, op: str, right: Any) -> Made:
    return [{"match": {"op": op, "left": left, "right": right}}]


def _field(protocol: str, field: str, read: Callable[[str], Any] = str) -> Callable[[str, str], Made]:
    left = {"payload": {"protocol": protocol, "field": field}}
    return lambda value, op: _match(left, op, read(value))


def _meta(key: str, read: Callable[[str], Any] = str) -> Callable[[str, str], Made]:
    return lambda value, op: _match({"meta": {"key": key}}, op, read(value))


def _mac(side: str) -> Callable[[str, str], Made]:
    def made(value: str, op: str) -> Made:
        address, _, mask = _GROUPS.get(value, value).partition("/")
        left: Any = {"payload": {"protocol": "ether", "field": side}}
        return _match({"&": [left, mask]} if mask else left, op, address)

    return made


def _mark(value: str, op: str) -> Made:
    number, _, mask = value.partition("/")
    left: Any = {"meta": {"key": "mark"}}
    return _match({"&": [left, int(mask, 0)]} if mask else left, op, int(number, 0))


def _network(value: str) -> Any:
    address, _, length = value.partition("/")
    return {"prefix": {"addr": address, "len": int(length)}} if length else address


def _range(value: str) -> Any:
    low, colon, high = value.partition(":")
    return {"range": [int(low), int(high)]} if colon else int(low)


def _type(value: str) -> Any:
    return _TYPES[value] if value in _TYPES else int(value, 16)


_MATCHES: dict[str, Callable[[str, str], Made]] = {
    "-p": _field("ether", "type", _type),
    "-s": _mac("saddr"),
    "-d": _mac("daddr"),
    "-i": _meta("iifname", lambda value: value.replace("+", "*")),
    "-o": _meta("oifname", lambda value: value.replace("+", "*")),
    "--logical-in": _meta("ibrname"),
    "--logical-out": _meta("obrname"),
    "--pkttype-type": _meta("pkttype", lambda value: {"otherhost": "other"}.get(value, value)),
    "--mark": _mark,
    "--vlan-id": _field("vlan", "id", int),
    "--vlan-encap": _field("vlan", "type", lambda value: int(value, 16)),
    "--ip-src": _field("ip", "saddr", _network),
    "--ip-dst": _field("ip", "daddr", _network),
    "--ip-proto": _field("ip", "protocol"),
    "--ip-sport": _field("th", "sport", _range),
    "--ip-dport": _field("th", "dport", _range),
    "--ip-icmp-type": _field("icmp", "type"),
    "--ip6-src": _field("ip6", "saddr", _network),
    "--ip6-dst": _field("ip6", "daddr", _network),
    "--ip6-proto": _field("ip6", "nexthdr"),
    "--ip6-sport": _field("th", "sport", _range),
    "--ip6-dport": _field("th", "dport", _range),
    "--arp-op": _field("arp", "operation", lambda value: _OPERATIONS[value]),
    "--arp-ip-src": _field("arp", "saddr ip", _network),
    "--arp-ip-dst": _field("arp", "daddr ip", _network),
    "--arp-mac-src": _field("arp", "saddr ether"),
    "--arp-mac-dst": _field("arp", "daddr ether"),
}


def _target(words: list[str]) -> Made:
    name, given = words[0], dict(zip(words[1::2], words[2::2], strict=True))
    if name in _VERDICTS:
        return _end(name)
    if name == "mark":
        return [_marked(given), *_end(given["--mark-target"])]
    if name == "dnat":
        return [_set_mac("daddr", given["--to-dst"]), {"ebtables": "dnat"}, *_end(given["--dnat-target"])]
    if name == "snat" and set(given) == {"--to-src", "--snat-target"}:
        return [_set_mac("saddr", given["--to-src"]), *_end(given["--snat-target"])]
    if name == "redirect":
        return [{"ebtables": "redirect"}, *_end(given.get("--redirect-target", "ACCEPT"))]
    if name == "arpreply" or given:
        raise ValueError(name)
    return [{"jump": {"target": name}}]


def _end(verdict: str) -> Made:
    return [{_VERDICTS[verdict]: None}]


def _set_mac(side: str, address: str) -> Any:
    return {"mangle": {"key": {"payload": {"protocol": "ether", "field": side}}, "value": address}}


def _marked(given: dict[str, str]) -> Any:
    mark: Any = {"meta": {"key": "mark"}}
    for option, sign in {"--mark-or": "|", "--mark-and": "&", "--mark-xor": "^"}.items():
        if option in given:
            return {"mangle": {"key": mark, "value": {sign: [mark, int(given[option], 0)]}}}
    return {"mangle": {"key": mark, "value": int(given["--mark-set"], 0)}}
