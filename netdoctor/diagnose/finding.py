"""What a rule found: INTERFACE "A finding". Knows nothing of how it was found or how it is printed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from netdoctor.diagnose.rule import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netdoctor.diagnose.rule import Rule


class FixOption(msgspec.Struct, frozen=True):
    """One way to repair it, and what the model says of it; None where it was not proved."""

    option: str
    summary: str
    costs: str
    heals: int | None = None
    breaks: int | None = None
    of: int | None = None  # how many flows worked before


class Fix(msgspec.Struct, frozen=True):
    """Whether there is a safe repair, and which."""

    available: bool = False
    options: tuple[FixOption, ...] = ()


class Story(msgspec.Struct, frozen=True):
    """One line of what happens to the packet, and the rule or setting that it quotes."""

    line: str
    quote: str | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One cause, with every flow that it breaks."""

    id: str
    rule: str
    severity: Severity
    title: str
    message: str
    netns: str
    where: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    flows: tuple[str, ...] = ()  # titles of the flows that it breaks
    asked: int = 0  # of how many
    story: tuple[Story, ...] = ()
    also: tuple[str, ...] = ()  # what helps to understand: why other nodes work, …
    fix: Fix = Fix()
    references: tuple[str, ...] = ()
    facts: dict[str, Any] = {}  # what the rule's own repair needs: names and addresses


def finding(
    rule: Rule,
    *,
    stable: Sequence[str],
    netns: str,
    story: Sequence[Story],
    flows: Sequence[str],
    asked: int,
    severity: Severity | None = None,
    where: Sequence[str] = (),
    evidence: Sequence[str] = (),
    also: Sequence[str] = (),
    facts: dict[str, Any] | None = None,
) -> Finding:
    """Make a finding.

    `stable`: names that are the same on every run (network, service, chain), over which the id is made.
    """
    return Finding(
        id=identity(rule.id, stable),
        rule=rule.id,
        severity=severity or rule.severity,
        title=rule.title,
        message=" ".join(f"{one.line}." for one in story),
        netns=netns,
        where=tuple(where),
        evidence=tuple(evidence),
        flows=tuple(flows),
        asked=asked,
        story=tuple(story),
        also=tuple(also),
        references=rule.references,
        facts=facts or {},
    )


def identity(rule: str, stable: Sequence[str]) -> str:
    """Return `RULE:` and eight hex digits over the rule and names that do not change from run to run."""
    digest = hashlib.sha256("\0".join((rule, *stable)).encode()).hexdigest()
    return f"{rule}:{digest[:8]}"
