"""`netdoctor fix`: the repairs, each with its proof and what it costs; applies, keeps, undoes and lists them.

Knows nothing of how a repair is found, proved or made.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from netdoctor.cli import status
from netdoctor.cli.check import diagnose
from netdoctor.cli.options import json_option, netns_option, one_snapshot, snapshot_option, take
from netdoctor.cli.output import Paint, wants_colour, write, write_json
from netdoctor.cli.progress import Progress
from netdoctor.model.errors import NetdoctorError
from netdoctor.model.text import printable
from netdoctor.repair.proof import Proof  # msgspec reads it at run time

if TYPE_CHECKING:
    from netdoctor.apply.executor import Applied
    from netdoctor.change.plan import Plan
    from netdoctor.diagnose.finding import Finding
    from netdoctor.diagnose.node import Node
    from netdoctor.model.flow import Flow
    from netdoctor.model.snapshot import Snapshot
    from netdoctor.repair.options import Option


class Repairs(msgspec.Struct, frozen=True):
    """The options of one finding, as `fix --json` prints them."""

    finding: str
    title: str
    options: tuple[Offer, ...]


class Offer(msgspec.Struct, frozen=True):
    """One of them."""

    option: str
    plan: str  # its id, by which it is undone
    recommended: bool
    summary: str
    costs: str
    lasts: str
    persist: tuple[str, ...]
    commands: tuple[tuple[str, tuple[str, ...]], ...]  # (namespace, argument list)
    proof: Proof


@click.command(short_help="repairs, each with its proof; apply, keep and undo them")
@click.argument("names", nargs=-1, metavar="[FINDING … | PLAN]")
@snapshot_option
@netns_option
@click.option("--option", "letter", metavar="LETTER", help="Which option (A is the recommended one).")
@click.option("--script", is_flag=True, help="Print a POSIX shell script that applies the plans, or takes them back.")
@click.option("--apply", "apply_", is_flag=True, allow_from_autoenv=False, help="Apply the plans to this node.")
@click.option("--undo", "undo_", is_flag=True, allow_from_autoenv=False,
              help="Take a plan back: PLAN, or the last one that is applied.")  # fmt: skip
@click.option("--keep", "keep_", is_flag=True, allow_from_autoenv=False,
              help="Confirm a plan that waits for it: PLAN, or the last one.")  # fmt: skip
@click.option("--status", "status_", is_flag=True, help="List the plans of this node.")
@click.option("-y", "--yes", is_flag=True, allow_from_autoenv=False, help="Do not ask.")
@json_option
def fix(
    names: tuple[str, ...],
    snapshots: tuple[str, ...],
    netns: tuple[str, ...],
    letter: str | None,
    script: bool,
    apply_: bool,
    undo_: bool,
    keep_: bool,
    status_: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Show how to repair what is wrong, with the proof that it heals and breaks nothing; or do it.

    Only --apply, --undo and --keep change anything.
    """
    if script + apply_ + undo_ + keep_ + status_ > 1:
        raise click.UsageError("--script, --apply, --undo, --keep and --status exclude each other.")
    if (apply_ or undo_ or keep_ or status_) and snapshots:
        raise click.UsageError("A snapshot cannot be changed: leave --snapshot away, or print a --script.")
    if status_:
        return _list(as_json)
    if undo_ or keep_:
        if len(names) > 1:
            raise click.UsageError("Name one plan.")
        name = names[0] if names else None
        return _undo(name, yes, as_json) if undo_ else _keep(name, as_json)
    if apply_:
        return _apply(names, letter, netns, yes=yes, as_json=as_json)
    node, chosen = _findings(one_snapshot(snapshots, netns), names)
    connection = _connection() if not snapshots else None
    if script:
        return _script(node, chosen, letter, connection)
    return _show(node, chosen, letter, connection, as_json)


# --- what could be done


def _findings(snapshot: Snapshot, names: tuple[str, ...]) -> tuple[Node, list[Finding]]:
    from netdoctor.diagnose.check import matching

    node, report = diagnose(snapshot)
    return node, matching(report.findings, names) if names else list(report.findings)


def _options(node: Node, found: Finding, connection: Flow | None) -> list[Option]:
    from netdoctor.repair.options import options_for

    with Progress(f"proving repairs of {found.rule}"):
        return options_for(found, node, connection)


