"""Real clients and servers, run as a script inside a namespace: `traffic.py serve …`, `traffic.py ask …`.

Knows nothing of topologies; only the standard library, so that it starts in any Python.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "sctp": socket.SOCK_STREAM}
IPPROTO_SCTP = 132
IP_TRANSPARENT = 19
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = 10, 23
HEADERS = {"udp": (28, 48), "icmp": (28, 48), "icmpv6": (28, 48)}  # of IPv4 and IPv6 packets, in bytes
ECHO = b"netdoctor" * 6


def serve(specifications: list[list[Any]]) -> None:
    """Echo on every (proto, address, port); say `ready` once all listen. An empty address is both families.

    A fourth part that is true makes the socket a transparent one (IP_TRANSPARENT).
    """
    listening = {
        _listener(proto, address, port, transparent=any(more)): proto for proto, address, port, *more in specifications
    }
    print("ready", flush=True)  # noqa: T201
    connected: set[socket.socket] = set()
    while True:
        ready, _, _ = select.select([*listening, *connected], [], [])
        for one in ready:
            if one not in listening:
                _answer(one, connected)
            elif listening[one] == "udp":
                with contextlib.suppress(
                    OSError
                ):  # an ICMP error of an earlier answer, or no way back: the next one may do
                    peer = one.recvfrom(65536)[1]
                    one.sendto(_said(peer), peer)
            else:
                with contextlib.suppress(OSError):
                    connected.add(one.accept()[0])


def _listener(proto: str, address: str, port: int, *, transparent: bool) -> socket.socket:
    family = _family(address) if address else _widest_family()
    one = socket.socket(family, PROTOS[proto], IPPROTO_SCTP if proto == "sctp" else 0)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6 and not address:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if transparent:
        one.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
    one.bind((address, port))
    if proto != "udp":
        one.listen(64)
    return one


def _widest_family() -> socket.AddressFamily:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
            one.bind(("::", 0))
    except OSError:
        return socket.AF_INET
    return socket.AF_INET6


def _answer(one: socket.socket, connected: set[socket.socket]) -> None:
    with contextlib.suppress(OSError):
        if one.recv(65536):
            one.sendall(_said(one.getpeername()))
            return
    connected.discard(one)
    one.close()


def _said(peer: tuple[Any, ...]) -> bytes:
    return f"{peer[0].removeprefix('::ffff:')} {peer[1]}\n".encode()


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def ask(flow: dict[str, Any]) -> dict[str, Any]:
    """Send what a flow describes: two exchanges, so that the packet after the first answer is seen too.

    Returns {"connects", "error", "peer", "exchanges"}; `peer` is the sender as the server saw it.
    """
    answered, peer, error = 0, None, None
    try:
        for peer in _exchanges(flow) if flow["proto"] in PROTOS else _echoes(flow):  # noqa: B007
            answered += 1
    except TimeoutError:
        error = "timeout"
    except OSError as failure:
        error = errno.errorcode.get(failure.errno or 0, str(failure))
    return {"connects": "yes" if answered == 2 else "no", "error": error, "peer": peer, "exchanges": answered}


def _open(flow: dict[str, Any], kind: int, proto: int) -> socket.socket:
    """Open a socket with what the flow says of the sender. A socket belongs to whom opens it: `owner` looks at that."""
    family = _family(flow["dst"])
    six = family == socket.AF_INET6
    if flow.get("gid") is not None:
        os.setegid(flow["gid"])
    if flow.get("uid") is not None:
        os.seteuid(flow["uid"])
    one = socket.socket(family, kind, proto)
    os.seteuid(os.getuid())
    os.setegid(os.getgid())
    one.settimeout(flow["timeout"])
    if flow.get("mark"):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, flow["mark"])
    if flow.get("tos"):
        one.setsockopt(
            *((socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if six else (socket.IPPROTO_IP, socket.IP_TOS)), flow["tos"]
        )
    if flow.get("ttl"):
        hops = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if six else (socket.IPPROTO_IP, socket.IP_TTL)
        one.setsockopt(*hops, flow["ttl"])
    if flow.get("df") is not None:
        discover = (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER) if six else (socket.IPPROTO_IP, IP_MTU_DISCOVER)
        one.setsockopt(*discover, 2 if flow["df"] else 0)
    return one


def _exchanges(flow: dict[str, Any]) -> Iterator[str]:
    """Two lines over one connection, or two datagrams; yields the sender as the server saw it."""
    with _open(flow, PROTOS[flow["proto"]], IPPROTO_SCTP if flow["proto"] == "sctp" else 0) as one:
        if flow.get("src") or flow.get("sport"):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((flow.get("src") or "", flow.get("sport") or 0))
        one.connect((flow["dst"], flow["dport"]))
        for number in (1, 2):
            one.send(f"{number}".encode().ljust(_payload(flow, 1), b"."))
            said = one.recv(65536).decode()
            if not said:
                raise ConnectionResetError(errno.ECONNRESET, "closed")
            yield said.strip()


def _payload(flow: dict[str, Any], default: int) -> int:
    """Return how many bytes of payload make a packet of the flow's size; a TCP segment's are the kernel's choice."""
    headers = HEADERS.get(flow["proto"])
    return max(0, flow["size"] - headers[":" in flow["dst"]]) if flow.get("size") and headers else default


def _echoes(flow: dict[str, Any]) -> Iterator[None]:
    """Two echo requests, each with its reply; the identifier tells ours from others'."""
    six = ":" in flow["dst"]
    proto, request = (58, 128) if six else (1, 8)
    identity = flow.get("sport") or os.getpid() & 0xFFFF
    with _open(flow, socket.SOCK_RAW, proto) as one:
        if flow.get("src"):
            one.bind((flow["src"], 0))
        one.connect((flow["dst"], 0))
        body = ECHO.ljust(_payload(flow, 56), b".")[: _payload(flow, 56)]
        for sequence in (1, 2):
            message = struct.pack("!BBHHH", request, 0, 0, identity, sequence) + body
            one.send(message if six else message[:2] + _checksum(message) + message[4:])
            _await_reply(one, six=six, wanted=(identity, sequence), seconds=flow["timeout"])
            yield None


def _await_reply(one: socket.socket, *, six: bool, wanted: tuple[int, int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        one.settimeout(left)
        data = one.recv(65536)
        message = data if six else data[(data[0] & 15) * 4 :]
        if len(message) >= 8 and message[0] == (129 if six else 0) and struct.unpack("!HH", message[4:8]) == wanted:
            return


def _checksum(message: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(message) // 2}H", message if len(message) % 2 == 0 else message[:-1]))
    total += message[-1] << 8 if len(message) % 2 else 0
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    if sys.argv[1] == "serve":
        serve(given)
    else:
        print(json.dumps(ask(given)))  # noqa: T201
