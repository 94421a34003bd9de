"""How each operation reaches the kernel, in the namespace that this process is in: done, and taken back.

Knows nothing of plans or namespaces. `look` notes what an undo needs, `do` changes, `undo` takes back only what is
ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from netdoctor.apply import rulesets, sysctls
from netdoctor.change.rules import RulesetOperation
from netdoctor.change.settings import SetSysctl

if TYPE_CHECKING:
    from netdoctor.change.plan import Operation

Facts = dict[str, Any]


class Doing(Protocol):
    """One operation on this kernel."""

    def look(self) -> Facts:
        """Return what is there, as much as an undo needs."""

    def do(self, facts: Facts) -> Facts:
        """Change it; return the facts with what was made. Raises: NetdoctorError, OSError."""

    def undo(self, facts: Facts) -> tuple[str, ...]:
        """Take it back; return what was left alone and why. What is gone already is no error.

        Raises: NetdoctorError.
        """


def doing(operation: Operation, lock: int) -> Doing:
    """Return how an operation is done. `lock`: a descriptor that every program run for it inherits."""
    if isinstance(operation, RulesetOperation):
        return rulesets.Doing(operation, lock)
    if isinstance(operation, SetSysctl):
        return sysctls.Doing(operation)
    from netdoctor.apply import links  # pyroute2 takes 0.3 s to import

    return links.Doing(operation)
