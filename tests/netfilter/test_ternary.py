"""Answers put together."""

from __future__ import annotations

import pytest

from netdoctor.netfilter.ternary import Chance, Unknown, all_of, any_of, negate

ONE, TWO = Unknown("one"), Unknown("two")


@pytest.mark.parametrize(
    ("answers", "together"),
    [
        ([], True), ([True, True], True), ([True, False], False), ([ONE, False], False), ([ONE, TWO, True], ONE),
        ([Chance(0.5), Chance(0.5)], Chance(0.25)), ([Chance(0.5), ONE], ONE), ([Chance(0.5), False], False),
    ],
)  # fmt: skip
def test_all_must_hold_and_a_sure_no_wins(answers, together):
    assert together == all_of(answers)


@pytest.mark.parametrize(
    ("answers", "together"),
    [
        ([], False), ([False, True], True), ([ONE, True], True), ([ONE, TWO, False], ONE), ([TWO, ONE], TWO),
        ([Chance(0.5), ONE], Unknown("random alternatives")), ([ONE, Chance(0.5), Chance(0.5)], ONE),
    ],
)  # fmt: skip
def test_one_of_several_suffices_and_a_sure_yes_wins(answers, together):
    assert together == any_of(answers)


def test_an_unknown_answer_is_neither_true_nor_false():
    with pytest.raises(TypeError, match="one"):
        bool(ONE)
    assert (ONE, Chance(0.25), False) == (negate(ONE), negate(Chance(0.75)), negate(True))
