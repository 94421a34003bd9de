"""The connection that matches may ask about. Knows nothing of how connections come to be.

Kernel: include/net/netfilter/nf_conntrack.h:nf_ct_get
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import ICMP, ICMPV6

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Connection, ConnTuple, Packet

_PORTED = frozenset({6, 17, 33, 132, 136})


def tracked(packet: Packet) -> Connection | None:
    """Return the packet's conntrack entry; an invalid, an untracked and a not yet tracked packet has none."""
    return None if packet.ctstate in {None, "INVALID", "UNTRACKED"} else packet.connection


def ports_of(tuple_: ConnTuple) -> tuple[int | None, int | None]:
    """Return both halves of a tuple as the kernel's `src.u.all` and `dst.u.all`.

    None: the kernel is still free to pick.

    Echo requests have their id and type << 8 | code; protocols without ports have 0.
    """
    if tuple_.proto in {ICMP, ICMPV6}:
        kind = None if tuple_.icmp_type is None else tuple_.icmp_type << 8 | (tuple_.icmp_code or 0)
        return tuple_.sport, kind
    if tuple_.proto in _PORTED:
        return tuple_.sport, tuple_.dport
    return tuple_.sport or 0, tuple_.dport or 0
