"""What a rule's text tells without being parsed: its keys and where it jumps. For chains too long to parse each rule.

Knows nothing of extensions beyond the options that it looks for.
"""

from __future__ import annotations

import re

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_JUMP = re.compile(r"(?:^| )-[jg] (\S+)")


def without_quoted(text: str) -> str:
    """Return the text with each quoted word emptied, so that no comment looks like an option."""
    return _QUOTED.sub('""', text) if '"' in text else text


def jump_word(text: str) -> str | None:
    """Return the word behind `-j` or `-g`: the name of a chain or a target."""
    found = _JUMP.search(without_quoted(text))
    return found[1] if found is not None else None
