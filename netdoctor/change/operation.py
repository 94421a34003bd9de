"""What every change to a node is: laid over a snapshot, undone, compared with what is there, printed as commands.

Knows nothing of why anyone wants it, or of how it reaches the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from netdoctor.change.overlay import changed, namespace
from netdoctor.model.errors import PlanError
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Link, Snapshot

Argv = tuple[str, ...]


class Operation(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", omit_defaults=True):
    """One change in one namespace (`Namespace.name` of the snapshot that it was planned on)."""

    netns: str

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot as it would be afterwards; the rest is shared. Raises: PlanError."""
        raise NotImplementedError

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Return what takes it back, seen from the state before it. Raises: PlanError."""
        raise NotImplementedError

    def present(self, snapshot: Snapshot) -> bool:
        """Whether the state already is as this operation wants it. Raises: PlanError where it never can be."""
        raise NotImplementedError

    def touches(self, snapshot: Snapshot) -> str:
        """Return the part of the state that the operation was planned on: equal texts mean that it still holds."""
        raise NotImplementedError

    def commands(self) -> tuple[Argv, ...]:
        """Return it as argument lists of the usual tools, to be run in the namespace."""
        raise NotImplementedError

    def describe(self) -> str:
        """Return it as one line for a person."""
        raise NotImplementedError


def link_of(snapshot: Snapshot, netns: str, dev: str) -> Link:
    """Return an interface by its name. Raises: PlanError."""
    for link in namespace(snapshot, netns).links:
        if link.name == dev:
            return link
    raise PlanError(f"there is no interface {printable(dev)} in {printable(netns)} (any more)", "make a new plan")


def with_link(snapshot: Snapshot, netns: str, old: Link, new: Link) -> Snapshot:
    """Return the snapshot with one interface replaced."""
    links = namespace(snapshot, netns).links
    return changed(snapshot, netns, links=tuple(new if one is old else one for one in links))
