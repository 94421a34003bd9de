"""Each rule file is its own test on a real kernel: broken, found, healed by each option, undone, and silent when
healthy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from netdoctor.cli import status
from netdoctor.cli.demo import run
from netdoctor.diagnose import loader
from netdoctor.lab import example

if TYPE_CHECKING:
    from netdoctor.diagnose.loader import LoadedRule
    from netdoctor.lab.lab import Backend, Lab

pytestmark = pytest.mark.kernel
RULES = {one.rule.id: one for one in loader.load() if one.example is not None}


def netdoctor(lab: Lab, *words: str, expected: int) -> dict:
    done = run(lab, lab.topology.hosts[0].name, [*words, "--json"])
    assert done.returncode == expected, done.stdout + done.stderr
    return json.loads(done.stdout)


def errors(report: dict) -> set[str]:
    return {one["rule"] for one in report["findings"] if one["severity"] == "error"}


def repaired_and_taken_back(lab: Lab, rule: LoadedRule, option: str) -> None:
    host = lab.topology.hosts[0].name
    before = lab.state(host)
    (applied,) = netdoctor(lab, "fix", "--apply", "--yes", "--option", option, rule.rule.id, expected=status.OK)[
        "applied"
    ]
    assert applied["state"] == "kept"
    assert example.ask(lab, rule.example).connects == "yes", f"option {option} does not heal the real client"
    assert errors(netdoctor(lab, "check", expected=status.OK)) == set()
    assert netdoctor(lab, "fix", "--undo", "--yes", applied["id"], expected=status.OK)["undone"]["notes"] == []
    after = lab.state(host)
    assert {title for title in before if after[title] != before[title]} == set()
    assert example.ask(lab, rule.example).connects == "no"


@pytest.mark.parametrize("name", sorted(RULES))
def test_broken_found_healed_by_each_option_and_undone(name: str, backend: Backend) -> None:
    rule = RULES[name]
    with example.healthy(rule.example, backend) as lab:
        assert example.ask(lab, rule.example).connects == "yes"
        assert netdoctor(lab, "check", expected=status.OK)["findings"] == []
        example.break_it(lab, rule.example)
        assert example.ask(lab, rule.example).connects == "no"
        report = netdoctor(lab, "check", expected=status.FINDINGS)
        assert errors(report) == {name}
        (found,) = report["findings"]
        assert found["fix"]["available"]
        for option in found["fix"]["options"]:
            repaired_and_taken_back(lab, rule, option["option"])


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_script_heals_and_takes_back_as_netdoctor_itself_does(name: str) -> None:
    rule = RULES[name]
    with example.broken(rule.example) as lab:
        host = lab.topology.hosts[0].name
        assert example.ask(lab, rule.example).connects == "no"
        before = lab.state(host)
        script = run(lab, host, ["fix", "--script"]).stdout
        done = lab.run(host, ["sh", "-s", "apply"], input=script)
        assert done.returncode == 0, done.stderr
        assert example.ask(lab, rule.example).connects == "yes"
        assert lab.run(host, ["sh", "-s", "undo"], input=script, check=True).stderr == ""
        after = lab.state(host)
        assert {title for title in before if after[title] != before[title]} == set()