def _show(node: Node, chosen: list[Finding], letter: str | None, connection: Flow | None, as_json: bool) -> int:
    from netdoctor.repair.options import choose

    repairs = []
    for found in chosen:
        options = _options(node, found, connection)
        if letter is not None:
            options = [choose(options, letter, found.id)]
        offers = tuple(
            Offer(
                one.letter, one.plan.id, one.proof.is_recommended, one.plan.summary, one.plan.costs, one.plan.lasts,
                one.plan.persist, one.plan.commands(), one.proof,
            )
            for one in options
        )  # fmt: skip
        repairs.append(Repairs(found.id, found.title, offers))
    if as_json:
        write_json({"version": 1, "findings": repairs})
        return status.OK
    paint = Paint(colour=wants_colour())
    if not repairs:
        write("Nothing is wrong that netdoctor knows of: nothing to fix.")
    for one in repairs:
        write(_offered(one, paint))
    return status.OK


def _offered(one: Repairs, paint: Paint) -> str:
    from netdoctor.repair.options import sentence

    lines = [paint(printable(one.finding), "bold"), f"  {printable(one.title)}", ""]
    for offer in one.options:
        advised = " (recommended)" if offer is one.options[0] and offer.recommended else ""
        lines += [
            f"  {paint(offer.option, 'bold')} {printable(offer.summary)}{advised}",
            f"      on the model it {printable(sentence(offer.proof))}",
            *(f"        {change.effect}: {printable(change.flow)}" for change in offer.proof.details[:8]),
        ]
        if len(offer.proof.details) > 8:
            lines.append(f"        … {len(offer.proof.details) - 8} more (--json)")
        lines += [f"      costs: {printable(offer.costs)}", "      does:"]
        lines += [f"        {printable(netns)}: {_shell(words)}" for netns, words in offer.commands]
        lines.append(f"      lasts {printable(offer.lasts)}; to make it last:")
        lines += [f"        {printable(line)}" for line in offer.persist]
        lines.append("")
    if not one.options:
        return "\n".join([*lines, "  No repair fits this state; `netdoctor explain` tells what to do by hand.", ""])
    lines.append(f"  Next: sudo netdoctor fix --apply {printable(one.finding)} --option {one.options[0].option}")
    return "\n".join([*lines, ""])


def _shell(words: tuple[str, ...]) -> str:
    import shlex

    return printable(shlex.join(words))


def _script(node: Node, chosen: list[Finding], letter: str | None, connection: Flow | None) -> int:
    from netdoctor.repair.options import choose
    from netdoctor.repair.script import render

    if not chosen:
        raise NetdoctorError("nothing is wrong that netdoctor knows of: there is no script to print", "netdoctor check")
    plans: dict[object, Option] = {}
    for found in chosen:
        option = choose(_options(node, found, connection), letter, found.id)
        plans.setdefault(option.plan.operations, option)  # two findings may have the same repair
    write(render(list(plans.values()), node.snapshot))
    return status.OK


# --- what is done


def _apply(names: tuple[str, ...], letter: str | None, netns: tuple[str, ...], *, yes: bool, as_json: bool) -> int:
    """Repair one finding after the other; each is looked for anew, since one repair may heal several."""
    if netns:
        raise click.UsageError("--apply needs the whole node for its proof: leave --netns away.")
    if os.geteuid() != 0:
        raise NetdoctorError("cannot change this node: you are not root", "sudo netdoctor fix --apply")
    node, chosen = _findings(take(), names)
    if not chosen and not as_json:
        write("Nothing is wrong that netdoctor knows of: nothing was changed.")
    connection = _connection()
    results: list[Applied] = []
    for number, found in enumerate(chosen):
        if number:
            node, left = _findings(take(), ())
            if found.id not in {one.id for one in left}:
                _say(f"{found.id} is healed already", as_json)
                continue
        results.append(_apply_one(node, found, letter, connection, yes=yes, as_json=as_json))
        if results[-1].taken_back:
            break
    if as_json:
        write_json({"version": 1, "applied": results})
    return status.TAKEN_BACK if any(one.taken_back for one in results) else status.OK


