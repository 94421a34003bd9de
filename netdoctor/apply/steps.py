"""Runs the steps of a plan, each by a worker in its namespace, and takes them back in reverse; the journal is always
ahead.

Knows nothing of proofs, terminals or watchdogs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
from msgspec.structs import replace

from netdoctor.apply.journal import boot_id
from netdoctor.apply.worker import Answer, Job
from netdoctor.collect import namespaces
from netdoctor.model.errors import NetdoctorError
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from netdoctor.apply.journal import Entry, Journal, State, Step, StepState, Target

ENDED = "its worker ended unexpectedly"


class GoneError(NetdoctorError):
    """A namespace that was changed is no more, and what was changed in it is gone with it."""


class Run:
    """One plan under the lock."""

    def __init__(self, journal: Journal, entry: Entry, lock: int) -> None:
        self.journal = journal
        self.entry = entry
        self.lock = lock

    def save(self, state: State, **fields: Any) -> None:
        """Write the plan's new state."""
        self.entry = replace(self.entry, state=state, **fields)
        self.journal.write(self.entry)

    def _set(self, number: int, state: StepState, facts: dict[str, Any] | None = None) -> None:
        steps = list(self.entry.steps)
        steps[number] = replace(steps[number], state=state, facts=steps[number].facts if facts is None else facts)
        self.entry = replace(self.entry, steps=tuple(steps))
        self.journal.write(self.entry)

    def forward(self) -> None:
        """Do every step that is to be done. Raises: NetdoctorError at the first that cannot be."""
        for number, step in enumerate(self.entry.steps):
            if step.state != "todo":
                continue
            with _Worker(self._target(step), self.lock) as worker:
                facts = worker.look(step)
                self._set(number, "begun", facts)
                answer = worker.go(step)
            self._set(number, "done", answer.facts)

    def back(self, state: State) -> tuple[str, ...]:
        """Take back what was done, the last first, and end in `state`; return what was left alone and why.

        Raises: NetdoctorError where something could not be taken back; the rest is. It can be tried again.
        """
        notes: list[str] = []
        failed: list[str] = []
        self.save("undoing", deadline=None)
        if self.entry.boot != boot_id():
            notes.append("the node was started again since: what was not made to last is gone")
            self.save(state, notes=(*self.entry.notes, *notes))
            return tuple(notes)
        for number in reversed(range(len(self.entry.steps))):
            step = self.entry.steps[number]
            if step.state not in {"begun", "done"}:
                continue
            try:
                with _Worker(self._target(step), self.lock) as worker:
                    notes.extend(worker.undo(step))
            except GoneError as error:
                notes.append(str(error))
            except NetdoctorError as error:
                failed.append(str(error))
                continue
            self._set(number, "undone")
        if failed:
            self.save("undoing", notes=(*self.entry.notes, *notes, *failed))
            raise NetdoctorError(f"plan {self.entry.id} was not taken back whole: {'; '.join(failed)}", "try again")
        self.save(state, notes=(*self.entry.notes, *notes))
        return tuple(notes)

    def _target(self, step: Step) -> Target:
        return next(one for one in self.entry.targets if one.netns == step.operation.netns)


class _Worker:
    """A process in one namespace; a context manager."""

    def __init__(self, target: Target, lock: int) -> None:
        self.name = target.netns
        descriptor = _open(target)
        command = [
            sys.executable, "-P", "-m", "netdoctor.apply.worker", str(descriptor), str(lock), str(os.getpid()),
        ]  # fmt: skip
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(descriptor, lock), cwd="/",
                env=environment(),
            )  # fmt: skip
        finally:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process.wait()

    def look(self, step: Step) -> dict[str, Any]:
        """Have it note what is there."""
        return self._ask(Job("apply", step.operation), step).facts

    def go(self, step: Step) -> Answer:
        """Have it do what it looked at."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        return self._answer(step)

    def undo(self, step: Step) -> tuple[str, ...]:
        """Have it take the step back."""
        return self._ask(Job("undo", step.operation, step.facts), step).notes

    def _ask(self, job: Job, step: Step) -> Answer:
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(job) + b"\n")
        return self._answer(step)

    def _answer(self, step: Step) -> Answer:
        """Raises: NetdoctorError with what went wrong in there."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = b""
        answer = msgspec.json.decode(line, type=Answer) if line.endswith(b"\n") else Answer(error=ENDED)
        if answer.gone:
            raise GoneError(_gone(self.name))
        if answer.error is not None:
            said = printable(answer.error)
            raise NetdoctorError(said if answer.error != ENDED else f"{step.operation.describe()}: {said}")
        return answer


def environment() -> dict[str, str]:
    """Return the environment of our own processes: they import the same netdoctor, wherever that lies."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(Path(__file__).parents[2])}


def _open(target: Target) -> int:
    """Raises: GoneError where no process and no name holds the namespace any more."""
    for path in _paths(target):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        if os.fstat(descriptor).st_ino == target.inode:
            return descriptor
        os.close(descriptor)
    raise GoneError(_gone(target.netns))


def _paths(target: Target) -> tuple[str, ...]:
    found = namespaces.find().get(target.inode)
    return (target.path,) if found is None else (target.path, found.path)


def _gone(netns: str) -> str:
    return f"namespace {printable(netns)} is no more, and what was changed in it went with it"
