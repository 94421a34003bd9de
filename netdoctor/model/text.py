"""Text from strangers made safe to print: snapshots, rule comments and names are hostile until proved otherwise.

Knows nothing of terminals' widths, colours or of HTML.
"""

from __future__ import annotations

import re

# C0 and C1 controls, DEL, line and paragraph separators, and the bidirectional controls that reorder what one reads.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return `text` with everything that could steer a terminal written as `\xNN` or `\uNNNN`."""
    return _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def safe_json(document: bytes) -> str:
    """Return JSON whose strings hold no raw control characters, as `json.dumps` would escape them.

    msgspec leaves DEL, C1 and bidirectional controls as they are; RFC 8259 allows that, a terminal does not deserve it.
    """
    text = document.decode("utf-8", "backslashreplace")
    return re.sub(
        "[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]", lambda m: f"\\u{ord(m.group()):04x}", text
    )
