"""What a trace says: INTERFACE "A flow, out" as structs. Text, JSON, TUI and tests all read these.

Knows nothing of how the answer was found. Field order is the JSON's order.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from netdoctor.model.flow import Flow

Connects = Literal["yes", "no", "sometimes", "unknown"]

Verdict = Literal[
    "delivered", "refused", "dropped", "rejected", "unreachable", "martian", "not-forwarded", "no-neighbour",
    "link-down", "too-big", "ttl-exceeded", "loop", "left", "unknown",
]  # fmt: skip

CauseKind = Literal[
    "rule", "policy", "route", "rp_filter", "martian", "sysctl", "neighbour", "link", "bridge", "socket", "mtu",
    "nat-bypassed", "conntrack", "ipvs", "hook-order", "unmodelled",
]  # fmt: skip

Stage = Literal[
    "send", "receive", "bridge", "raw", "conntrack", "mangle", "nat", "filter", "security", "nft", "ipvs", "synproxy",
    "route", "neighbour", "encapsulate", "decapsulate", "transmit", "deliver",
]  # fmt: skip


class Outer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outer header while a tunnel carries the packet."""

    proto: str
    src: str
    dst: str
    sport: int | None = None
    dport: int | None = None
    vni: int | None = None


class PacketView(msgspec.Struct, frozen=True):
    """The packet after a step."""

    proto: str
    src: str
    sport: int | None
    dst: str
    dport: int | None
    mark: int = 0
    size: int = 0
    ttl: int = 0
    ctstate: str | None = None
    ctmark: int = 0
    outer: Outer | None = None
    sport_range: tuple[int, int] | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One stage, or one rule that matched."""

    stage: Stage
    netns: str
    hook: str | None = None
    in_: str | None = msgspec.field(name="in", default=None)
    out: str | None = None
    physin: str | None = None
    physout: str | None = None
    family: str | None = None
    backend: str | None = None
    table: str | None = None
    chain: str | None = None
    rule: int | None = None
    handle: int | None = None
    text: str | None = None  # the rule as its tool prints it
    owner: str | None = None
    action: str | None = None  # ACCEPT, DNAT, jump CHAIN, policy ACCEPT, forward, …
    note: str | None = (
        None  # one clause for a person: "10.96.0.10:80 => 10.244.0.3:8080", "default via 10.244.0.1 dev eth0"
    )
    cost: float | None = None
    packet: PacketView | None = None


class Final(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a packet ended, with what addresses."""

    netns: str
    interface: str | None
    src: str
    sport: int | None
    dst: str
    dport: int | None
    next_hop: str | None = None
    sport_range: tuple[int, int] | None = None
    program: str | None = None


class Cause(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What decided that the packet did not get through."""

    kind: CauseKind
    netns: str
    drop_reason: str | None = None
    family: str | None = None
    backend: str | None = None
    table: str | None = None
    chain: str | None = None
    rule: int | None = None
    handle: int | None = None
    text: str | None = None
    owner: str | None = None
    sysctl: str | None = None
    interface: str | None = None
    detail: str | None = None
    step: int | None = None  # index into the outcome's steps, requests first, then the reply's: where it went wrong


class SenderError(msgspec.Struct, frozen=True):
    """What the sender learns."""

    type: Literal["timeout", "reset", "icmp", "local"]
    icmp: str | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    reaches_sender: bool | None = None
    errno: str | None = None


class Reply(msgspec.Struct, frozen=True):
    """The way of the first answer, or of the next packet in the original direction."""

    verdict: Verdict
    final: Final | None
    matches_flow: bool
    cause: Cause | None
    error: SenderError | None
    steps: tuple[Step, ...]


class Outcome(msgspec.Struct, frozen=True):
    """A whole round trip, and how likely it is (None: it hangs on something unknown)."""

    probability: float | None
    verdict: Verdict
    final: Final | None
    cause: Cause | None
    error: SenderError | None
    steps: tuple[Step, ...]
    reply: Reply | None = None
    next: Reply | None = None  # the next packet in the original direction, where the answer was accepted
    connects: Connects = "unknown"
    undecided: tuple[str, ...] = ()  # what this branch assumed of unknown answers


class Trace(msgspec.Struct, frozen=True):
    """The answer to one flow."""

    id: str | None
    flow: Flow
    connects: Connects
    assumed: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
