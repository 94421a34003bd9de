"""A trace as a person reads it: condensed to what decided, one line for each stop, the guilty one marked.

Knows nothing of how a trace is found; it reads the same steps as the JSON and the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netdoctor.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from netdoctor.cli.output import Paint
    from netdoctor.simulate.trace import Cause, Final, Outcome, Reply, SenderError, Step, Trace
    from netdoctor.topology.world import World

TABLES = frozenset({"raw", "mangle", "nat", "filter", "security"})
WALKS = TABLES | {"nft"}  # whose rules stand together on one line
# Stages that a person needs only with -v: nothing is decided in them unless they end the way.
QUIET = frozenset({"send", "transmit", "conntrack", "neighbour"})
HEADLINES = {
    "yes": ("CONNECTS", "green"),
    "no": ("DOES NOT CONNECT", "red"),
    "sometimes": ("CONNECTS SOMETIMES", "yellow"),
    "unknown": ("UNKNOWN", "yellow"),
}
_NAMES = 24  # columns that namespaces' names may take


@dataclass
class Line:
    """One line of the text, made of one step or of those that one table's walk took."""

    netns: str
    stage: str
    text: str
    details: list[str] = field(default_factory=list)
    first: int = 0  # index of its first step
    last: int = 0


def trace_text(trace: Trace, world: World, paint: Paint, *, verbose: bool = False) -> str:
    """Return the whole answer as text."""
    lines = [_headline(trace, paint)]
    for outcome in trace.outcomes:
        if len(trace.outcomes) > 1:
            share = "on something unknown" if outcome.probability is None else f"{outcome.probability:.1%} of the time"
            lines += ["", paint(f"{share}: {_result(outcome)}", "bold")]
        lines += _outcome(outcome, paint, verbose=verbose)
    if trace.assumed:
        lines += ["", *(f"assumed: {printable(text)}" for text in trace.assumed)]
    if command := _see_yourself(trace, world):
        lines += ["", f"See it yourself: {command}"]
    return "\n".join(lines)


def _headline(trace: Trace, paint: Paint) -> str:
    words, colour = HEADLINES[trace.connects]
    first = next((step.packet for outcome in trace.outcomes for step in outcome.steps if step.packet), None)
    if first is None:
        asked = f"{trace.flow.from_} > {trace.flow.to}"
    else:
        asked = f"{first.proto} {_endpoint(first.src, first.sport)} > {_endpoint(first.dst, first.dport)}"
    return f"{paint(words, 'bold', colour)}  {printable(asked)}"


