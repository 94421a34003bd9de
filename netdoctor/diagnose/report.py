"""A report as a person reads it: INTERFACE "What the two answers look like to a person".

Knows nothing of how anything was found. Everything that a stranger may have named is made safe to print here.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Protocol

from netdoctor.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.diagnose.check import Report
    from netdoctor.diagnose.finding import Finding, FixOption

COLOURS = {"error": "red", "warning": "yellow", "info": "blue"}


class Painter(Protocol):
    """Colours text, or leaves it as it is."""

    def __call__(self, text: str, *styles: str) -> str:
        """Return the text in these styles."""
        ...


def text(
    report: Report, paint: Painter, *, width: int = 100, verbose: bool = False, seconds: float | None = None
) -> str:
    """Return the whole report, ending with how many rules failed, passed and were not judged."""
    lines = [_headline(report, seconds), ""]
    for found in report.findings:
        lines += _finding(found, paint, width, verbose=verbose)
        lines.append("")
    if verbose or not report.findings:
        lines += [f"not judged: {printable(one.rule)}: {printable(one.why)}" for one in report.not_judged]
    lines.append(_ending(report, verbose=verbose))
    return "\n".join(lines)


def _headline(report: Report, seconds: float | None) -> str:
    seen = report.snapshot
    backends = ", ".join(seen.backends) or "no iptables rules"
    took = f", {seconds:.1f} s" if seconds is not None else ""
    counts = f"{_count(seen.namespaces, 'namespace')}, {_count(seen.rules, 'rule')} ({backends})"
    return f"{printable(seen.host)}  {counts}, {_count(report.summary.flows, 'flow')} asked{took}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _finding(found: Finding, paint: Painter, width: int, *, verbose: bool) -> Iterator[str]:
    yield f"{paint(found.severity, 'bold', COLOURS[found.severity])}  {paint(printable(found.id), 'bold')}"
    yield from _wrapped(found.title, "  ", "  ", width)
    yield from _broken(found, width, verbose=verbose)
    yield ""
    for number, story in enumerate(found.story, 1):
        yield from _wrapped(story.line, f"  {number} ", "    ", width)
        if story.quote is not None:
            yield from _wrapped(story.quote, "      ", "        ", width, paint)
    for seen in found.evidence:
        yield from _wrapped(f"Seen now: {seen}", "  ", "    ", width)
    for also in found.also:
        yield from _wrapped(also, "  ", "    ", width)
    yield ""
    yield from _fix(found, width)


def _broken(found: Finding, width: int, *, verbose: bool) -> Iterator[str]:
    if not found.flows:
        return
    head = f"  Broken: {len(found.flows)} of {_count(found.asked, 'flow')}: "
    if verbose:
        yield head.rstrip()
        yield from (f"    {printable(title)}" for title in found.flows)
        return
    more = f", {len(found.flows) - 1} more (-v)" if len(found.flows) > 1 else ""
    yield from _wrapped(found.flows[0] + more, head, "    ", width)


def _fix(found: Finding, width: int) -> Iterator[str]:
    options = found.fix.options
    if not options:
        yield "  Fix: none that is safe to propose here; see `netdoctor explain " + found.rule + "`"
        return
    yield "  Fix" + _proof(options) + ":"
    for option in options:
        alone = "" if _alike(options) else _own_proof(option)
        yield from _wrapped(option.summary + alone, f"    {option.option} ", "      ", width)
        yield from _wrapped(f"costs: {option.costs}", "      ", "        ", width)
    chosen = f" --option {options[0].option}" if len(options) > 1 else ""
    yield f"  Next: sudo netdoctor fix {found.id}{chosen}"


def _alike(options: tuple[FixOption, ...]) -> bool:
    return len({(one.heals, one.breaks, one.of) for one in options}) == 1 and options[0].heals is not None


def _proof(options: tuple[FixOption, ...]) -> str:
    if not _alike(options):
        return ""
    first = options[0]
    each = "each " if len(options) > 1 else ""
    flows = "flow" if first.heals == 1 else "flows"
    return (
        f" (on the model {each or 'it '}heals {first.heals} {flows} and breaks {first.breaks or 'none'} of {first.of})"
    )


def _own_proof(option: FixOption) -> str:
    if option.heals is None:
        return ""
    return f" (on the model: heals {option.heals}, breaks {option.breaks or 'none'} of {option.of})"


def _ending(report: Report, *, verbose: bool) -> str:
    done = report.summary
    hint = " (-v)" if done.not_judged and not verbose and report.findings else ""
    unread = f" {_count(report.snapshot.unread, 'section')} could not be read." if report.snapshot.unread else ""
    return (
        f"{done.failed} failed, {done.passed} passed, {done.not_judged} not judged{hint}.{unread} Nothing was changed."
    )


def _wrapped(line: str, first: str, later: str, width: int, paint: Painter | None = None) -> Iterator[str]:
    """Yield a line in as many as it needs; words that are longer than the width stay whole."""
    wrapped = textwrap.wrap(
        printable(line), width, initial_indent=first, subsequent_indent=later, break_long_words=False,
        break_on_hyphens=False
    ) or [first]  # fmt: skip
    for one in wrapped:
        yield paint(one, "dim") if paint is not None else one
