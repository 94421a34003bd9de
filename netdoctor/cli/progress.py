"""A progress bar on standard error, where somebody watches and it takes longer than a second.

Knows nothing of what is progressing.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from netdoctor.model.text import printable

if TYPE_CHECKING:
    from types import TracebackType

PATIENCE = 1.0  # seconds before anything is shown
WIDTH = 28


class Progress:
    """Call it with (what, done, total) as often as you like; it draws at most ten times a second."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.started = time.monotonic()
        self.drawn = 0.0
        self.watched = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say how far it is."""
        now = time.monotonic()
        if not self.watched or now - self.started < PATIENCE or now - self.drawn < 0.1:
            return
        self.drawn = now
        filled = WIDTH * done // max(total, 1)
        bar = "█" * filled + "░" * (WIDTH - filled)
        sys.stderr.write(f"\r\x1b[K{self.title} {bar} {done}/{total} {printable(what)[:40]}")
        sys.stderr.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
