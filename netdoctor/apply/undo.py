"""Takes an applied plan back, confirms one, lists them. Knows nothing of how a change is made or why."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from netdoctor.apply.journal import LIVE, LOCK_SECONDS, STATE_DIR, Entry, Journal, State
from netdoctor.apply.steps import Run
from netdoctor.model.errors import NetdoctorError

if TYPE_CHECKING:
    from collections.abc import Callable


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that was taken back, and what was left alone and why."""

    id: str
    summary: str
    notes: tuple[str, ...] = ()


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `fix --status`."""

    id: str
    state: State
    finding: str
    option: str
    summary: str
    made: float  # seconds since the epoch
    deadline: float | None  # when it is taken back unless it is kept
    lasts: str
    notes: tuple[str, ...]


def undo(name: str | None = None, *, state_dir: str = STATE_DIR) -> Undone:
    """Take a plan back: the named one, or the last one that is applied. Raises: NetdoctorError."""
    journal = Journal(state_dir)
    lock = journal.lock() if _exists(state_dir) else None
    if lock is None:
        raise NetdoctorError("no plan is applied on this node", "netdoctor fix --status lists them")
    try:
        entry = _chosen(journal, name)
        return Undone(id=entry.id, summary=entry.plan.summary, notes=Run(journal, entry, lock).back("undone"))
    finally:
        os.close(lock)


def keep(name: str, *, state_dir: str = STATE_DIR) -> Status:
    """Confirm a plan that waits for it. Raises: NetdoctorError where it does not."""

    def confirm(run: Run) -> None:
        if run.entry.state == "kept":
            return
        if run.entry.state != "applied":
            raise NetdoctorError(
                f"plan {run.entry.id} is {run.entry.state}: there is nothing to keep", "apply it again"
            )
        run.save("kept", deadline=None)

    return _status(_locked(name, state_dir, LOCK_SECONDS, confirm))


def status(*, state_dir: str = STATE_DIR) -> list[Status]:
    """Return all plans of this node, the oldest first. Raises: NetdoctorError where the journal cannot be read."""
    return [_status(entry) for entry in Journal(state_dir).entries()]


def unless_kept(name: str, made: float, *, state_dir: str, lock_seconds: float) -> None:
    """For the watchdog: take the plan back unless it was kept, taken back, or applied anew meanwhile."""

    def take_back(run: Run) -> None:
        if run.entry.made == made and run.entry.state in {"planned", "applying", "applied", "undoing"}:
            run.back("undone")

    _locked(name, state_dir, lock_seconds, take_back)


def _locked(name: str, state_dir: str, seconds: float, do: Callable[[Run], None]) -> Entry:
    journal = Journal(state_dir)
    journal.read(name)
    lock = journal.lock(seconds)
    try:
        run = Run(journal, journal.read(name), lock)
        do(run)
        return run.entry
    finally:
        os.close(lock)


def _chosen(journal: Journal, name: str | None) -> Entry:
    if name is not None:
        entry = journal.read(name)
        if entry.state not in LIVE:
            raise NetdoctorError(
                f"plan {entry.id} is {entry.state}: there is nothing to undo", "netdoctor fix --status"
            )
        return entry
    applied = [entry for entry in journal.entries() if entry.state in LIVE]
    if not applied:
        raise NetdoctorError("no plan is applied on this node", "netdoctor fix --status lists them")
    return applied[-1]


def _exists(state_dir: str) -> bool:
    return Journal(state_dir).folder.is_dir()


def _status(entry: Entry) -> Status:
    return Status(
        id=entry.id, state=entry.state, finding=entry.plan.finding, option=entry.plan.option,
        summary=entry.plan.summary, made=entry.made, deadline=entry.deadline, lasts=entry.plan.lasts, notes=entry.notes,
    )  # fmt: skip
