"""Leads a packet straight to the rules of a long chain that can match it, without parsing the others.

Knows nothing of what rules do; a rule it cannot place is always a candidate.
"""

from __future__ import annotations

import heapq
import re
from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.prescan import without_quoted
from netdoctor.netfilter.iptables.protocols import protocol_number
from netdoctor.netfilter.packet import DCCP, SCTP, TCP, UDP, UDPLITE, parse_address

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from netdoctor.netfilter.iptables.rule import Rule
    from netdoctor.netfilter.packet import Family, Packet

# Options as every iptables prints them. What is written otherwise finds no key, and so stays a candidate.
_BEGIN = r"(?:^|(?<= ))"
_END = r"(?= |$)"
_DESTINATION = re.compile(rf"{_BEGIN}(! )?-d ([0-9a-fA-F.:]+)(?:/(\d+))?{_END}")
_SOURCE = re.compile(rf"{_BEGIN}(! )?-s ([0-9a-fA-F.:]+)(?:/(\d+))?{_END}")
_PROTOCOL = re.compile(rf"{_BEGIN}(! )?-p (\S+)")
_DPORT = re.compile(r"(?<= )(! )?--dport (\d+)(?= |$)")
_INPUT = re.compile(rf"{_BEGIN}(! )?-i ([^ !\"]+){_END}")
_OUTPUT = re.compile(rf"{_BEGIN}(! )?-o ([^ !\"]+){_END}")
_PORTED = frozenset({TCP, UDP, UDPLITE, SCTP, DCCP})


class Index:
    """Rules by one key each: the exact destination, else the exact source, else protocol and port, else the interface.

    A packet's candidates are the rules under its own keys and those without a key, in the chain's order.
    """

    def __init__(self, rules: Sequence[Rule], family: Family) -> None:
        self.rules = rules
        self.rest: list[int] = []
        self.by_destination: dict[Hashable, list[int]] = {}
        self.by_source: dict[Hashable, list[int]] = {}
        self.by_port: dict[Hashable, list[int]] = {}
        self.by_input: dict[Hashable, list[int]] = {}
        self.by_output: dict[Hashable, list[int]] = {}
        width = "32" if family == 4 else "128"
        for position, rule in enumerate(rules):
            self._place(position, without_quoted(rule.text), width)

    def _place(self, position: int, text: str, width: str) -> None:
        key: Hashable | None
        if (key := _address(_DESTINATION, text, width)) is not None:
            place = self.by_destination
        elif (key := _address(_SOURCE, text, width)) is not None:
            place = self.by_source
        elif (key := _port(text)) is not None:
            place = self.by_port
        elif (key := _device(_INPUT, text)) is not None:
            place = self.by_input
        elif (key := _device(_OUTPUT, text)) is not None:
            place = self.by_output
        else:
            self.rest.append(position)
            return
        place.setdefault(key, []).append(position)

    def candidates(self, packet: Packet) -> Iterator[Rule]:
        """Yield the rules that can match, in the chain's order."""
        found = [
            self.rest,
            self.by_destination.get(packet.dst, ()),
            self.by_source.get(packet.src, ()),
            self.by_input.get(packet.in_dev or "", ()),
            self.by_output.get(packet.out_dev or "", ()),
        ]
        if packet.dport is not None:
            found.append(self.by_port.get((packet.proto, packet.dport), ()))
        elif packet.proto in _PORTED:  # a port that is not known: every rule on a port may match
            found.extend(self.by_port.values())
        filled = [positions for positions in found if positions]
        for position in filled[0] if len(filled) == 1 else heapq.merge(*filled):
            yield self.rules[position]


def _address(pattern: re.Pattern[str], text: str, width: str) -> int | None:
    """Return the one address that the rule wants, None where it wants several or all but one."""
    found = pattern.search(text)
    if found is None or found[1] is not None or found[3] not in {None, width}:
        return None
    try:
        return parse_address(found[2])[1]
    except ValueError:
        return None


def _port(text: str) -> tuple[int, int] | None:
    """Return protocol and destination port, None where the rule does not want exactly one of each."""
    port, protocol = _DPORT.search(text), _PROTOCOL.search(text)
    if port is None or protocol is None or port[1] is not None or protocol[1] is not None:
        return None
    number = protocol_number(protocol[2])
    return (number, int(port[2])) if number in _PORTED else None


def _device(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    if found is None or found[1] is not None or found[2].endswith("+"):
        return None
    return found[2]
