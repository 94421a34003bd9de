"""Extensions are found by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from netdoctor.netfilter import iptables
from netdoctor.netfilter.iptables.registry import match_class, target_class

HERE = Path(iptables.__file__).parent


@pytest.mark.parametrize("kind", ["matches", "targets"])
def test_every_file_describes_an_extension_that_is_found_by_its_name(kind):
    find = match_class if kind == "matches" else target_class
    files = [path for path in sorted((HERE / kind).glob("*.py")) if path.stem != "__init__"]
    names = [path.stem.rstrip("_") for path in files]
    missing = [name for name in names if find(name if kind == "matches" else name.upper()) is None]
    assert (missing, len(files) > 40) == ([], True)


@pytest.mark.parametrize("name", ["", "../os", "os.path", "nothing", "__init__", "a b", "-", "é"])
def test_a_strangers_name_imports_nothing(name):
    assert (match_class(name), target_class(name)) == (None, None)


def test_matches_and_targets_of_one_name_are_told_apart():
    assert (match_class("MARK"), target_class("mark")) == (None, None)
    assert match_class("mark") is not target_class("MARK")
