"""What is asked at a hook, and in what order, where the order can be known.

Knows nothing of what those who are asked say. Kernel: net/netfilter/core.c:nf_hook_entries_grow (of equal priorities
the one that was registered last is asked first, which no snapshot shows: there the walk forks).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, permutations
from typing import TYPE_CHECKING, Protocol

from netdoctor.netfilter.packet import family_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from netdoctor.simulate.hooks import At
    from netdoctor.simulate.tables import Result

_MOST = 4  # so many of one priority are tried in every order; of more, only the first so many orders


class Place(Protocol):
    """A table's chain or a native base chain."""

    def walk(self, at: At) -> Result:
        """Ask it about the packet."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """One that is asked: a place, or a step of the kernel's own (then `place` is None)."""

    priority: int
    what: str  # "raw", "mangle", …; "conntrack", "nat", "confirm"; "route" for a native chain that may route again
    label: str  # as it is named where the order is in doubt
    place: Place | None = None


def in_order(at: At, asked: Sequence[Asked]) -> Iterator[Asked]:
    """Yield those that are asked by their priority; the order of equal ones is assumed, and the assumption named.

    Kernel: net/netfilter/core.c:nf_hook_entries_grow
    """
    for _, group in groupby(sorted(asked, key=lambda one: one.priority), key=lambda one: one.priority):
        equal = list(group)
        yield from equal if len(equal) == 1 else _assumed(at, equal)


def _assumed(at: At, equal: list[Asked]) -> tuple[Asked, ...]:
    labels = tuple(sorted(one.label for one in equal))
    key = ("hook order", at.netns.name, at.packet.family, labels)
    orders = list(permutations(equal))[: len(list(permutations(range(_MOST))))]
    if key not in at.run.picked:
        where = f"hook order of {family_name(at.packet.family)} {equal[0].what} in {at.netns.name}"
        at.run.picked[key] = at.run.choose([f"{where}: {' before '.join(one.label for one in way)}" for way in orders])
    # The choice holds for names, whatever hook they are met at.
    chosen = sorted(orders, key=lambda way: tuple(one.label for one in way))
    return chosen[at.run.picked[key]] if len(chosen) > at.run.picked[key] else orders[0]
