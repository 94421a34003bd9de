"""Hears the kernel's own trace in a namespace: which rules packets met, in what order, as nf_tables and x_tables tell.

Knows nothing of the simulator. What `nft monitor trace` prints comes from the same messages; they are read here, not
parsed from text. Kernel: net/netfilter/nf_tables_trace.c:nft_trace_notify; net/ipv4/netfilter/ip_tables.c:trace_packet,
through net/netfilter/nfnetlink_log.c:nfulnl_log_packet.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NETLINK_NETFILTER, SOL_NETLINK, ADD_MEMBERSHIP, RCVBUFFORCE = 12, 270, 1, 33
NFNLGRP_NFTRACE, SUBSYS_NFTABLES, SUBSYS_ULOG, MSG_TRACE = 9, 10, 4, 17
FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
TABLE, CHAIN, HANDLE, TYPE, POLICY = 1, 2, 3, 4, 16  # enum nft_trace_attributes
IS_POLICY, IS_RULE = 1, 3  # enum nft_trace_types
NFULA_PREFIX, NFULA_CFG_CMD, NFULA_CFG_MODE, NFULA_CFG_QTHRESH = 10, 1, 2, 5
LEGACY = re.compile(r"TRACE: (\w+):(\S+):(rule|return|policy):(\d+)")
OURS = "traced"
# Of ICMP only echoes: errors and neighbour discovery are not the flow's own packets.
TRACED = """
    icmp type { echo-request, echo-reply } meta nftrace set 1
    icmpv6 type { echo-request, echo-reply } meta nftrace set 1
    meta l4proto != { icmp, icmpv6, igmp } meta nftrace set 1
"""
TRACER = f"""
table inet {OURS} {{
  chain in {{ type filter hook prerouting priority -500; {TRACED} }}
  chain out {{ type filter hook output priority -500; {TRACED} }}
}}
"""


Met = tuple[str, str, str, str, int]  # backend, family, table, chain, and the rule's handle or place


class Listener:
    """Traces every packet in the namespace that it is made in: a rule in a table of its own asks for it."""

    def __init__(self) -> None:
        # x_tables has nowhere to write to in a namespace that nobody gave a logger.
        for family in (2, 10):
            Path(f"/proc/sys/net/netfilter/nf_log/{family}").write_text("nfnetlink_log", encoding="ascii")
        self._logs = _opened()
        for kind, value in (
            (NFULA_CFG_CMD, struct.pack("B", 1)),  # bind
            (NFULA_CFG_MODE, struct.pack("!IBB", 0, 1, 0)),  # no payload
            (NFULA_CFG_QTHRESH, struct.pack("!I", 1)),  # do not gather
        ):
            _configure(self._logs, kind, value)
        self._traces = _opened()
        self._traces.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, NFNLGRP_NFTRACE)
        subprocess.run(["nft", "-f", "-"], input=TRACER, text=True, check=True, capture_output=True)

    def heard(self) -> list[Met]:
        """Return what came since the last time: of each backend in the order in which packets met it.

        The last part is a rule's handle in nft, where 0 is a policy that drops; in legacy its place in the chain, whose
        end counts as one place more.
        """
        return [*_read(self._traces, _of_nft), *_read(self._logs, _of_legacy)]

    def close(self) -> None:
        self._traces.close()
        self._logs.close()


def _opened() -> socket.socket:
    one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    one.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, 1 << 22)
    one.bind((0, 0))
    return one


def _configure(one: socket.socket, kind: int, value: bytes) -> None:
    attribute = struct.pack("=HH", 4 + len(value), kind) + value
    body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0) + attribute + b"\0" * (-len(attribute) % 4)
    one.send(struct.pack("=IHHII", 16 + len(body), SUBSYS_ULOG << 8 | 1, 5, 0, 0) + body)
    failed = struct.unpack_from("=i", one.recv(4096), 16)[0]
    if failed:
        raise OSError(-failed, "nfnetlink_log")


def _read(one: socket.socket, read: Callable[[int, int, dict[int, bytes]], Met | None]) -> Iterator[Met]:
    with contextlib.suppress(BlockingIOError):
        while True:
            data = one.recv(1 << 18, socket.MSG_DONTWAIT)
            while len(data) >= 20:
                length, kind = struct.unpack_from("=IH", data)
                found = read(kind, data[16], dict(_attributes(data[20:length])))
                if found is not None:
                    yield found
                data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & 0x3FFF, data[4:length]
        data = data[max((length + 3) & ~3, 4) :]


def _of_nft(kind: int, family: int, found: dict[int, bytes]) -> Met | None:
    if kind != SUBSYS_NFTABLES << 8 | MSG_TRACE:
        return None
    table, chain = (found.get(which, b"").rstrip(b"\0").decode() for which in (TABLE, CHAIN))
    (what,) = struct.unpack("!I", found[TYPE])
    if table == OURS or what not in (IS_RULE, IS_POLICY):
        return None
    if what == IS_POLICY:
        drops = struct.unpack("!I", found[POLICY])[0] == 0
        return ("nft", FAMILIES[family], table, chain, 0) if drops else None
    if HANDLE not in found:  # the end of a chain, which has no rule
        return None
    return ("nft", FAMILIES[family], table, chain, struct.unpack("!Q", found[HANDLE])[0])


def _of_legacy(kind: int, family: int, found: dict[int, bytes]) -> Met | None:
    said = LEGACY.match(found.get(NFULA_PREFIX, b"").decode()) if kind == SUBSYS_ULOG << 8 else None
    return None if said is None else ("legacy", FAMILIES[family], said[1], said[2], int(said[4]))
