"""The answer of a match: yes, no, by chance, or unknown. Never a guess.

Knows nothing of packets or rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Unknown:
    """What cannot be decided from the snapshot, and the name of what decides it."""

    why: str
    drops: bool = False  # the match may also drop the packet (xt_action_param.hotdrop)

    def __bool__(self) -> NoReturn:
        raise TypeError(f"an unknown answer has no truth value: {self.why}")


@dataclass(frozen=True, slots=True)
class Chance:
    """A random choice that the kernel makes with a known probability (statistic, numgen random)."""

    probability: float

    def __bool__(self) -> NoReturn:
        raise TypeError("a random answer has no truth value")


Answer = bool | Unknown | Chance


def negate(answer: Answer) -> Answer:
    """Return the answer of `! match`."""
    if isinstance(answer, Unknown):
        return answer
    if isinstance(answer, Chance):
        return Chance(1.0 - answer.probability)
    return not answer


def all_of(answers: Iterable[Answer]) -> Answer:
    """Return the answer of matches that must all hold: a sure no wins over unknown, unknown over chance.

    They are asked in order: one that may drop the packet does so before a later one says no.
    """
    unknown: Unknown | None = None
    probability = 1.0
    random = False
    for answer in answers:
        if answer is False:
            return unknown if unknown is not None and unknown.drops else False
        if isinstance(answer, Unknown):
            unknown = answer if unknown is None or answer.drops else unknown
        elif isinstance(answer, Chance):
            random = True
            probability *= answer.probability
    if unknown is not None:
        return unknown
    return Chance(probability) if random else True


def any_of(answers: Iterable[Answer]) -> Answer:
    """Return the answer of alternatives: a sure yes wins over unknown."""
    unknown: Unknown | None = None
    for answer in answers:
        if answer is True:
            return True
        if isinstance(answer, Unknown):
            unknown = answer if unknown is None else unknown
        elif isinstance(answer, Chance):
            unknown = Unknown("random alternatives") if unknown is None else unknown
    return unknown if unknown is not None else False
