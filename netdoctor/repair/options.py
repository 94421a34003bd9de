"""The repairs of a finding: what its rule proposes, each proved, the safe ones first. A is the recommended one.

Knows nothing of how a change reaches the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from netdoctor.change.plan import Plan
from netdoctor.diagnose.finding import Fix, FixOption
from netdoctor.diagnose.loader import by_name
from netdoctor.model.errors import NetdoctorError, PlanError
from netdoctor.model.text import printable
from netdoctor.repair.proof import Proof, compare, prove, unkept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netdoctor.diagnose.finding import Finding
    from netdoctor.diagnose.node import Node
    from netdoctor.model.flow import Flow
    from netdoctor.model.snapshot import Snapshot
    from netdoctor.simulate.trace import Trace

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Option(msgspec.Struct, frozen=True):
    """One way to repair a finding, and what the model says of it."""

    plan: Plan
    proof: Proof

    @property
    def letter(self) -> str:
        """What `--option` calls it."""
        return self.plan.option


def options_for(found: Finding, node: Node, connection: Flow | None = None) -> list[Option]:
    """Return the repairs of a finding, those that break nothing first, lettered from A.

    `connection`: the flow by which the user came in (`proof.ssh_connection`); a plan that would cut it is never first.
    """
    try:
        repair = by_name(found.rule).repair
    except NetdoctorError:
        return []  # a user's own expectation: no rule knows a repair
    if repair is None:
        return []
    flows, traces, titles = _asked(node)
    options = []
    for plan in repair(found, node):
        try:
            proof = prove(node.snapshot, plan, flows, traces, titles=titles, connection=connection)
        except PlanError:
            continue  # it does not fit this state: nothing that could be offered
        options.append(Option(plan, proof))
    options.sort(key=lambda option: (not option.proof.is_safe, not option.proof.heals))
    return [Option(replace(one.plan, option=letter), one.proof) for letter, one in zip(LETTERS, options, strict=False)]


def verify(option: Option, node: Node, now: Snapshot, connection: Flow | None = None) -> str | None:
    """Say what an option promised that the state after it does not hold, None where it holds all."""
    flows, traces, titles = _asked(node)
    seen = compare(node.snapshot, now, flows, traces, titles=titles, connection=connection)
    return unkept(option.proof, seen)


def _asked(node: Node) -> tuple[list[Flow], list[Trace], list[str]]:
    """The flows of a node, their answers, and what a person calls them."""
    traced = node.traced
    return [one.asked.flow for one in traced], [one.trace for one in traced], [one.asked.title for one in traced]


def shown(options: Sequence[Option]) -> Fix:
    """Return the options as a finding shows them."""
    return Fix(
        any(option.proof.is_recommended for option in options),
        tuple(
            FixOption(
                option.letter, option.plan.summary, option.plan.costs, option.proof.heals,
                option.proof.breaks + option.proof.unknown, option.proof.worked,
            )
            for option in options
        ),
    )  # fmt: skip


def choose(options: Sequence[Option], letter: str | None, finding: str) -> Option:
    """Return the option that the user named, or A. One that is not proved safe is taken only where it is named.

    Raises: NetdoctorError where there is none, or the user must choose.
    """
    if not options:
        raise NetdoctorError(f"there is no safe repair for {printable(finding)}", "netdoctor explain tells what to do")
    if letter is None:
        first = options[0]
        if not first.proof.is_recommended:
            raise NetdoctorError(
                f"no repair of {printable(finding)} is proved to break nothing: {sentence(first.proof)}",
                "choose one yourself with --option",
            )
        return first
    for option in options:
        if option.letter == letter.upper():
            return option
    known = ", ".join(option.letter for option in options)
    raise NetdoctorError(f"{printable(finding)} has no option {printable(letter)}", f"there is: {known}")


def sentence(proof: Proof) -> str:
    """Return what a proof says, in one clause: `heals 9 flows and breaks none of 87`."""
    broken = f"breaks {proof.breaks}" if proof.breaks else "breaks none"
    said = f"heals {proof.heals} flow{'' if proof.heals == 1 else 's'} and {broken} of {proof.worked}"
    if proof.unknown:
        said += f", {proof.unknown} cannot be told"
    if proof.connection == "at risk":
        said += ", and may cut the connection by which you came in"
    return said
