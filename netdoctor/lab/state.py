"""The state of a namespace "as it was": what must be the same after an undo, and nothing that moves.

Knows nothing of who changes it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_COUNTERS = re.compile(r"\[\d+:\d+\]")
# What the kernel counts, draws, or lets only the first namespace set.
_MOVING = re.compile(
    r"net\.(ipv6\.conf\.\S+\.stable_secret|ipv4\.tcp_fastopen_key|nf_conntrack_max"
    r"|netfilter\.nf_conntrack_(count|max|buckets|expect_max)|ipv4\.(tcp|udp)_(child_)?(e?hash_entries|mem)) ="
)
_READERS = {
    "sysctls": ["sysctl", "-a", "-r", "^net\\."],
    "links": ["ip", "-d", "-o", "link"],
    "addresses": ["ip", "-o", "address"],
    "routes": ["ip", "route", "show", "table", "all"],
    "routes6": ["ip", "-6", "route", "show", "table", "all"],
    "rules": ["ip", "rule"],
    "rules6": ["ip", "-6", "rule"],
    "ports": ["bridge", "-d", "link"],
    "forwarding database": ["bridge", "fdb"],
    "proxies": ["ip", "neigh", "show", "proxy"],
    "permanent neighbours": ["ip", "neigh", "show", "nud", "permanent"],
    "iptables-nft": ["iptables-nft-save"],
    "ip6tables-nft": ["ip6tables-nft-save"],
    "nftables": ["nft", "-s", "list", "ruleset"],
    "ipsets": ["sh", "-c", "! command -v ipset >/dev/null || ipset save"],
}
_LEGACY = {"iptables-legacy": "/proc/net/ip_tables_names", "ip6tables-legacy": "/proc/net/ip6_tables_names"}


def read(run: Callable[[list[str]], str]) -> dict[str, str]:
    """Return the parts of the state by title; `run` executes a program in the namespace and returns its output."""
    state = {title: _settled(title, run(command)) for title, command in _READERS.items()}
    for tool, names in _LEGACY.items():
        # A table that is not registered equals an empty one; asking an unregistered one would register it.
        registered = run(["sh", "-c", f"cat {names} 2>/dev/null || true"]).strip()
        state[tool] = _without_empty_tables(_settled(tool, run([f"{tool}-save"]) if registered else ""))
    return state


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return one line for each that only one state has: `- host routes: …`, `+ host routes: …`."""
    found = []
    for title in before.keys() | after.keys():
        old, new = (state.get(title, "").splitlines() for state in (before, after))
        lost, won = set(old) - set(new), set(new) - set(old)
        found += [f"- {title}: {line}" for line in old if line in lost]
        found += [f"+ {title}: {line}" for line in new if line in won]
        if old != new and not lost and not won:
            found.append(f"~ {title}: the order, or how often a line stands there")
    return sorted(found, key=lambda line: (line[2:], line[0]))


def _settled(title: str, text: str) -> str:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    if title == "sysctls":
        lines = sorted(line for line in lines if not _MOVING.match(line))
    if title == "links":
        # Timers of bridges run, and who listens comes and goes; the rest of the line stays.
        lines = [re.sub(r"\S*_?timer +[\d.]+|\b(promiscuity|allmulti) \d+", "", line) for line in lines]
    if title.startswith("routes") or title == "addresses":
        lines = [re.sub(r"expires \d+sec|(valid_lft|preferred_lft) \d+sec", "", line).rstrip() for line in lines]
    if title == "forwarding database":
        lines = sorted(line for line in lines if re.search(r"\b(permanent|static)\b", line))
    return _COUNTERS.sub("", "\n".join(lines))


def _without_empty_tables(text: str) -> str:
    """Leave out tables with no rule, no chain of their own and only ACCEPT policies."""
    blocks = re.split(r"(?m)^(?=\*)", text)
    return "".join(block for block in blocks if re.search(r"(?m)^(-A|:\S+ (?!ACCEPT))", block))
