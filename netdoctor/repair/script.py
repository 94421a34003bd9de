"""Plans as a POSIX shell script that a person can read, run and take back. Knows nothing of how netdoctor applies one.

Every word that comes from a snapshot is quoted for the shell; comments hold printable text on one line.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from netdoctor import __version__
from netdoctor.change.overlay import namespace
from netdoctor.change.rules import AddRule, DeleteRule
from netdoctor.change.settings import SetSysctl
from netdoctor.model.errors import PlanError
from netdoctor.model.text import printable
from netdoctor.repair.options import sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netdoctor.change.operation import Operation as Change
    from netdoctor.change.plan import Operation
    from netdoctor.model.snapshot import Snapshot
    from netdoctor.repair.options import Option

_FRAME = """\
#!/bin/sh
{head}
set -eu
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
export PATH

die() {{ printf '%s\\n' "netdoctor script: $1; nothing more was done" >&2; exit 1; }}
{helpers}
check() {{
{check}
}}

apply() {{
{apply}
}}

undo() {{
{undo}
}}

case "${{1:-apply}}" in
    apply)
        check
        trap 'undo' EXIT
        trap 'exit 130' INT TERM HUP
        apply
        trap - EXIT INT TERM HUP
        printf '%s\\n' "done; take it back with: sh $0 undo" ;;
    undo) undo ;;
    *) printf '%s\\n' "usage: $0 [apply|undo]" >&2; exit 2 ;;
esac
"""


def render(options: Sequence[Option], snapshot: Snapshot) -> str:
    """Return one script for several plans: without an argument it applies them in order, `undo` takes them back.

    It checks first that the state is still what the plans were made for, and takes back what it did where a step fails.
    Raises: PlanError where a plan does not fit the snapshot, or a namespace cannot be named in a script.
    """
    head = [f"# Written by netdoctor {__version__} for {_comment(snapshot.host)}. Read it before you run it, as root."]
    check: list[str] = []
    apply: list[str] = []
    undo: list[str] = []
    state = snapshot
    entries = _Entries(snapshot)
    for option in options:
        plan = option.plan
        head += [
            "#",
            f"# Plan {plan.id}, option {option.letter} for {_comment(plan.finding)}: {_comment(plan.summary)}",
            f"#   on the model it {sentence(option.proof)}",
            f"#   costs: {_comment(plan.costs)}",
            f"#   lasts {_comment(plan.lasts)}; to make it last:",
            *(f"#     {_comment(line)}" for line in plan.persist),
        ]
        for operation in plan.operations:
            entry = entries.of(operation.netns)
            check += _checks(operation, entry, snapshot)
            apply += [shlex.join((*entry, *command)) for command in operation.commands()]
            taken_back = [line for one in operation.inverse(state) for line in _tolerant(one, entry)]
            undo[:0] = taken_back
            state = operation.overlay(state)
    helpers = "\n".join(("", *entries.helpers, "")) if entries.helpers else ""
    return _FRAME.format(
        head="\n".join(head),
        helpers=helpers,
        check=_body((*entries.checks, *check)),
        apply=_body(apply),
        undo=_body(undo),
    )


class _Entries:
    """How the script enters each namespace: by a process that lives in it, once it is sure that it still does."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.helpers: list[str] = []
        self.checks: list[str] = []
        self.known: dict[str, tuple[str, ...]] = {}

    def of(self, netns: str) -> tuple[str, ...]:
        """Return the words before a command. Raises: PlanError where nothing leads into the namespace."""
        if netns == self.snapshot.namespaces[0].name:
            return ()
        if netns not in self.known:
            self.known[netns] = self._new(netns)
        return self.known[netns]

    def _new(self, netns: str) -> tuple[str, ...]:
        found = namespace(self.snapshot, netns)
        if found.inode is None:
            raise PlanError(f"no script can find namespace {printable(netns)} again", "apply the plan with --apply")
        number = len(self.known) + 1
        self.helpers += [
            f"# namespace {_comment(netns)}",
            f"netns_{number}=$(for path in /proc/[0-9]*/ns/net /run/netns/* /run/docker/netns/*; do",
            f'    case "$(stat -Lc %i "$path" 2>/dev/null)" in {found.inode}) echo "$path"; break ;; esac',
            "done)",
            f'in_{number}() {{ nsenter --net="$netns_{number}" "$@"; }}',
        ]
        self.checks.append(f'[ -n "$netns_{number}" ] || die {shlex.quote(f"namespace {printable(netns)} is gone")}')
        return (f"in_{number}",)


def _checks(operation: Operation, entry: tuple[str, ...], snapshot: Snapshot) -> list[str]:
    """What must still hold before anything is changed."""
    if isinstance(operation, AddRule):
        there = shlex.join((*entry, *_found(operation)))
        return [f"if {there} 2>/dev/null; then die {shlex.quote('the rule is there already')}; fi"]
    if isinstance(operation, SetSysctl):
        old = operation.touches(snapshot)
        wanted = shlex.quote(old)
        read = shlex.join((*entry, "sysctl", "-n", operation.name))
        return [f'[ "$({read})" = {wanted} ] || die {shlex.quote(f"{operation.name} is not {old} any more")}']
    return []


def _found(operation: AddRule | DeleteRule) -> tuple[str, ...]:
    """The command that asks whether a rule is there."""
    command = DeleteRule(
        netns=operation.netns, family=operation.family, backend=operation.backend, table=operation.table,
        chain=operation.chain, text=operation.text,
    ).commands()[0]  # fmt: skip
    return tuple("-C" if word == "-D" and at == 4 else word for at, word in enumerate(command))


def _tolerant(operation: Change, entry: tuple[str, ...]) -> list[str]:
    """The commands of an undo: what is gone already is no error."""
    lines = [shlex.join((*entry, *command)) for command in operation.commands()]
    if isinstance(operation, DeleteRule):
        there = shlex.join((*entry, *_found(operation)))
        return [f"if {there} 2>/dev/null; then {lines[0]}; fi"]
    return [f"{line} || printf '%s\\n' {shlex.quote('could not take back: ' + printable(line))} >&2" for line in lines]


def _body(commands: Sequence[str]) -> str:
    return "\n".join(f"    {command}" for command in commands) or "    :"


def _comment(text: str) -> str:
    """Text that stays in its comment: no line break gets through."""
    return printable(text)


__all__ = ["render"]
