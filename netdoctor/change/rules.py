"""Adding and deleting rules of iptables and ip6tables. Knows nothing of how they reach the kernel.

`text` is what iptables-save would print behind `-A CHAIN `, so that the same words add, find and delete the rule.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from netdoctor.change.overlay import changed, namespace
from netdoctor.model.errors import PlanError
from netdoctor.model.snapshot import RulesetText

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netdoctor.model.snapshot import Snapshot

Family = Literal["ip", "ip6"]
Backend = Literal["nft", "legacy"]
BUILTIN = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
_COUNTED = re.compile(r"\[\d+:\d+\] ")


class _RuleChange(msgspec.Struct, frozen=True, kw_only=True):
    netns: str
    family: Family
    backend: Backend
    table: str
    chain: str
    text: str

    @property
    def program(self) -> str:
        """The tool that works on this family and backend."""
        return f"{'iptables' if self.family == 'ip' else 'ip6tables'}-{self.backend}"

    @property
    def words(self) -> tuple[str, ...]:
        """The rule's words without their quotes."""
        return tuple(shlex.split(self.text))

    def _position(self, snapshot: Snapshot) -> int:
        """The number of the rule in its chain, 0 where it is not there."""
        lines = [_bare(line) for line in _lines(snapshot, self) if _bare(line).startswith(f"-A {self.chain} ")]
        wanted = f"-A {self.chain} {self.text}"
        return lines.index(wanted) + 1 if wanted in lines else 0


class AddRule(_RuleChange, frozen=True, kw_only=True, tag="add-rule"):
    """Insert a rule as number `position` of its chain, counted from 1; 0 appends it."""

    position: int = 0

    def describe(self) -> str:
        """One line for a person."""
        where = "at the end of" if not self.position else f"as rule {self.position} of"
        return f"add {where} {self.table} {self.chain}: {self.text}"

    def present(self, snapshot: Snapshot) -> bool:
        """Whether a rule with these words is in the chain."""
        return self._position(snapshot) > 0

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the rule. A table that is not there comes into being, as in the kernel.

        Raises: PlanError where the chain is not there.
        """
        lines = _lines(snapshot, self) or _empty_table(self.table)
        counted = "[0:0] " if any(_COUNTED.match(line) for line in lines) else ""
        at = _place(lines, self.chain, self.position)
        if at is None:
            raise PlanError(f"there is no chain {self.chain} in table {self.table} of {self.netns}", "make a new plan")
        return _with_lines(snapshot, self, [*lines[:at], f"{counted}-A {self.chain} {self.text}", *lines[at:]])

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:  # noqa: ARG002
        """Delete the same rule."""
        fields = {name: getattr(self, name) for name in ("netns", "family", "backend", "table", "chain", "text")}
        return (DeleteRule(**fields),)

    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The argument lists that do it."""
        how = ("-I", self.chain, str(self.position)) if self.position else ("-A", self.chain)
        return ((self.program, "-w", "-t", self.table, *how, *self.words),)


class DeleteRule(_RuleChange, frozen=True, kw_only=True, tag="delete-rule"):
    """Delete the first rule of a chain that has exactly these words."""

    def describe(self) -> str:
        """One line for a person."""
        return f"delete from {self.table} {self.chain}: {self.text}"

    def present(self, snapshot: Snapshot) -> bool:
        """Whether no rule with these words is there."""
        return self._position(snapshot) == 0

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot without the rule; unchanged where it is not there."""
        lines = _lines(snapshot, self)
        wanted = f"-A {self.chain} {self.text}"
        at = next((index for index, line in enumerate(lines) if _bare(line) == wanted), None)
        if at is None:
            return snapshot
        return _with_lines(snapshot, self, [*lines[:at], *lines[at + 1 :]])

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Put it back where it was."""
        position = self._position(before)
        if not position:
            return ()
        fields = {name: getattr(self, name) for name in ("netns", "family", "backend", "table", "chain", "text")}
        return (AddRule(**fields, position=position),)

    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The argument lists that do it."""
        return ((self.program, "-w", "-t", self.table, "-D", self.chain, *self.words),)


def _bare(line: str) -> str:
    """A rule's line without its counters."""
    return _COUNTED.sub("", line, count=1) if line.startswith("[") else line


def _text(snapshot: Snapshot, change: _RuleChange) -> RulesetText | None:
    rulesets = namespace(snapshot, change.netns).rulesets
    return next((one for one in rulesets if (one.family, one.backend) == (change.family, change.backend)), None)


def _lines(snapshot: Snapshot, change: _RuleChange) -> list[str]:
    """The lines of the table, from `*table` to COMMIT; empty where it is not there."""
    ruleset = _text(snapshot, change)
    if ruleset is None:
        return []
    _, start, rest = ruleset.text.partition(f"*{change.table}\n")
    if not start or (_ and not _.endswith("\n")):
        return []
    body, commit, _ = rest.partition("\nCOMMIT\n")
    return [f"*{change.table}", *body.split("\n"), "COMMIT"] if commit else []


def _empty_table(table: str) -> list[str]:
    chains = BUILTIN.get(table, ())
    return [f"*{table}", *(f":{chain} ACCEPT [0:0]" for chain in chains), "COMMIT"]


def _place(lines: Sequence[str], chain: str, position: int) -> int | None:
    """Where in the table's lines a rule of this number belongs; None where the chain is not declared."""
    if not any(line.startswith(f":{chain} ") for line in lines):
        return None
    own = [index for index, line in enumerate(lines) if _bare(line).startswith(f"-A {chain} ")]
    if not own:
        return len(lines) - 1
    return own[position - 1] if 0 < position <= len(own) else own[-1] + 1


def _with_lines(snapshot: Snapshot, change: _RuleChange, lines: list[str]) -> Snapshot:
    ruleset = _text(snapshot, change) or RulesetText(change.family, change.backend, "")
    old = _lines(snapshot, change)
    block = "\n".join(lines) + "\n"
    if old:
        text = ruleset.text.replace("\n".join(old) + "\n", block, 1)
    else:
        text = ruleset.text + block
    rulesets = namespace(snapshot, change.netns).rulesets
    new = replace(ruleset, text=text)
    kept = tuple(new if (one.family, one.backend) == (new.family, new.backend) else one for one in rulesets)
    return changed(snapshot, change.netns, rulesets=kept if new in kept else (*kept, new))


if TYPE_CHECKING:
    from netdoctor.change.plan import Operation
