"""`-m string`: text anywhere in the packet, its headers included, as far as its bytes are known.

Kernel: net/netfilter/xt_string.c:string_mt, net/core/skbuff.c:skb_find_text
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netdoctor.netfilter import wire
from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.values import number
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class String(Match):
    """`-m string`."""

    name = "string"
    options = {"--algo": 1, "--from": 1, "--to": 1, "--string": 1, "--hex-string": 1, "--icase": 0}

    __slots__ = ("first", "fold", "last", "negated", "pattern")

    def compile(self) -> None:
        """Parse the options once."""
        text, coded = self.option("--string"), self.option("--hex-string")
        self.negated = any(one.negated for one in self.written)
        self.pattern = text.value.encode() if text is not None else _decoded(coded.value if coded is not None else "")
        self.fold = self.option("--icase") is not None
        first, last = self.option("--from"), self.option("--to")
        self.first = number(first.value) if first is not None else 0
        self.last = number(last.value) if last is not None else 0xFFFF
        if not self.pattern:
            raise ValueError("no text to look for")

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches: the text begins at `--from` or later, and ends at `--to` or before.

        Before Linux 6.5 it only had to begin before `--to` (skb_find_text).
        """
        data = wire.of(packet)
        begins = data.find(self.pattern, self.first, self.last, fold=self.fold)
        last = self.last - len(self.pattern)
        ends = data.find(self.pattern, self.first, last, fold=self.fold) if last >= self.first else False
        if begins is None or ends is None:
            return Unknown("match string: bytes that are not known")
        if begins is not ends:
            return Unknown("match string: a text across --to, which Linux takes before 6.5 and not after")
        return begins is not self.negated


def _decoded(text: str) -> bytes:
    """`GET|0d 0a|`: what stands between bars is hexadecimal."""
    parts = re.split(r"\|([0-9A-Fa-f ]*)\|", text)
    return b"".join(bytes.fromhex(part) if at % 2 else part.encode() for at, part in enumerate(parts))
