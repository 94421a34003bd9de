"""Applies a plan: checks that the state is what it assumed, does it step by step, looks, and takes it back if need be.

Knows nothing of what a plan is good for: the caller's `verify` says whether it keeps what it promised.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec

from netdoctor.apply.journal import LIVE, STATE_DIR, Entry, Journal, State, Step, Target, boot_id
from netdoctor.apply.steps import Run
from netdoctor.apply.watchdog import Watchdog
from netdoctor.change.rules import AddRule
from netdoctor.collect import live
from netdoctor.model.errors import NetdoctorError, PlanError
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netdoctor.change.plan import Plan
    from netdoctor.model.snapshot import Snapshot

SSH_CONFIRM_SECONDS = 60  # over SSH, a change that nobody confirms within this time is taken back


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    id: str
    state: State  # kept; applied (until it is kept, or the watchdog takes it back); failed (taken back: status 5)
    why: str | None = None  # where it was taken back
    confirm_seconds: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def taken_back(self) -> bool:
        """Whether it did not hold what it promised."""
        return self.state == "failed"


def apply(
    plan: Plan,
    *,
    verify: Callable[[Snapshot], str | None] | None = None,
    confirm_seconds: int | None = None,
    assumed: Snapshot | None = None,
    state_dir: str = STATE_DIR,
    take: Callable[[], Snapshot] = live.take,
) -> Applied:
    """Apply a plan to this node.

    `verify`: says of the state afterwards what it does not hold of what was promised, None where it holds all;
    `confirm_seconds`: taken back after that time
    unless `undo.keep` is called; `assumed`: the snapshot that the plan was made from.
    Raises: NetdoctorError where it could not be done; then nothing of it is left.
    """
    journal = Journal(state_dir)
    journal.prepare()
    lock = journal.lock()
    try:
        run = Run(journal, _planned(journal, plan, assumed, take), lock)
        with Watchdog(state_dir, run.entry) as watchdog:
            return _guarded(run, watchdog, verify, confirm_seconds, take)
    finally:
        os.close(lock)


def _planned(journal: Journal, plan: Plan, assumed: Snapshot | None, take: Callable[[], Snapshot]) -> Entry:
    """Check the plan against the state of now, and write it down. Raises: NetdoctorError, PlanError."""
    for entry in journal.entries():
        if entry.id == plan.id and entry.state in LIVE:
            raise NetdoctorError(f"plan {plan.id} is {entry.state} already", f"netdoctor fix --undo {plan.id}")
    names = sorted({operation.netns for operation in plan.operations})
    targets = _targets(names)
    before = take()
    if assumed is not None:
        for operation in plan.operations:
            if operation.touches(assumed) != operation.touches(before):
                raise PlanError(
                    f"this node has changed since the plan was made: {operation.describe()}",
                    "run netdoctor check again",
                )
    plan.overlay(before)
    steps = tuple(Step(operation=one, state="skipped" if one.present(before) else "todo") for one in plan.operations)
    if all(step.state == "skipped" for step in steps):
        raise NetdoctorError(f"plan {plan.id} changes nothing: all of it is there already", "run netdoctor check again")
    entry = Entry(plan=plan, made=time.time(), boot=boot_id(), targets=targets, steps=steps)
    journal.write(entry)
    return entry


def _targets(names: Sequence[str]) -> tuple[Target, ...]:
    known = {one.name: one for one in live.list_namespaces()}
    for name in names:
        if name not in known:
            raise PlanError(
                f"the plan changes namespace {printable(name)}, which is not there (any more)", "check again"
            )
    return tuple(Target(name, known[name].found.path, known[name].found.inode) for name in names)


def _guarded(
    run: Run,
    watchdog: Watchdog,
    verify: Callable[[Snapshot], str | None] | None,
    confirm_seconds: int | None,
    take: Callable[[], Snapshot],
) -> Applied:
    """Do it while the watchdog looks on."""
    try:
        run.save("applying")
        run.forward()
        why = _unkept(run, verify, take)
    except BaseException:
        run.back("failed")
        watchdog.done()
        raise
    if why is not None:
        notes = run.back("failed")
        watchdog.done()
        return Applied(id=run.entry.id, state="failed", why=why, notes=notes)
    if confirm_seconds is None:
        run.save("kept")
        watchdog.done()
        return Applied(id=run.entry.id, state="kept")
    run.save("applied", deadline=time.time() + confirm_seconds)
    watchdog.confirm(confirm_seconds)
    return Applied(id=run.entry.id, state="applied", confirm_seconds=confirm_seconds)


def _unkept(run: Run, verify: Callable[[Snapshot], str | None] | None, take: Callable[[], Snapshot]) -> str | None:
    """Say which promise the kernel does not keep, None where it keeps all."""
    now = take()
    for step in run.entry.steps:
        # The worker has asked the tool itself about rules, which knows every way to write one.
        if not isinstance(step.operation, AddRule) and not step.operation.present(now):
            return f"it is not there: {step.operation.describe()}"
    return None if verify is None else verify(now)
