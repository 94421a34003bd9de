"""A flow as a user asks for it: INTERFACE "A flow, in". The lab sends it, the simulator traces it.

Knows nothing of namespaces that exist, routes, or what becomes of the packet.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Proto = Literal["tcp", "udp", "icmp", "icmpv6", "sctp"]

Expect = Literal["yes", "no"]


class Flow(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """One line of `--flows`: a packet to be asked about, and what is expected of it.

    `from_` and `to` are FROM and TO of the command line; `to` may already be a bare address with `proto` and `dport`.
    """

    from_: str = msgspec.field(name="from")
    to: str
    id: str | None = None
    proto: Proto | None = None  # default: tcp where there is a port, else an echo request
    dport: int | None = None
    src: str | None = None
    sport: int | None = None  # default 40000; for echo requests the icmp_id
    mark: int = 0
    uid: int | None = None
    gid: int | None = None
    in_: str | None = msgspec.field(name="in", default=None)
    smac: str | None = None
    dmac: str | None = None
    size: int | None = None
    reply_size: int | None = None
    df: bool | None = None
    ttl: int | None = None
    tos: int = 0
    flags: str = "SYN"
    icmp_type: int | None = None
    icmp_code: int | None = None
    payload: str = ""
    expect: Expect | None = None
