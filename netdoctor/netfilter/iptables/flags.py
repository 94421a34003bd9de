"""Names of TCP flags. Knows nothing of matches."""

from __future__ import annotations

from netdoctor.netfilter.packet import TCP_FLAGS


def tcp_flags(text: str) -> int:
    """Return the bits of `SYN,ACK`, of `ALL` (the six classic ones) or `NONE`. Raises: KeyError."""
    bits = 0
    for name in text.upper().split(","):
        bits |= {"ALL": 0x3F, "NONE": 0}.get(name, 0) if name in {"ALL", "NONE"} else TCP_FLAGS[name]
    return bits