def _endpoint(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _result(outcome: Outcome) -> str:
    if outcome.verdict != "delivered" or outcome.reply is None:
        return outcome.verdict
    if outcome.reply.verdict == "delivered" and outcome.reply.matches_flow:
        return "connects" if outcome.connects == "yes" else "answered, but then it breaks"
    return f"delivered, the answer: {outcome.reply.verdict}"


_Part = tuple[str, "Sequence[Step]", "Cause | None", "Final | None", str, "SenderError | None"]


def _outcome(outcome: Outcome, paint: Paint, *, verbose: bool) -> Iterator[str]:
    cause = outcome.cause or (outcome.reply and outcome.reply.cause) or (outcome.next and outcome.next.cause) or None
    parts: list[_Part] = [("request", outcome.steps, outcome.cause, outcome.final, outcome.verdict, outcome.error)]
    if outcome.reply is not None:
        parts.append(_part("reply", outcome.reply))
    if outcome.next is not None and outcome.next.cause is not None:
        parts.append(_part("next packet", outcome.next))
    names = [step.netns for _, steps, *_ in parts for step in steps]
    column = min(_NAMES, max((len(printable(name)) for name in names), default=0))
    numbered: list[str] = []
    number = 0
    guilty: int | None = None
    before = 0  # steps of the parts before this one: a cause counts through all of them
    for title, steps, own_cause, final, verdict, error in parts:
        numbered.append(paint(title, "bold"))
        at = own_cause.step - before if own_cause is not None and own_cause.step is not None else None
        before += len(steps)
        lines = list(_condense(steps, at, verbose=verbose))
        here = _guilty_line(lines, at) if own_cause is not None else None
        for line in lines:
            number += 1
            marked = line is here
            if marked:
                guilty = number
            numbered += _format(number, line, paint, column, marked=marked)
        if own_cause is not None or verdict not in {"delivered", "left"}:
            numbered += _ending(final, verdict, error, paint)
    if cause is not None:
        yield f"  {paint(_blame(cause), 'yellow')}{f' (step {guilty})' if guilty else ''}"
    yield from numbered


def _part(title: str, reply: Reply) -> _Part:
    return title, reply.steps, reply.cause, reply.final, reply.verdict, reply.error


def _blame(cause: Cause) -> str:
    where = [cause.netns]
    if cause.table:
        is_native = cause.handle is not None or cause.family not in {None, "ip", "ip6"}
        native = f"{cause.family} " if is_native else ""
        where.append(f"{native}{cause.table}/{cause.chain}" + (f" rule {cause.rule}" if cause.rule else ""))
    if cause.interface:
        where.append(cause.interface)
    if cause.sysctl:
        where.append(cause.sysctl)
    owner = f" [{cause.owner}]" if cause.owner else ""
    detail = f": {cause.detail}" if cause.detail else ""
    return printable(f"{cause.kind}: {', '.join(where)}{owner}{detail}")


def _guilty_line(lines: list[Line], at: int | None) -> Line | None:
    if not lines:
        return None
    if at is not None:
        for line in lines:
            if line.first <= at <= line.last:
                return line
    return lines[-1]


def _condense(steps: Sequence[Step], at: int | None, *, verbose: bool) -> Iterator[Line]:
    """Join the rules of one table's walk; leave out what decided nothing."""
    index = 0
    while index < len(steps):
        step = steps[index]
        end = index + 1
        if step.stage in WALKS:
            while end < len(steps) and _same_walk(step, steps[end]):
                end += 1
        walk = steps[index:end]
        guilty = at is not None and index <= at < end
        if verbose or guilty or end == len(steps) or not _dull(walk):
            line = _table_line(walk) if step.stage in WALKS else _plain_line(step)
            line.first, line.last = index, end - 1
            yield line
        index = end


def _same_walk(step: Step, other: Step) -> bool:
    if other.action == "translate":  # what came of the walk: it belongs to no one backend's table
        return (step.netns, step.stage, step.hook) == (other.netns, other.stage, other.hook)
    return (step.netns, step.stage, step.hook, step.backend, step.family, step.table) == (
        other.netns, other.stage, other.hook, other.backend, other.family, other.table,
    )  # fmt: skip


def _dull(walk: Sequence[Step]) -> bool:
    """Whether nobody needs to read it: quiet stages, and tables that let the packet through by an empty chain."""
    step = walk[0]
    if step.stage in QUIET:
        return True
    if step.stage in WALKS:
        accepted = all(one.rule is None and (one.action or "").lower().endswith("accept") for one in walk)
        return accepted and step.stage != "filter"
    return False


def _table_line(walk: Sequence[Step]) -> Line:
    """`PREROUTING 1 > KUBE-SERVICES 1 > KUBE-SEP-DEF 2 [kube-proxy]`, and below it what was done."""
    places: list[str] = []
    details: list[str] = []
    owner = None
    for step in walk:
        owner = step.owner or owner
        if step.rule is None:
            if not places:
                places.append(f"{step.chain or step.hook} {step.action}")
            elif step.action != "translate":
                places.append(f"{step.action}")
            if step.note and details and step.action == "translate":
                details[-1] += f"  {step.note}"
            elif step.note:
                details.append(step.note)
            continue
        places.append(f"{step.chain} {step.rule}")
        action = step.action or ""
        if step.note:
            details.append(f"{action.split()[0] if action else ''}  {step.note}".strip())
        elif action and not action.lower().startswith(("jump", "goto")):
            details.append(action)
    joined = " > ".join(places)
    if walk[0].stage == "nft":
        joined = f"{walk[0].family} {walk[0].table}: {joined}"
    if owner:
        joined += f" [{owner}]"
    return Line(walk[0].netns, walk[0].stage, joined, details)


def _plain_line(step: Step) -> Line:
    ports = [name for name in (step.physin, step.physout) if name]
    device = step.in_ if step.stage in {"receive", "bridge", "deliver"} else step.out
    words = [word for word in (device, step.action if step.stage != "route" else None) if word]
    if step.stage == "receive":
        port = f"port {ports[0]}" if ports else None
        told = [part for part in (port, step.note if step.note != port else None) if part]
        return Line(step.netns, step.stage, " ".join((step.in_ or "", f"({', '.join(told)})" if told else "")).strip())
    if step.stage in {"bridge", "route", "transmit"} and step.note:
        return Line(step.netns, step.stage, step.note)
    if step.stage == "deliver" and step.note:
        refused = "refused: " if step.action == "refuse" else ""
        return Line(step.netns, step.stage, f"{refused}{step.note}")
    if step.stage == "bridge":
        words = [f"{step.in_ or step.out or ''}:", " > ".join(ports) if ports else step.action or ""]
    if step.note:
        return Line(step.netns, step.stage, f"{' '.join(words)}: {step.note}" if words else step.note)
    return Line(step.netns, step.stage, " ".join(words) or step.action or "")


def _format(number: int, line: Line, paint: Paint, column: int, *, marked: bool) -> Iterator[str]:
    text = f"{number:2} {printable(line.netns):<{column}} {line.stage:<9} {printable(line.text)}"
    yield paint(f"{text}      <== HERE", "bold", "red") if marked else text
    for detail in line.details:
        yield " " * (column + 14) + printable(detail)


def _ending(final: Final | None, verdict: str, error: SenderError | None, paint: Paint) -> Iterator[str]:
    where = f"{final.netns}: " if final is not None else ""
    learns = ""
    if error is not None:
        words = [error.type, error.icmp or "", f"from {error.from_}" if error.from_ else "", error.errno or ""]
        learns = f"; the sender sees: {' '.join(word for word in words if word)}"
        if error.reaches_sender is False:
            learns += " (which never reaches it)"
    yield paint(printable(f"   {where}{verdict}{learns}"), "red")


def _see_yourself(trace: Trace, world: World) -> str | None:
    """A tcpdump command in the namespace where it goes wrong, where a process lives in it."""
    for outcome in trace.outcomes:
        for part in (outcome, outcome.reply, outcome.next):
            if part is None or part.cause is None or part.final is None:
                continue
            namespace = world.namespace(part.final.netns).snapshot
            device = part.final.interface or "any"
            enter = f"nsenter -t {namespace.pids[0]} -n " if namespace.pids and namespace.name != "host" else ""
            proto = trace.flow.proto or "tcp"
            return printable(f"{enter}tcpdump -nni {device} {proto}")
    return None
