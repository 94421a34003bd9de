"""A snapshot with one namespace changed: all that did not change is shared. Knows nothing of why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from netdoctor.model.errors import PlanError
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Namespace, Snapshot


def namespace(snapshot: Snapshot, name: str) -> Namespace:
    """Return a namespace by its name. Raises: PlanError where it is not in the snapshot."""
    for one in snapshot.namespaces:
        if one.name == name:
            return one
    raise PlanError(f"the plan changes namespace {printable(name)}, which is not there (any more)", "make a new plan")


def changed(snapshot: Snapshot, name: str, **fields: Any) -> Snapshot:
    """Return the snapshot with fields of one namespace replaced. Raises: PlanError."""
    old = namespace(snapshot, name)
    new = replace(old, **fields)
    return replace(snapshot, namespaces=tuple(new if one is old else one for one in snapshot.namespaces))
