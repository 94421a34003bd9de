"""Choices that the kernel makes at random or that no snapshot decides: a walk is run again for every path through them.

Knows nothing of packets. A walk must be deterministic but for what `choose` returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Fork:
    """One choice: the probability of each way, or None where nobody can know; and what it hangs on."""

    weights: tuple[float, ...] | None
    labels: tuple[str, ...]

    @property
    def ways(self) -> int:
        """How many ways there are."""
        return len(self.labels)


@dataclass(slots=True)
class Taken:
    """A choice as one walk took it."""

    fork: Fork
    way: int


class Choices:
    """The choices of one walk: replays a given beginning, then always takes the first way."""

    def __init__(self, beginning: Sequence[int] = ()) -> None:
        self._beginning = beginning
        self.taken: list[Taken] = []

    def choose(self, labels: Sequence[str], weights: Sequence[float] | None = None) -> int:
        """Return which of the ways this walk takes. `labels` say what is assumed; `weights` sum to 1, None: unknown."""
        if len(labels) == 1:
            return 0
        at = len(self.taken)
        way = self._beginning[at] if at < len(self._beginning) else 0
        self.taken.append(Taken(Fork(None if weights is None else tuple(weights), tuple(labels)), way))
        return way


@dataclass(slots=True)
class Leaf(Generic[_T]):
    """One walk that ended."""

    path: list[Taken]
    value: _T


def explore(walk: Callable[[Choices], _T], limit: int) -> tuple[list[Leaf[_T]], bool]:
    """Run `walk` once for each path through its choices, depth first. Second value: whether all were run."""
    leaves: list[Leaf[_T]] = []
    beginning: list[int] = []
    while True:
        choices = Choices(beginning)
        leaves.append(Leaf([], walk(choices)))
        leaves[-1].path = choices.taken
        path = choices.taken
        beginning = [taken.way for taken in path]
        while beginning and beginning[-1] + 1 >= path[len(beginning) - 1].fork.ways:
            beginning.pop()
        if not beginning:
            return leaves, True
        if len(leaves) >= limit:
            return leaves, False
        beginning[-1] += 1


@dataclass(slots=True)
class Share(Generic[_T]):
    """An outcome with its probability (None: it hangs on something unknown) and what had to be assumed for it."""

    probability: float | None
    value: _T
    assumed: tuple[str, ...] = ()


def merge(leaves: Sequence[Leaf[_T]], key: Callable[[_T], Hashable]) -> list[Share[_T]]:
    """Return the outcomes of all walks, equal ones as one.

    Probabilities multiply along a path. Where every way of an unknown choice ends alike, the choice did not matter and
    costs nothing; where they differ, all that hangs on it has the probability None.
    """
    return _merge(list(leaves), 0, key)


def _merge(leaves: list[Leaf[_T]], depth: int, key: Callable[[_T], Hashable]) -> list[Share[_T]]:
    first = leaves[0]
    if len(first.path) <= depth:
        return [Share(1.0, first.value)]
    fork = first.path[depth].fork
    ways: dict[int, list[Leaf[_T]]] = {}
    for leaf in leaves:
        ways.setdefault(leaf.path[depth].way, []).append(leaf)
    merged = {way: _merge(found, depth + 1, key) for way, found in ways.items()}
    if fork.weights is not None:
        weights = fork.weights
        return _together(
            [
                Share(
                    None if share.probability is None else share.probability * weights[way], share.value, share.assumed
                )
                for way, shares in merged.items()
                for share in shares
            ],
            key,
        )
    if len(merged) == fork.ways and _all_alike(list(merged.values()), key):
        return merged[0]
    return _together(
        [
            Share(None, share.value, (fork.labels[way], *share.assumed))
            for way, shares in merged.items()
            for share in shares
        ],
        key,
    )


def _all_alike(distributions: list[list[Share[_T]]], key: Callable[[_T], Hashable]) -> bool:
    summed = [
        {key(s.value): None if s.probability is None else round(s.probability, 9) for s in shares}
        for shares in distributions
    ]
    return all(other == summed[0] for other in summed[1:])


def _together(shares: list[Share[_T]], key: Callable[[_T], Hashable]) -> list[Share[_T]]:
    found: dict[Hashable, Share[_T]] = {}
    for share in shares:
        same = found.setdefault(key(share.value), share)
        if same is not share:
            known = same.probability is not None and share.probability is not None
            same.probability = (same.probability or 0.0) + (share.probability or 0.0) if known else None
            same.assumed = tuple(dict.fromkeys((*same.assumed, *share.assumed)))
    return list(found.values())
