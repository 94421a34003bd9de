"""One walk: what it has seen so far (steps, connections, assumptions), and how a packet's way ends.

Knows nothing of how a packet moves; the files named after the kernel's parts do.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from netdoctor.netfilter.packet import ICMP, ICMPV6, PROTOCOL_NAMES, family_name, format_address
from netdoctor.simulate.trace import Cause, CauseKind, Final, Outer, PacketView, Stage, Step, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netdoctor.model.snapshot import Link, Socket
    from netdoctor.netfilter.packet import ConnTuple, Packet
    from netdoctor.simulate.choices import Choices
    from netdoctor.simulate.conntrack import Conntrack
    from netdoctor.topology.namespace import Netns
    from netdoctor.topology.world import World

T = TypeVar("T")
MAX_HOPS = 300  # devices that one packet may cross: more than any hop limit, so only a bridge loop gets there


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back where a packet ends: an ICMP error by its iptables name, or a TCP reset."""

    kind: str  # "icmp-port-unreachable", "icmp6-no-route", "ttl-exceeded", "frag-needed", "tcp-reset", …
    netns: Netns
    in_dev: str | None
    mtu: int | None = None
    bridge: str | None = None  # rejected while it was bridged


@dataclass(slots=True)
class Fate:
    """How a packet's way ended."""

    verdict: Verdict
    netns: Netns
    interface: str | None
    packet: Packet
    cause: Cause | None = None
    answer: Answer | None = None  # what is sent back; None: nothing
    errno: str | None = None  # what send() or connect() in the sending process returns
    silent: bool = False  # a local drop that TCP does not report
    next_hop: str | None = None
    program: str | None = None
    socket: Any = None  # the model's Socket that took it
    leaves_home: bool = False  # left by a device that leads to the outside, not to a namespace that was not read
    exit: tuple[Netns, Link] | None = None  # the device by which it left
    proxied: bool = False  # SYNPROXY has taken it, and answers
    sender: Netns | None = None  # the last namespace that routed or made it

    def final(self) -> Final:
        """Return where the packet ended, as a trace says it."""
        packet = self.packet
        return Final(
            netns=self.netns.name,
            interface=self.interface,
            src=format_address(packet.family, packet.src),
            sport=port_of(packet, "src"),
            dst=format_address(packet.family, packet.dst),
            dport=packet.dport,
            next_hop=self.next_hop,
            sport_range=packet.sport_range if packet.sport is None else None,
            program=self.program,
        )


Onward: TypeAlias = "Fate | Callable[[], Onward]"
"""What a stage gives back: the end, or the next stage. Stages are run one after the other, so no path is too deep."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user chose for all flows."""

    outside_answers: bool = False
    fresh: bool = False
    steps: bool = True  # whether the way is written down, or only where it ends


