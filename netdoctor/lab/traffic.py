"""Real clients and servers, run as a script inside a namespace: `traffic.py serve …`, `traffic.py ask …`.

Knows nothing of topologies; only the standard library, so that it starts in any Python.
"""

import errno
import json
import os
import select
import socket
import struct
import sys
import time

PROTOS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def serve(specifications: list) -> None:
    """Echo on every (proto, address, port); say `ready` once all listen. An empty address is both families."""
    listening = {}
    for proto, address, port in specifications:
        families = [socket.AF_INET6, socket.AF_INET] if not address else [_family(address)]
        for family in families[: 1 if not address else None]:
            one = socket.socket(family, PROTOS[proto])
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and not address:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            one.bind((address, port))
            if proto == "tcp":
                one.listen(64)
            listening[one] = proto
    print("ready", flush=True)  # noqa: T201
    connected = set()
    while True:
        ready, _, _ = select.select([*listening, *connected], [], [])
        for one in ready:
            if listening.get(one) == "tcp":
                connected.add(one.accept()[0])
            elif one in listening:
                _, peer = one.recvfrom(65536)
                one.sendto(_said(peer), peer)
            else:
                _answer(one, connected)


def _answer(one: socket.socket, connected: set) -> None:
    try:
        line = one.recv(65536)
        if line:
            one.sendall(_said(one.getpeername()))
            return
    except OSError:
        pass
    connected.discard(one)
    one.close()


def _said(peer: tuple) -> bytes:
    return f"{peer[0].removeprefix('::ffff:')} {peer[1]}\n".encode()


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def ask(flow: dict) -> dict:
    """Send what a flow describes: two exchanges, so that the packet after the first answer is seen too.

    Returns {"connects", "error", "peer", "exchanges"}; `peer` is the sender as the server saw it.
    """
    answered, peer, error = 0, None, None
    try:
        if flow["proto"] in PROTOS:
            for peer in _exchanges(flow):  # noqa: B007
                answered += 1
        else:
            for _ in _echoes(flow):
                answered += 1
    except TimeoutError:
        error = "timeout"
    except OSError as failure:
        error = errno.errorcode.get(failure.errno or 0, str(failure))
    return {"connects": "yes" if answered == 2 else "no", "error": error, "peer": peer, "exchanges": answered}


def _exchanges(flow: dict):  # noqa: ANN202  # an iterator of the sender's address
    with socket.socket(_family(flow["dst"]), PROTOS[flow["proto"]]) as one:
        one.settimeout(flow["timeout"])
        if flow.get("mark"):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, flow["mark"])
        if flow.get("src") or flow.get("sport"):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((flow.get("src") or "", flow.get("sport") or 0))
        one.connect((flow["dst"], flow["dport"]))
        for number in (1, 2):
            one.send(f"{number}\n".encode())
            said = one.recv(65536).decode()
            if not said:
                raise ConnectionResetError(errno.ECONNRESET, "closed")
            yield said.strip()


def _echoes(flow: dict):  # noqa: ANN202
    """Two echo requests, each with its reply; the identifier tells ours from others'."""
    six = ":" in flow["dst"]
    family, proto = (socket.AF_INET6, 58) if six else (socket.AF_INET, 1)
    request, reply = (128, 129) if six else (8, 0)
    with socket.socket(family, socket.SOCK_RAW, proto) as one:
        identity = flow.get("sport") or os.getpid() & 0xFFFF
        if flow.get("src"):
            one.bind((flow["src"], 0))
        one.connect((flow["dst"], 0))
        for sequence in (1, 2):
            message = struct.pack("!BBHHH", request, 0, 0, identity, sequence) + b"netdoctor" * 6
            one.send(message if six else message[:2] + _checksum(message) + message[4:])
            deadline = time.monotonic() + flow["timeout"]
            while True:
                one.settimeout(max(0.001, deadline - time.monotonic()))
                data = one.recv(65536)
                body = data if six else data[(data[0] & 15) * 4 :]
                kind, code, _, got, number = struct.unpack("!BBHHH", body[:8])
                if kind == reply and (got, number) == (identity, sequence):
                    yield sequence
                    break
                if kind in {3, 1} and not six and kind == 3:
                    raise OSError(errno.EHOSTUNREACH, f"ICMP {kind}/{code}")


def _checksum(message: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    if sys.argv[1] == "serve":
        serve(given)
    else:
        print(json.dumps(ask(given)))  # noqa: T201
