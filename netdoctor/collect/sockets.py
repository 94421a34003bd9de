"""What `ss -H -O -l -n -e --inet-sockopt` prints, as sockets. Knows nothing of processes beyond an inode's holder.

Source: ss(8), iproute2 misc/ss.c
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netdoctor.model.snapshot import Socket

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROTOS = frozenset({"tcp", "udp", "sctp", "raw", "udplite", "dccp", "mptcp"})
_USERS = re.compile(r'users:\(\("((?:[^"\\]|\\.)*)",pid=(\d+)')
_OPTIONS = re.compile(r"inet-sockopt: \(([^)]*)\)")
_DETAIL = re.compile(r"\b(uid|ino|v6only|fwmark):(0x[0-9a-f]+|\d+)")


def parse(text: str, holders: Mapping[int, tuple[str, int]] | None = None) -> tuple[Socket, ...]:
    """Return the sockets of `ss -lntuH`, with or without `-e -p`.

    `holders`: socket inode -> (program, pid), where `-p` was not asked for. Lines that are not sockets are left out.
    """
    return tuple(found for line in text.splitlines() if (found := _socket(line, holders or {})) is not None)


def _socket(line: str, holders: Mapping[int, tuple[str, int]]) -> Socket | None:
    words = line.split()
    if len(words) < 6 or words[0] not in _PROTOS:
        return None
    local, peer = _endpoint(words[4]), _endpoint(words[5])
    if local is None or peer is None:
        return None
    details = {name: int(value, 0) for name, value in _DETAIL.findall(line)}
    program, pid = holders.get(details.get("ino", -1), (None, None))
    if (user := _USERS.search(line)) is not None:
        program, pid = user[1], int(user[2])
    address, dev, port = local
    wildcard = address == "*"
    options = _OPTIONS.search(line)
    bound = peer[0] not in {"*", "0.0.0.0", "::"}  # noqa: S104
    return Socket(
        family="ip6" if ":" in address or wildcard else "ip",
        proto="raw" if words[0] == "raw" else words[0],
        state=words[1],
        address="::" if wildcard else address,
        port=port,
        peer=peer[0] if bound else None,
        peer_port=peer[2] if bound else None,
        dev=dev,
        v6only=bool(details.get("v6only")),
        transparent=None if options is None else "transparent" in options[1].split(),
        uid=details.get("uid", 0) if "ino" in details else None,
        inode=details.get("ino"),
        mark=details.get("fwmark", 0),
        program=program,
        pid=pid,
    )


def _endpoint(text: str) -> tuple[str, str | None, int] | None:
    """Split `10.0.0.1%eth0:80`, `[::]:80`, `*:80`, `127.0.0.1:icmp`; a port that is no number is 0."""
    address, colon, port = text.rpartition(":")
    if not colon:
        return None
    address, _, dev = address.partition("%")
    if address.startswith("["):
        address = address.removeprefix("[").removesuffix("]")
    dev = dev.removesuffix("]")
    return address, dev or None, int(port) if port.isdecimal() else 0
