"""The proof of a plan on the model: every flow that matters, before and after. A flow that worked must work afterwards.

Knows nothing of rules, of who asked, or of how a change reaches the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from netdoctor.model.errors import NetdoctorError
from netdoctor.model.flow import Flow
from netdoctor.simulate.engine import Simulator
from netdoctor.topology.addresses import address, with_port
from netdoctor.topology.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netdoctor.change.plan import Plan
    from netdoctor.model.snapshot import Snapshot
    from netdoctor.simulate.trace import Trace

Effect = Literal["heals", "breaks", "unknown"]


class Change(msgspec.Struct, frozen=True):
    """A flow whose fate the plan changes, or of which one cannot tell."""

    flow: str
    effect: Effect
    before: str  # "yes", "no", "sometimes", "unknown", or why it could not be asked
    after: str


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan does to the flows that were asked."""

    heals: int
    breaks: int
    unknown: int  # worked before; of afterwards the model cannot tell
    total: int  # how many flows were asked
    worked: int  # how many of them worked before
    details: tuple[Change, ...] = ()
    connection: Literal["kept", "at risk"] | None = None  # the connection by which the user came in

    @property
    def is_safe(self) -> bool:
        """Whether nothing that worked stops working, for sure, the user's own connection first of all."""
        return not self.breaks and not self.unknown and self.connection != "at risk"

    @property
    def is_recommended(self) -> bool:
        """Whether it heals something and is safe."""
        return self.heals > 0 and self.is_safe


def prove(
    snapshot: Snapshot,
    plan: Plan,
    flows: Sequence[Flow],
    before: Sequence[Trace | None] | None = None,
    *,
    titles: Sequence[str] | None = None,
    connection: Flow | None = None,
) -> Proof:
    """Lay the plan over the snapshot and trace every flow again.

    `before`: the traces of `flows` on the snapshot, where they are known already; `connection`: see `ssh_connection`.
    Raises: PlanError where the plan does not fit the snapshot.
    """
    return compare(snapshot, plan.overlay(snapshot), flows, before, titles=titles, connection=connection)


def compare(
    old_state: Snapshot,
    new_state: Snapshot,
    flows: Sequence[Flow],
    before: Sequence[Trace | None] | None = None,
    *,
    titles: Sequence[str] | None = None,
    connection: Flow | None = None,
) -> Proof:
    """Trace every flow on both states and count what became of them; arguments as for `prove`."""
    after = Simulator(World(new_state), outside_answers=True, steps=False)
    now = Simulator(World(old_state), outside_answers=True, steps=False)
    changes = []
    worked = 0
    for number, flow in enumerate(flows):
        known = before[number] if before is not None else None
        old = known.connects if known is not None else _ask(now, flow)
        good = flow.expect or "yes"
        worked += old == good
        new = _ask(after, flow)
        effect = _effect(old, new, good)
        if effect is not None:
            title = titles[number] if titles is not None else f"{flow.from_} -> {flow.to}"
            changes.append(Change(title, effect, old, new))
    counts = {effect: sum(change.effect == effect for change in changes) for effect in ("heals", "breaks", "unknown")}
    return Proof(
        heals=counts["heals"], breaks=counts["breaks"], unknown=counts["unknown"], total=len(flows), worked=worked,
        details=tuple(changes), connection=None if connection is None else _judge(now, after, connection),
    )  # fmt: skip


def unkept(promised: Proof, seen: Proof) -> str | None:
    """Say what a plan promised and the state after it does not hold, None where it holds all."""
    if seen.heals < promised.heals:
        return f"only {seen.heals} of the {promised.heals} flows that it was to heal connect"
    hurt = [change.flow for change in seen.details if change.effect != "heals"]
    if len(hurt) > promised.breaks + promised.unknown:
        return f"{len(hurt)} flows that worked before do not connect for sure now, {hurt[0]} among them"
    if seen.connection == "at risk" != promised.connection:
        return "the connection by which you came in is at risk"
    return None


def ssh_connection(environment: str | None) -> Flow | None:
    """Return the flow by which the user came in, from the text of SSH_CONNECTION ("peer port address port")."""
    words = (environment or "").split()
    if len(words) != 4:
        return None
    peer, peer_port, local, port = words
    try:
        return Flow(from_=peer, to=with_port(*address(local), int(port)), sport=int(peer_port), id="ssh")
    except ValueError:
        return None


def _effect(old: str, new: str, good: str) -> Effect | None:
    if old == new:
        return None
    if new == good:
        return "heals"
    if old == good:
        return "breaks" if new in {"yes", "no", "sometimes"} else "unknown"
    return None


def _judge(now: Simulator, after: Simulator, connection: Flow) -> Literal["kept", "at risk"]:
    """A connection that is there proves that it works, whatever the model says: then its answer must stay the same."""
    new = _ask(after, connection)
    return "kept" if new in {"yes", _ask(now, connection)} else "at risk"


def _ask(simulator: Simulator, flow: Flow) -> str:
    try:
        return simulator.trace(flow).connects
    except NetdoctorError as error:
        return str(error)
