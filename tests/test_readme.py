"""What the README tells a stranger to type does what it says; the commands that need root run in a throw-away node."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from netdoctor.cli.demo import run
from netdoctor.cli.main import run_words
from netdoctor.diagnose import loader
from netdoctor.lab import example

TOP = Path(__file__).resolve().parents[1]
README = (TOP / "README.md").read_text()
BLOCKS = [
    [shlex.split(line, comments=True) for line in block.splitlines()]
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
]
COMMANDS = [words for block in BLOCKS for words in block]
READING = [read for block in BLOCKS if (read := [words[1:] for words in block if words[:1] == ["netdoctor"]])]
ON_A_NODE = [words[2:] for words in COMMANDS if words[:2] == ["sudo", "netdoctor"]]
FINDS = {"check": 1, "trace": 1}


@pytest.mark.parametrize("block", READING, ids=lambda block: " ".join(block[-1]))
def test_from_a_file_on_any_machine(block, capsys, monkeypatch, tmp_path) -> None:
    (tmp_path / "fixtures").symlink_to(TOP / "fixtures")
    monkeypatch.chdir(tmp_path)
    for words in block:
        assert (words, run_words(words)) == (words, FINDS.get(words[0], 0))
        out, err = capsys.readouterr()
        if words[0] == "snapshot":  # it writes a file, and says what was not there to be read
            assert (out, [line for line in err.splitlines() if not line.startswith("not read: ")][1:]) == ("", [])
        else:
            assert (len(out) > 0, err) == (True, "")


@pytest.mark.kernel
def test_on_a_node_from_finding_to_undo() -> None:
    assert [words[0] for words in ON_A_NODE] == ["check", "trace", "fix", "fix", "fix"]
    with example.broken(loader.by_name("hairpin-snat-missing").example) as lab:
        for words in ON_A_NODE:
            yes = ["--yes"] if {"--apply", "--undo"} & set(words) else []
            done = run(lab, "node", [*words, *yes])
            assert (words, done.returncode, done.stderr) == (words, FINDS.get(words[0], 0), "")


def test_every_rule_is_listed_and_every_listed_rule_exists() -> None:
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", README, re.MULTILINE)) == {one.rule.id for one in loader.load()}


def test_the_commands_of_dev_are_those_that_the_readme_names() -> None:
    usage = (TOP / "dev").read_text()
    for command in re.findall(r"\./dev ([a-z-]+)", README):
        assert f"\n    {command})" in usage
