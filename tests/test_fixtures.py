"""Recorded snapshots say what they were recorded for, without a kernel."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from netdoctor.diagnose import check, loader
from netdoctor.diagnose.node import Node
from netdoctor.model import store

sys.path.insert(0, str(Path(__file__).parent))

from record_fixtures import FOLDER, Recording, recordings

ALL = {one.name: one for one in recordings()}


def findings(one: Recording) -> set[str]:
    node = Node(store.load(str(one.path)))
    return {finding.rule for finding in check.run(node).findings}


def test_every_file_is_recorded_by_the_script_and_every_rule_with_an_example_has_one() -> None:
    assert {path.name for path in FOLDER.glob("*.json.gz")} == {one.path.name for one in ALL.values()}
    assert {rule.rule.id for rule in loader.load() if rule.example} <= {one.rule for one in ALL.values()}


@pytest.mark.parametrize("name", sorted(name for name, one in ALL.items() if one.rule is None))
def test_nothing_is_found_on_a_healthy_node(name: str) -> None:
    assert findings(ALL[name]) == set()


@pytest.mark.parametrize("name", sorted(name for name, one in ALL.items() if one.rule is not None))
def test_exactly_what_is_wrong_is_found_on_a_broken_node(name: str) -> None:
    assert findings(ALL[name]) == {ALL[name].rule}


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_recording_is_small_and_tells_nothing_of_the_machine_it_was_made_on(name: str) -> None:
    taken = store.load(str(ALL[name].path))
    assert ALL[name].path.stat().st_size < 40_000
    assert taken.host in {"node", "node-1"}
    assert {socket.program for netns in taken.namespaces for socket in netns.sockets} <= {"python3", "python", None}
