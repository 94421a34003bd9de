"""Which namespace a `link_netnsid` means: the kernel's answer to RTM_GETNSID. Knows nothing of interfaces.

Source: rtnetlink(7), net/core/net_namespace.c:rtnl_net_getid
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_RTM_GETNSID = 90
_RTM_NEWNSID = 88
_NETNSA_NSID, _NETNSA_FD = 1, 3
_REQUEST = struct.Struct("=IHHIIBxxxHHI")  # nlmsghdr, rtgenmsg padded, one attribute: an int


def resolve(wanted: Iterable[int], candidates: Iterable[tuple[str, int]]) -> dict[int, str]:
    """Return nsid -> name for the ids that this process's namespace uses.

    `candidates`: (name, open descriptor of a namespace), the likeliest first; asking ends when all are known.
    """
    missing = set(wanted)
    found: dict[int, str] = {}
    if not missing:
        return found
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.settimeout(2)
        for name, descriptor in candidates:
            nsid = _ask(netlink, descriptor)
            if nsid in missing:
                found[nsid] = name
                missing.discard(nsid)
                if not missing:
                    break
    return found


def _ask(netlink: socket.socket, descriptor: int) -> int:
    """Return the id of an open namespace here, -1 where it has none."""
    netlink.send(_REQUEST.pack(_REQUEST.size, _RTM_GETNSID, 1, 1, 0, socket.AF_UNSPEC, 8, _NETNSA_FD, descriptor))
    answer = netlink.recv(4096)
    _, kind = struct.unpack_from("=IH", answer)
    if kind != _RTM_NEWNSID:
        return -1
    for number, value in _attributes(answer, 20):
        if number == _NETNSA_NSID:
            return int(struct.unpack_from("=i", value)[0])
    return -1


def _attributes(message: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    while offset + 4 <= len(message):
        length, number = struct.unpack_from("=HH", message, offset)
        if length < 4:
            return
        yield number, message[offset + 4 : offset + length]
        offset += (length + 3) & ~3
