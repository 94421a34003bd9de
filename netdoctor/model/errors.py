"""What goes wrong, said to a person in one line: what, where, why, and what to try.

Knows nothing of where a message is printed or which exit status it becomes.
"""

from __future__ import annotations


class NetdoctorError(Exception):
    """An expected failure; its text is the one line that the user reads, its `hint` is what to try.

    Specialised only where somebody catches the difference.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class SnapshotError(NetdoctorError):
    """A snapshot or saved tool output cannot be read."""


class RulesetError(NetdoctorError):
    """The text of a ruleset is not what its tool writes (cut in the middle of a line, an unknown table line, …)."""


class UnknownNamespaceError(NetdoctorError):
    """A namespace name fits nothing, or fits several."""


class FlowError(NetdoctorError):
    """A flow cannot be asked as it was written."""


class LabError(NetdoctorError):
    """A throw-away namespace could not be built."""


class PlanError(NetdoctorError):
    """A plan cannot be laid over a snapshot or applied to this node."""
