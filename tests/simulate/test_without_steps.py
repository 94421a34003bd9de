"""A proof asks for fates, not for ways: they must be the same."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from netdoctor.diagnose.node import Node
from netdoctor.model import store
from netdoctor.simulate.engine import Simulator

SNAPSHOTS = sorted((Path(__file__).resolve().parents[2] / "fixtures" / "snapshots").glob("*.json.gz"))


def without_steps(trace) -> object:
    """The trace as JSON, every way and every place on it left out."""

    def strip(part):
        if isinstance(part, dict):
            return {name: strip(value) for name, value in part.items() if name not in {"steps", "step", "cause"}}
        return [strip(one) for one in part] if isinstance(part, (list, tuple)) else part

    return strip(msgspec.to_builtins(trace))


@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: path.name.removesuffix(".json.gz"))
def test_every_flow_of_a_node_ends_alike_whether_its_way_is_written_down_or_not(path) -> None:
    node = Node(store.load(str(path)))
    quiet = Simulator(node.world, outside_answers=True, steps=False)
    assert len(node.traced) > 0
    for one in node.traced:
        fate = quiet.trace(one.asked.flow)
        assert without_steps(fate) == without_steps(one.trace)
        assert {part.steps for outcome in fate.outcomes for part in (outcome, outcome.reply) if part} == {()}
