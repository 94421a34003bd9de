"""Exit statuses, as INTERFACE.md fixes them. Where several hold: 2, then 5, 1, 3.

Knows nothing of the commands that return them.
"""

from __future__ import annotations

OK = 0
FINDINGS = 1  # findings at or above --fail-on, or a traced flow that does not do what is expected
FAILED = 2  # the command could not do its work
NOT_JUDGED = 3  # --strict only
TAKEN_BACK = 5  # a change was applied and taken back
INTERRUPTED = 130

_RANK = {FAILED: 0, TAKEN_BACK: 1, FINDINGS: 2, NOT_JUDGED: 3, OK: 4}


def worst(*statuses: int) -> int:
    """Return the status that wins where several hold."""
    return min(statuses, key=lambda status: _RANK[status], default=OK)