@dataclass(slots=True)
class Run:
    """The state of one walk."""

    world: World
    choices: Choices
    options: Options
    steps: list[Step] = field(default_factory=list)
    assumed: dict[str, None] = field(default_factory=dict)  # in order
    conntracks: dict[str, Conntrack] = field(default_factory=dict)
    vteps: dict[tuple[str, str, str], str] = field(default_factory=dict)  # netns, VXLAN device, MAC -> learned address
    balanced: dict[str, Any] = field(default_factory=dict)  # netns -> the connections that IPVS has (ipvs.Table)
    learned: dict[tuple[str, str, int, int], str] = field(default_factory=dict)  # netns, device, neighbour -> MAC
    picked: dict[Any, int] = field(default_factory=dict)  # multipath choices: one flow keeps its way
    muted: int = 0  # > 0: ICMP errors and other side packets, whose steps are not the flow's
    hops: int = 0
    visited: set[Any] = field(default_factory=set)
    phase: Literal["request", "reply", "next"] = "request"
    # netns, a connection's ends -> who has it
    accepted: dict[tuple[str, ConnTuple], Socket] = field(default_factory=dict)
    client: tuple[Netns, Packet] | None = None  # the process that began the flow, and the packet as it sent it
    proxied: dict[str, set[ConnTuple]] = field(default_factory=dict)  # netns -> whose SYN SYNPROXY has answered
    passed: dict[str, set[int]] = field(default_factory=dict)  # netns -> ids of connections seen in this phase

    @property
    def writes(self) -> bool:
        """Whether steps are written down: not those of side packets, and none where nobody will read them."""
        return self.options.steps and not self.muted

    def assume(self, what: str) -> None:
        """Note an assumption: it will be listed in the answer."""
        self.assumed.setdefault(what)

    def step(
        self,
        stage: Stage,
        netns: Netns,
        packet: Packet,
        *,
        action: str | None = None,
        note: str | None = None,
        hook: str | None = None,
        **where: Any,
    ) -> None:
        """Write a step down, with the packet as it is now."""
        if not self.writes:
            return
        self.steps.append(
            Step(
                stage=stage,
                netns=netns.name,
                hook=hook,
                in_=packet.in_dev,
                out=packet.out_dev,
                physin=packet.phys_in,
                physout=packet.phys_out,
                action=action,
                note=note,
                packet=view(packet),
                **({"family": family_name(packet.family)} | where),
            )
        )

    def last_step(self) -> int | None:
        """Return the index of the step that was written last."""
        return len(self.steps) - 1 if self.steps and not self.muted else None

    def cause(self, kind: CauseKind, netns: Netns, **where: Any) -> Cause:
        """Return a cause that points to the last step."""
        return Cause(kind=kind, netns=netns.name, **({"step": self.last_step()} | where))

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Walk a side packet: its steps are not the flow's, and the flow's own way goes on from where it was."""
        hops, phase, visited = self.hops, self.phase, self.visited
        self.muted += 1
        self.hops, self.visited = 0, set()
        try:
            yield
        finally:
            self.muted -= 1
            self.hops, self.phase, self.visited = hops, phase, visited

    def remembered(self, netns: Netns, key: tuple[object, ...], walk: Callable[[], T]) -> T:
        """Walk a side packet once for every packet of a world, unless something forks on its way."""
        known: T | None = netns.cache.get(key)
        if known is None:
            with self.aside():
                known = walk()
            if not self.choices.taken:  # what was chosen before may decide here too
                netns.cache[key] = known
        return known

    def choose(self, labels: list[str], weights: list[float] | None = None) -> int:
        """Fork. See `Choices.choose`."""
        return self.choices.choose(labels, weights)

    def travel(self, stage: Onward) -> Fate:
        """Run stages until the packet's way ends."""
        while not isinstance(stage, Fate):
            stage = stage()
        return stage


def protocol(packet: Packet) -> str:
    """Return the protocol's name."""
    return PROTOCOL_NAMES.get(packet.proto, str(packet.proto))


def port_of(packet: Packet, side: Literal["src", "dst"]) -> int | None:
    """Return a port as traces show it: an echo request's identifier stands for its source port."""
    if packet.proto in (ICMP, ICMPV6):
        return packet.icmp_id if side == "src" else None
    return packet.sport if side == "src" else packet.dport


def view(packet: Packet) -> PacketView:
    """Return the packet as a step shows it."""
    family = packet.family
    return PacketView(
        proto=protocol(packet),
        src=format_address(family, packet.src),
        sport=port_of(packet, "src"),
        dst=format_address(family, packet.dst),
        dport=packet.dport,
        mark=packet.mark,
        size=packet.size,
        ttl=packet.ttl,
        ctstate=packet.ctstate,
        ctmark=packet.connection.mark if packet.connection is not None else 0,
        outer=None,
        sport_range=packet.sport_range if packet.sport is None else None,
    )


def outer_view(packet: Packet, vni: int | None) -> Outer:
    """Return a tunnel's outer header as a step shows it."""
    return Outer(
        proto=protocol(packet),
        src=format_address(packet.family, packet.src),
        dst=format_address(packet.family, packet.dst),
        sport=packet.sport,
        dport=packet.dport,
        vni=vni,
    )
