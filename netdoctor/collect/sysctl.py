"""The `net.*` sysctls: read from /proc/sys of the namespace that the process is in, or from what `sysctl -a` printed.

Knows nothing of what they mean. A dot in an interface's name is written as `/`, as sysctl(8) does.
"""

from __future__ import annotations

import os

# Keys of secrets, and those whose reading does something or fails always.
SECRETS = frozenset({"stable_secret", "tcp_fastopen_key"})
_WRITE_ONLY = frozenset({"flush"})
_ROOT = "/proc/sys/net"


def read() -> dict[str, str]:
    """Return every readable sysctl of this process's network namespace. Values keep their inner blanks."""
    found: dict[str, str] = {}
    _walk(_ROOT, "net", found)
    return found


def _walk(path: str, name: str, found: dict[str, str]) -> None:
    try:
        entries = list(os.scandir(path))
    except OSError:
        return
    for entry in entries:
        key = f"{name}.{entry.name.replace('.', '/')}"
        if entry.is_dir(follow_symlinks=False):
            _walk(entry.path, key, found)
        elif entry.name not in SECRETS and entry.name not in _WRITE_ONLY:
            try:
                with open(entry.path, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
                    found[key] = stream.read().strip()
            except OSError:
                continue  # EIO, EACCES: the kernel has nothing to say here


def parse(text: str) -> dict[str, str]:
    """Return the `net.*` lines of `sysctl -a`, secrets left out."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        name = name.strip()
        if equals and name.startswith("net.") and name.rpartition(".")[2] not in SECRETS:
            found[name] = value.strip()
    return found
