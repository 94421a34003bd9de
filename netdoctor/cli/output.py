"""Writing results: JSON that is safe on a terminal, text with or without colour, and how wide it may be.

Knows nothing of what is written.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from netdoctor.model.text import safe_json

if TYPE_CHECKING:
    from collections.abc import Iterable

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


def write(text: str) -> None:
    """Write text to standard output, with one newline at its end."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def write_lines(lines: Iterable[str]) -> None:
    """Write lines to standard output as they come."""
    for line in lines:
        sys.stdout.write(line + "\n")


def write_json(value: Any, *, indent: int | None = 2) -> None:
    """Write a value as JSON. On a terminal and in a file alike it holds no raw control characters."""
    document = msgspec.json.encode(value)
    if indent:
        document = msgspec.json.format(document, indent=indent)
    write(safe_json(document))


def wants_colour() -> bool:
    """Whether standard output is to be coloured: NO_COLOR wins, then FORCE_COLOR, then whether it is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Columns that text may take: the terminal's (or COLUMNS), 100 where there is none."""
    return max(40, shutil.get_terminal_size((100, 24)).columns)


class Paint:
    """Colours text, or leaves it as it is."""

    def __init__(self, *, colour: bool) -> None:
        self.colour = colour

    def __call__(self, text: str, *styles: str) -> str:
        """Return `text` in these styles."""
        if not self.colour or not styles:
            return text
        return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"
