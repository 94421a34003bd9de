"""What a rule wants done with a packet: the closed set of effects that targets return and the simulator carries out.

Knows nothing of how an effect is carried out. Header changes (MARK, TTL, TOS, …) are made on the packet by the target
itself, which then returns `CONTINUE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Continue:
    """XT_CONTINUE: go on with the next rule."""


@dataclass(frozen=True, slots=True)
class Accept:
    """NF_ACCEPT: leave this table's hook."""


@dataclass(frozen=True, slots=True)
class Drop:
    """NF_DROP."""

    reason: str = "NETFILTER_DROP"
    errno: str | None = None  # what a local sender's send() returns; None: EPERM


@dataclass(frozen=True, slots=True)
class Return:
    """XT_RETURN: back to the calling chain, or to the policy in a built-in one."""


@dataclass(frozen=True, slots=True)
class Jump:
    """To a user-defined chain; `goto` leaves no way back."""

    chain: str
    goto: bool = False


@dataclass(frozen=True, slots=True)
class Reject:
    """Drop, and answer with an ICMP error (`icmp-port-unreachable`, …) or a TCP reset (`tcp-reset`)."""

    answer: str


@dataclass(frozen=True, slots=True)
class Nat:
    """Bind the connection's source or destination into a range (nf_nat_setup_info). None: not changed.

    An exact mapping has `first == last`. `masquerade`: the source is chosen from the outgoing interface;
    `redirect`: the destination is the incoming interface's primary address, or loopback in OUTPUT;
    `netmap`: only the bits under `netmap_mask` are replaced.
    """

    manip: Literal["src", "dst"]
    first_address: int | None = None
    last_address: int | None = None
    first_port: int | None = None
    last_port: int | None = None
    base_port: int | None = None  # --to-ports A-B/BASE: shifted port maps
    random: bool = False
    random_fully: bool = False
    persistent: bool = False
    masquerade: bool = False
    redirect: bool = False
    netmap_mask: int | None = None


@dataclass(frozen=True, slots=True)
class NoTrack:
    """Attach the untracked template: `--ctstate UNTRACKED`, nat is not asked."""


@dataclass(frozen=True, slots=True)
class CtTemplate:
    """raw CT: zone, helper, timeout or events for the connection to be made. Accounting only sets nothing here."""

    zone: int | None = None
    zone_direction: Literal["both", "original", "reply"] = "both"
    zone_from_mark: bool = False
    helper: str | None = None
    timeout: str | None = None
    synproxy: bool = False  # of the SYN that SYNPROXY sends to the server


@dataclass(frozen=True, slots=True)
class Queue:
    """NFQUEUE: a program decides. With `bypass`, it is accepted where nobody listens."""

    number: int
    bypass: bool = False


@dataclass(frozen=True, slots=True)
class SynProxy:
    """The kernel answers a SYN itself, and takes the ACK that proves the client."""


@dataclass(frozen=True, slots=True)
class Tee:
    """A copy goes to `gateway`; the packet itself goes on."""

    gateway: int
    oif: str | None = None


@dataclass(frozen=True, slots=True)
class Undecided:
    """A target that is not modelled: what becomes of the packet is unknown."""

    why: str


Effect = (
    Continue | Accept | Drop | Return | Jump | Reject | Nat | NoTrack | CtTemplate | Queue | SynProxy | Tee | Undecided
)

CONTINUE, ACCEPT, RETURN = Continue(), Accept(), Return()
