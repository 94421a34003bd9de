"""What `conntrack -L -o extended` or /proc/net/nf_conntrack prints, as entries.

Knows nothing of what they do to a packet.

Kernel: net/netfilter/nf_conntrack_standalone.c:ct_seq_show
"""

from __future__ import annotations

import re

from netdoctor.model.snapshot import ConntrackEntry, Tuple

_FAMILIES = {"ipv4": "ip", "ipv6": "ip6"}
_PAIR = re.compile(r"([a-z-]+)=(\S+)")
_FLAG = re.compile(r"\[([A-Z_]+)\]")


def parse(text: str) -> tuple[ConntrackEntry, ...]:
    """Return the entries; lines that are not one are left out."""
    return tuple(found for line in text.splitlines() if (found := _entry(line)) is not None)


def _entry(line: str) -> ConntrackEntry | None:
    words = line.split(None, 6)
    if not words:
        return None
    if words[0] in _FAMILIES:
        family, proto, rest = _FAMILIES[words[0]], words[2], words[4:]
    else:  # without -o extended
        proto, rest = words[0], words[2:]
        family = "ip6" if re.search(r"src=\S*:", line) else "ip"
    pairs = _PAIR.findall(line)
    starts = [index for index, (name, _) in enumerate(pairs) if name == "src"]
    if len(starts) < 2:
        return None
    numbers = [word for word in rest[:2] if word.isdecimal()]
    states = [word for word in rest[:2] if word.isupper() and word.isidentifier()]
    tail = dict(pairs[starts[1] :])
    return ConntrackEntry(
        family=family,
        proto=proto,
        original=_tuple(dict(pairs[starts[0] : starts[1]])),
        reply=_tuple(dict(pairs[starts[1] :])),
        state=states[0] if states else None,
        timeout=int(numbers[0]) if numbers else None,
        status=tuple(_FLAG.findall(line)),
        mark=int(tail.get("mark", "0"), 0),
        zone=int(tail.get("zone", "0")),
        zone_orig=_maybe(tail.get("zone-orig")),
        zone_reply=_maybe(tail.get("zone-reply")),
        helper=tail.get("helper"),
    )


def _tuple(pairs: dict[str, str]) -> Tuple:
    return Tuple(
        src=pairs["src"],
        dst=pairs.get("dst", ""),
        sport=_maybe(pairs.get("sport")),
        dport=_maybe(pairs.get("dport")),
        icmp_type=_maybe(pairs.get("type")),
        icmp_code=_maybe(pairs.get("code")),
        icmp_id=_maybe(pairs.get("id")) if "type" in pairs else None,
        packets=_maybe(pairs.get("packets")),
        bytes=_maybe(pairs.get("bytes")),
    )


def _maybe(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def stats(text: str) -> dict[str, int]:
    """Return /proc/net/stat/nf_conntrack summed over the processors: insert_failed, drop, early_drop, invalid, …

    `entries` is the same on every line (the namespace's own count) and is not summed.
    """
    lines = text.splitlines()
    if len(lines) < 2:
        return {}
    names = lines[0].split()
    rows = [[int(value, 16) for value in line.split()] for line in lines[1:]]
    return {
        name: rows[0][column] if name == "entries" else sum(row[column] for row in rows if column < len(row))
        for column, name in enumerate(names)
    }
