"""Cuts a network down to what a difference needs: line by line, as long as both still differ about the flow.

Knows nothing of what the lines mean, but that some hold others together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.kernel.fuzz import compare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernel.fuzz.compare import Kernel
    from tests.kernel.fuzz.network import Call, Network

FRAMES = ("*", ":", "COMMIT", "create ", "table", "}", "chain", "{")  # lines that hold others
Place = tuple[int, int]  # step, line


def reduce(kernel: Kernel, network: Network, call: Call) -> Network:
    """Return a smaller network that shows a difference about the flow too."""
    small = replace(network, calls=(call,))
    if not differs(kernel, small):
        return small
    places = list(_removable(small))
    size = max(1, len(places) // 2)
    while True:
        at = 0
        while at < len(places):
            part = places[at : at + size]
            tried = _without(small, set(part))
            if differs(kernel, tried):
                del places[at : at + size]
                small, places = tried, [_moved(place, part) for place in places]
            else:
                at += size
        if size == 1:
            return replace(small, steps=tuple(step for step in small.steps if _holds_something(step)))
        size = max(1, size // 2)


def differs(kernel: Kernel, network: Network) -> bool:
    """Whether both differ about a network's only flow, and do so when they are asked again."""
    examined = compare.examine(kernel, network)
    found = list(compare.differences(examined))
    return any(said and not compare.is_unknown(trace) for _, trace, _, said in found)


def _removable(network: Network) -> Iterator[Place]:
    for number, step in enumerate(network.steps):
        for at, line in enumerate(step.lines):
            optional = (
                step.tool not in {"ip", "ip6"} or line.startswith(("rule ", "neigh ", "nexthop ")) or "mtu" in line
            )
            if optional and not line.startswith(FRAMES):
                yield number, at


def _without(network: Network, places: set[Place]) -> Network:
    steps = [
        replace(step, lines=tuple(line for at, line in enumerate(step.lines) if (number, at) not in places))
        for number, step in enumerate(network.steps)
    ]
    return replace(network, steps=tuple(steps))


def _moved(place: Place, removed: list[Place]) -> Place:
    step, line = place
    return step, line - sum(1 for other, at in removed if other == step and at < line)


def _holds_something(step: object) -> bool:
    lines = step.lines  # type: ignore[attr-defined]
    return any(not line.startswith(("*", ":", "COMMIT")) for line in lines)
