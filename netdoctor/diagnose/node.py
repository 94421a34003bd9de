"""One node as the rules see it: its snapshot, its world, and what becomes of the flows that matter on it.

Knows nothing of any rule. Everything is found when it is first asked for, and once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from netdoctor.diagnose.census import Asked, Census, Container, brief
from netdoctor.model.errors import NetdoctorError
from netdoctor.simulate.engine import Simulator
from netdoctor.topology.world import World

if TYPE_CHECKING:
    from netdoctor.model.snapshot import ConntrackEntry, Snapshot
    from netdoctor.simulate.trace import Cause, Step, Trace
    from netdoctor.topology.namespace import Netns

ProgressCall = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Traced:
    """A flow of the census with its answer."""

    asked: Asked
    trace: Trace

    @property
    def works(self) -> bool:
        """Whether it connects for sure."""
        return self.trace.connects == "yes"

    @property
    def broken(self) -> bool:
        """Whether it fails, always or sometimes."""
        return self.trace.connects in {"no", "sometimes"}

    @property
    def cause(self) -> Cause | None:
        """Why it fails: that of the first outcome that does."""
        for outcome in self.trace.outcomes:
            for part in (outcome, outcome.reply, outcome.next):
                if part is not None and part.cause is not None:
                    return part.cause
        return None

    def steps(self) -> Iterator[Step]:
        """Every step of the outcome that fails, request and answers."""
        for outcome in self.trace.outcomes:
            if outcome.connects != "yes":
                for part in (outcome, outcome.reply, outcome.next):
                    yield from part.steps if part is not None else ()
                return


class Node:
    """A snapshot, ready to be asked."""

    def __init__(self, snapshot: Snapshot, given: Iterable[Asked] = (), progress: ProgressCall | None = None) -> None:
        self.snapshot = snapshot
        self.given = tuple(given)
        self.progress = progress
        self.world = World(snapshot)
        self.host: Netns = self.world.first()

    @cached_property
    def simulator(self) -> Simulator:
        """The world outside answers, but only to an address that is the node's own."""
        return Simulator(self.world, outside_answers=True)

    @cached_property
    def census(self) -> Census:
        """Where the flows come from."""
        return Census(self.world, self.host)

    @cached_property
    def asked(self) -> tuple[Asked, ...]:
        """The flows that matter, the user's own first."""
        return (*self.given, *self.census.flows())

    @cached_property
    def traced(self) -> tuple[Traced, ...]:
        """Each flow with its answer."""
        found = []
        for done, asked in enumerate(self.asked, 1):
            found.append(Traced(asked, self.simulator.trace(asked.flow)))
            if self.progress is not None:
                self.progress(asked.title, done, len(self.asked))
        return tuple(found)

    def broken(self, *kinds: str, cause: str | None = None) -> tuple[Traced, ...]:
        """Return the flows that fail: of these kinds (or of any), and by this kind of cause (or by any)."""
        return tuple(
            one
            for one in self.traced
            if one.broken
            and (not kinds or one.asked.kind in kinds)
            and (cause is None or (one.cause is not None and one.cause.kind == cause))
        )

    def container(self, address: str) -> Container | None:
        """Return the container that has an address."""
        return self.census.by_address.get(address)

    def called(self, address: str) -> str:
        """Return a container's name as one says it, or the address where no container has it."""
        found = self.container(address)
        return brief(found.name) if found is not None else address

    def sysctl(self, name: str) -> str | None:
        """Return a sysctl of the host, None where it was not read."""
        return self.host.sysctl(name)

    def unreplied(self, addresses: Iterable[str]) -> tuple[ConntrackEntry, ...]:
        """Return the host's conntrack entries to these addresses that nobody answered: what the kernel itself saw
        fail.
        """
        wanted = frozenset(addresses)
        return tuple(
            entry
            for entry in self.host.snapshot.conntrack
            if "UNREPLIED" in entry.status and (entry.original.dst in wanted or entry.reply.src in wanted)
        )

    def need(self, section: str) -> None:
        """Say that a rule cannot judge without a section. Raises: NotJudgedError."""
        if section not in self.host.snapshot.sections:
            raise NotJudgedError(f"the snapshot holds no {section}")


class NotJudgedError(NetdoctorError):
    """A rule lacks what it needs to judge."""
