"""Leads a packet straight to the rules of a long chain that can match it, without parsing the others.

Knows nothing of what rules do; a rule it cannot place is always a candidate.
"""

from __future__ import annotations

import heapq
import re
from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.header import protocol_number
from netdoctor.netfilter.packet import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from netdoctor.netfilter.iptables.rule import Rule
    from netdoctor.netfilter.packet import Family, Packet

# The words that a rule's text begins with, as every iptables prints them: `-s X -d Y … -p PROTO`.
_DESTINATION = re.compile(r"(?:^|(?<= ))(! )?-d ([0-9a-fA-F.:]+)(?:/(\d+))?(?= |$)")
_SOURCE = re.compile(r"(?:^|(?<= ))(! )?-s ([0-9a-fA-F.:]+)(?:/(\d+))?(?= |$)")
_PROTOCOL = re.compile(r"(?:^|(?<= ))-p (\S+)")
_DPORT = re.compile(r" -m (?:tcp|udp) --dport (\d+)(?= |$)")


class Index:
    """Rules by exact destination, else exact source, else protocol and port; the rest in order.

    A packet's candidates are those under its own keys and the rest, in the chain's order.
    """

    def __init__(self, rules: Sequence[Rule], family: Family) -> None:
        self.by_destination: dict[int, list[int]] = {}
        self.by_source: dict[int, list[int]] = {}
        self.by_port: dict[tuple[int, int], list[int]] = {}
        self.rest: list[int] = []
        self.rules = rules
        width = "32" if family == 4 else "128"
        for position, rule in enumerate(rules):
            self._place(position, rule.text, width)

    def _place(self, position: int, text: str, width: str) -> None:
        for pattern, places in ((_DESTINATION, self.by_destination), (_SOURCE, self.by_source)):
            found = pattern.search(text)
            if (
                found is not None
                and found[1] is None
                and found[3] in {None, width}
                and '"' not in text[: found.start()]
            ):
                try:
                    value = parse_address(found[2])[1]
                except ValueError:
                    continue
                places.setdefault(value, []).append(position)
                return
        port = _DPORT.search(text)
        protocol = _PROTOCOL.match(text) or _PROTOCOL.search(text)
        if port is not None and protocol is not None and '"' not in text[: port.start()] and "! -p" not in text:
            number = protocol_number(protocol[1])
            if number:
                self.by_port.setdefault((number, int(port[1])), []).append(position)
                return
        self.rest.append(position)

    def candidates(self, packet: Packet) -> Iterator[Rule]:
        """Yield the rules that can match, in the chain's order."""
        found = [self.rest]
        if (placed := self.by_destination.get(packet.dst)) is not None:
            found.append(placed)
        if (placed := self.by_source.get(packet.src)) is not None:
            found.append(placed)
        if packet.dport is None:
            if packet.proto not in {1, 58}:  # a port that is not known: every port rule may match
                found.extend(self.by_port.values())
        elif (placed := self.by_port.get((packet.proto, packet.dport))) is not None:
            found.append(placed)
        positions = heapq.merge(*found) if len(found) > 1 else iter(found[0])
        for position in positions:
            yield self.rules[position]