def _apply_one(
    node: Node, found: Finding, letter: str | None, connection: Flow | None, *, yes: bool, as_json: bool
) -> Applied:
    from netdoctor.apply.executor import SSH_CONFIRM_SECONDS, apply
    from netdoctor.repair.options import choose, sentence, verify

    option = choose(_options(node, found, connection), letter, found.id)
    _say(f"{found.id}, option {option.letter}: {option.plan.summary}", as_json)
    _say(f"  on the model it {sentence(option.proof)}; costs: {option.plan.costs}", as_json)
    _confirm(f"Apply plan {option.plan.id} to {printable(node.snapshot.host)}?", yes)

    seconds = SSH_CONFIRM_SECONDS if connection is not None else None
    applied = apply(
        option.plan,
        verify=lambda now: verify(option, node, now, connection),
        confirm_seconds=seconds,
        assumed=node.snapshot,
    )
    for line in _told(applied, option.plan):
        _say(line, as_json)
    return applied


def _told(applied: Applied, plan: Plan) -> list[str]:
    if applied.taken_back:
        lines = [f"Taken back: {applied.why}"]
    elif applied.confirm_seconds is not None:
        lines = [
            f"Applied, and checked on the kernel. It is taken back in {applied.confirm_seconds} s unless you say:",
            f"  sudo netdoctor fix --keep {applied.id}",
        ]
    else:
        lines = [
            "Applied, and checked on the kernel. To take it back:",
            f"  sudo netdoctor fix --undo {applied.id}",
        ]
    if not applied.taken_back:
        lines += [f"It lasts {plan.lasts}; to make it last:", *(f"  {line}" for line in plan.persist)]
    return [*lines, *(f"note: {note}" for note in applied.notes)]


def _undo(name: str | None, yes: bool, as_json: bool) -> int:
    from netdoctor.apply.undo import undo

    _confirm(f"Take back {f'plan {printable(name)}' if name else 'the plan that was applied last'}?", yes)
    undone = undo(name)
    if as_json:
        write_json({"version": 1, "undone": undone})
        return status.OK
    write(f"Plan {undone.id} ({printable(undone.summary)}) is taken back.")
    for note in undone.notes:
        write(f"note: {printable(note)}")
    return status.OK


def _keep(name: str | None, as_json: bool) -> int:
    from netdoctor.apply import undo

    if name is None:
        waiting = [one.id for one in undo.status() if one.state == "applied"]
        if not waiting:
            raise NetdoctorError("no plan waits to be kept", "netdoctor fix --status lists them")
        name = waiting[-1]
    kept = undo.keep(name)
    if as_json:
        write_json({"version": 1, "kept": kept})
    else:
        write(f"Plan {kept.id} ({printable(kept.summary)}) is kept.")
    return status.OK


def _list(as_json: bool) -> int:
    from netdoctor.apply import undo

    plans = undo.status()
    if as_json:
        write_json({"version": 1, "plans": plans})
        return status.OK
    for one in plans:
        made = dt.datetime.fromtimestamp(one.made).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        write(f"{one.id}  {one.state:<8} {made}  {printable(one.finding)} {one.option}: {printable(one.summary)}")
        for note in one.notes:
            write(f"          note: {printable(note)}")
    if not plans:
        write("No plan was ever applied on this node.")
    return status.OK


def _say(line: str, as_json: bool) -> None:
    if not as_json:
        write(printable(line))


def _confirm(question: str, yes: bool) -> None:
    """Ask on a terminal; without one, --yes must have been given. Raises: NetdoctorError where the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise NetdoctorError("nothing was changed: nobody is there to be asked", "say --yes")
    if not click.confirm(question, err=True):
        raise NetdoctorError("nothing was changed: you said no", "netdoctor fix shows the options")


# --- the connection by which the user came in


def _connection() -> Flow | None:
    from netdoctor.repair.proof import ssh_connection

    return ssh_connection(_ssh_environment())


def _ssh_environment() -> str | None:
    """SSH_CONNECTION of this process or of one that started it: sudo(8) takes it out of the environment."""
    if "SSH_CONNECTION" in os.environ:
        return os.environ["SSH_CONNECTION"]
    pid = os.getppid()
    while pid > 1:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            parent = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1]
        except OSError:
            return None
        for line in environment.split(b"\0"):
            if line.startswith(b"SSH_CONNECTION="):
                return line.partition(b"=")[2].decode("ascii", "replace")
        pid = int(parent)
    return None
