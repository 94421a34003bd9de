"""Loads the rules of the catalogue by path: beside the package, never from the working directory.

Knows nothing of what a rule does. As root, a file or folder that others can write is refused.
"""

from __future__ import annotations

import importlib.util
import os
import stat
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from netdoctor.diagnose.rule import Example, Rule
from netdoctor.model.errors import NetdoctorError
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from netdoctor.change.plan import Plan
    from netdoctor.diagnose.finding import Finding
    from netdoctor.diagnose.node import Node


@dataclass(frozen=True, slots=True)
class LoadedRule:
    """A rule of the catalogue: its data, its page, and its two functions."""

    rule: Rule
    page: str
    find: Callable[[Node], Iterator[Finding]]
    repair: Callable[[Finding, Node], Iterator[Plan]] | None
    example: Example | None


def folder() -> Path:
    """Return where the rules lie: in the wheel inside the package, in a checkout beside it."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "_rules", package.parent / "rules"):
        if place.is_dir():
            return place
    raise NetdoctorError("the catalogue of rules is not installed", "reinstall netdoctor")


def recording(name: str) -> Path | None:
    """Return the recorded snapshot of a rule's example, None where there is none."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "_snapshots", package.parent / "fixtures" / "snapshots"):
        path = place / f"{name}.json.gz"
        if path.is_file():
            return path
    return None


@cache
def load() -> tuple[LoadedRule, ...]:
    """Return every rule, in the order of their ids. Raises: NetdoctorError for a file that is refused or is no rule."""
    root = folder()
    rules = []
    for path in sorted(root.glob("*/*.py")):
        for one in (root, path.parent, path):
            _refuse_writable(one)
        rules.append(_loaded(path))
    return tuple(sorted(rules, key=lambda one: one.rule.id))


def by_name(name: str) -> LoadedRule:
    """Return a rule by its id or an alias; a finding's id will do. Raises: NetdoctorError."""
    wanted = name.partition(":")[0]
    for one in load():
        if wanted == one.rule.id or wanted in one.rule.aliases:
            return one
    raise NetdoctorError(f"no rule is called {printable(wanted)!r}", "`netdoctor explain` lists them")


def _refuse_writable(path: Path) -> None:
    """What root runs must be root's: PEP 578 would not help against a file that anybody may replace."""
    if os.geteuid() != 0:
        return
    status = path.stat()
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if others and not path.is_symlink():
        raise NetdoctorError(f"rules are not loaded from {path}: others can write to it", f"chmod go-w {path}")


def _loaded(path: Path) -> LoadedRule:
    module = _module(path)
    rule = getattr(module, "RULE", None)
    if (
        not isinstance(rule, Rule)
        or rule.id != path.stem.replace("_", "-")
        or not callable(getattr(module, "find", None))
    ):
        raise NetdoctorError(
            f"{path} is not a rule: it needs RULE with the id of its name, and find(node)", "see DESIGN"
        )
    return LoadedRule(
        rule, module.__doc__ or "", module.find, getattr(module, "repair", None), getattr(module, "EXAMPLE", None)
    )


def _module(path: Path) -> ModuleType:
    name = f"netdoctor_rules_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        specification.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = written
    return module
