"""Runs the catalogue on a node and gathers what it found: INTERFACE "A finding".

Knows nothing of printing or repairing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from netdoctor.diagnose.finding import Finding, Story, finding, identity
from netdoctor.diagnose.loader import by_name, load
from netdoctor.diagnose.node import NotJudgedError
from netdoctor.diagnose.rule import SEVERITIES, Rule
from netdoctor.model.errors import NetdoctorError
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from netdoctor.diagnose.loader import LoadedRule
    from netdoctor.diagnose.node import Node, Traced

EXPECTATION = Rule(id="expectation", title="A flow does not do what is expected of it.", severity="error")


class NotJudged(msgspec.Struct, frozen=True):
    """A rule that lacked what it needs, or flows that no rule could decide."""

    rule: str
    why: str


class SnapshotView(msgspec.Struct, frozen=True):
    """Which snapshot was judged."""

    host: str
    taken_at: float
    kernel: str | None
    namespaces: int
    rules: int
    backends: tuple[str, ...]
    unread: int


class Summary(msgspec.Struct, frozen=True):
    """How much was asked, and how it went."""

    failed: int
    passed: int
    not_judged: int
    flows: int
    flows_broken: int
    flows_unknown: int


class Report(msgspec.Struct, frozen=True):
    """What `check --json` prints."""

    snapshot: SnapshotView
    findings: tuple[Finding, ...]
    not_judged: tuple[NotJudged, ...]
    summary: Summary
    version: int = 1


def run(
    node: Node, *, select: Collection[str] = (), ignore: Collection[str] = (), baseline: Collection[str] = ()
) -> Report:
    """Ask every rule, or the selected ones. `baseline`: ids of findings that are known and not reported again.

    Raises: NetdoctorError where a name is no rule.
    """
    rules = _chosen(select, ignore)
    muted = _muted(node)
    findings: list[Finding] = []
    not_judged: list[NotJudged] = []
    failed: set[str] = set()
    for one in rules:
        try:
            found = [one for one in one.find(node) if one.id not in baseline]
        except NotJudgedError as error:
            not_judged.append(NotJudged(one.rule.id, str(error)))
            continue
        found = [finding for finding in found if one.rule.id not in muted]
        findings.extend(found)
        if found:
            failed.add(one.rule.id)
    if "expectation" not in ignore:
        findings.extend(one for one in _expectations(node) if one.id not in baseline)
    unknown = [one for one in node.traced if one.trace.connects == "unknown"]
    not_judged.extend(_unknown_flows(unknown))
    findings.sort(key=lambda one: (SEVERITIES.index(one.severity), -len(one.flows), one.id))
    judged_not = {one.rule for one in not_judged} & {one.rule.id for one in rules}
    return Report(
        _view(node),
        tuple(findings),
        tuple(not_judged),
        Summary(
            failed=len(failed) + sum(one.rule == EXPECTATION.id for one in findings),
            passed=len(rules) - len(failed) - len(judged_not),
            not_judged=len(not_judged),
            flows=len(node.traced),
            flows_broken=sum(one.broken for one in node.traced),
            flows_unknown=len(unknown),
        ),
    )


def _chosen(select: Collection[str], ignore: Collection[str]) -> list[LoadedRule]:
    wanted = {by_name(name).rule.id for name in select}
    unwanted = {by_name(name).rule.id for name in ignore if name != EXPECTATION.id}
    return [one for one in load() if (not wanted or one.rule.id in wanted) and one.rule.id not in unwanted]


def _muted(node: Node) -> frozenset[str]:
    """Rules that a comment in the node's own ruleset mutes: `netdoctor:ignore=RULE`."""
    muted = set()
    for text in node.host.snapshot.rulesets:
        for part in text.text.split("netdoctor:ignore=")[1:]:
            muted.add(part.partition('"')[0].split()[0].strip("'\\"))
    return frozenset(muted)


def _unknown_flows(unknown: Sequence[Traced]) -> list[NotJudged]:
    """What is not modelled and decides flows, each named once."""
    whys: dict[str, list[str]] = {}
    for one in unknown:
        cause = one.cause
        why = (
            cause.detail
            if cause is not None and cause.detail
            else "; ".join(one.trace.outcomes[0].undecided) or "unknown"
        )
        whys.setdefault(why, []).append(one.asked.title)
    return [NotJudged("flows", f"{why} ({_some(titles)})") for why, titles in whys.items()]


def _some(titles: Sequence[str]) -> str:
    return titles[0] if len(titles) == 1 else f"{titles[0]}, {len(titles) - 1} more"


def _expectations(node: Node) -> list[Finding]:
    """The user's own flows that do not do what he expects."""
    found = []
    for one in node.traced:
        expected = one.asked.flow.expect
        if one.asked.kind != "given" or expected is None or one.trace.connects == expected:
            continue
        cause = one.cause
        why = (
            f"{cause.kind}: {cause.detail or cause.text or cause.chain or ''}"
            if cause is not None
            else "nothing stops it"
        )
        found.append(finding(
            EXPECTATION, stable=(one.asked.flow.from_, one.asked.flow.to, expected), netns=one.asked.flow.from_,
            story=(Story(f"{one.asked.title}: expected {expected}, connects: {one.trace.connects}"), Story(why)),
            flows=(one.asked.title,), asked=len(node.asked),
        ))  # fmt: skip
    return found


def _view(node: Node) -> SnapshotView:
    rulesets = [ruleset for netns in node.world.namespaces.values() for ruleset in netns.rulesets.items()]
    return SnapshotView(
        host=node.snapshot.host,
        taken_at=node.snapshot.taken_at,
        kernel=node.snapshot.kernel,
        namespaces=len(node.snapshot.namespaces),
        rules=sum(ruleset.rule_count for _, ruleset in rulesets),
        backends=tuple(sorted({f"iptables-{backend}" for (_, backend), ruleset in rulesets if ruleset.rule_count})),
        unread=len(node.snapshot.unread),
    )


def matching(findings: Sequence[Finding], names: Sequence[str]) -> list[Finding]:
    """Return the findings that names mean: an id, the beginning of one, or a rule. Raises: NetdoctorError."""
    chosen: list[Finding] = []
    for name in names:
        fitting = [one for one in findings if name in (one.id, one.rule) or (len(name) > 3 and one.id.startswith(name))]
        if not fitting:
            known = ", ".join(one.id for one in findings) or "nothing"
            raise NetdoctorError(f"no finding is called {printable(name)!r}", f"`netdoctor check` finds: {known}")
        chosen.extend(one for one in fitting if one not in chosen)
    return chosen


__all__ = ["EXPECTATION", "NotJudged", "Report", "Summary", "identity", "matching", "run"]
