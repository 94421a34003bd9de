"""A plan: operations in their order, what they cost, how long they last. Knows nothing of who applies it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, cast

import msgspec

from netdoctor.change.network import (
    AddAddress,
    AddNeighbour,
    AddRoute,
    DeleteAddress,
    DeleteNeighbour,
    DeleteRoute,
    SetLink,
)
from netdoctor.change.rules import AddRule, DeleteChain, DeleteRule, NewChain, SetPolicy
from netdoctor.change.settings import SetBridgePort, SetSysctl

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Snapshot

Operation = (
    AddRule | DeleteRule | NewChain | DeleteChain | SetPolicy | SetSysctl | SetBridgePort | AddRoute | DeleteRoute
    | SetLink | AddAddress | DeleteAddress | AddNeighbour | DeleteNeighbour
)  # fmt: skip


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One way to repair a finding."""

    finding: str  # the finding's id
    rule: str
    option: str = "A"
    summary: str
    costs: str
    operations: tuple[Operation, ...]
    lasts: str  # until when it holds by itself
    persist: tuple[str, ...] = ()  # what a person does to make it last, a line each

    @property
    def id(self) -> str:
        """Eight hex digits over the finding and the operations: the same plan has the same name on every run."""
        content = msgspec.json.encode((self.finding, self.operations))
        return hashlib.sha256(content).hexdigest()[:8]

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot as it would be. Raises: PlanError where the plan no longer fits."""
        for operation in self.operations:
            snapshot = operation.overlay(snapshot)
        return snapshot

    def undo(self, before: Snapshot) -> tuple[Operation, ...]:
        """Return what takes the plan back, in order, from the state before it. Raises: PlanError."""
        undone: list[Operation] = []
        for operation in self.operations:
            undone[:0] = cast("tuple[Operation, ...]", operation.inverse(before))
            before = operation.overlay(before)
        return tuple(undone)

    def present(self, snapshot: Snapshot) -> bool:
        """Whether everything that the plan wants is there."""
        return all(operation.present(snapshot) for operation in self.operations)

    def commands(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """(namespace, argument list) for each command, in order."""
        return tuple((operation.netns, command) for operation in self.operations for command in operation.commands())
