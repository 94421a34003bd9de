"""The script that gathers saved tool output on a node without Python.

Knows nothing of how the output is read again. The script is a file of its own, so that shellcheck reads what runs.
"""

from __future__ import annotations

from pathlib import Path


def script() -> str:
    """Return a POSIX shell script; it writes a tar to standard output that `netdoctor snapshot --from -` reads."""
    return Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")
