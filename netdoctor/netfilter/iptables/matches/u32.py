"""`-m u32`: arithmetic on bytes of the packet, from its IP header on. What the kernel fills in itself is unknown.

Kernel: net/netfilter/xt_u32.c:u32_mt, u32_match_it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter import wire
from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.values import number
from netdoctor.netfilter.ternary import Unknown, all_of, any_of, negate

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer

_SIGNS = ("<<", ">>", "&", "@")
Test = tuple[int, list[tuple[str, int]], list[tuple[int, int]]]  # offset, operations, ranges
_ALL = 0xFFFFFFFF


class U32(Match):
    """`-m u32`."""

    name = "u32"
    options = {"--u32": 1}

    __slots__ = ("negated", "tests")

    def compile(self) -> None:
        """Parse the options once: `LOCATION=RANGES`, joined by `&&`."""
        option = self.written[0]
        self.negated = option.negated
        self.tests: list[Test] = [_test(part.replace(" ", "")) for part in option.value.split("&&")]

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        data = wire.of(packet)
        answer = all_of([_holds(test, data) for test in self.tests])
        return negate(answer) if self.negated else answer


def _test(text: str) -> Test:
    location, _, ranges = text.partition("=")
    numbers: list[str] = [""]
    signs: list[str] = []
    at = 0
    while at < len(location):
        sign = next((one for one in _SIGNS if location.startswith(one, at)), None)
        if sign is None:
            numbers[-1] += location[at]
            at += 1
        else:
            signs.append(sign)
            numbers.append("")
            at += len(sign)
    values = [number(one) for one in numbers]
    wanted = []
    for part in ranges.split(","):
        first, colon, last = part.partition(":")
        low = number(first) if first else 0
        wanted.append((low, number(last) if last else _ALL if colon else low))
    return values[0], list(zip(signs, values[1:], strict=True)), wanted


def _holds(test: Test, data: wire.Bytes) -> Answer:
    """One test. Bits that are not known are carried along, and matter only where they reach the comparison."""
    at, operations, ranges = 0, test[1], test[2]
    position = test[0]
    if position + 4 > len(data):
        return False
    value, known = data.word(position)
    for sign, operand in operations:
        if sign == "&":
            value, known = value & operand, known | (~operand & _ALL)
        elif sign == "<<":
            value, known = (value << operand) & _ALL, ((known << operand) | ((1 << operand) - 1)) & _ALL
        elif sign == ">>":
            value, known = value >> operand, (known >> operand) | (_ALL << (32 - operand) & _ALL)
        else:  # `@`: what was computed is where to look on
            if known != _ALL:
                return Unknown("match u32: an offset that the kernel fills in")
            at += value
            position = at + operand
            if position + 4 > len(data):
                return False
            value, known = data.word(position)
    if known == _ALL:
        return any(first <= value <= last for first, last in ranges)
    return any_of([_may(value, known, first, last) for first, last in ranges])


def _may(value: int, known: int, first: int, last: int) -> Answer:
    """Whether a number of which some bits are known lies in a range."""
    lowest, highest = value & known, (value & known) | (~known & _ALL)
    if first <= lowest and highest <= last:
        return True
    if highest < first or lowest > last or (first == last and (first ^ value) & known):
        return False
    return Unknown("match u32: bytes that the kernel fills in")
