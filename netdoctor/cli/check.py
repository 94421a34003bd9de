"""`netdoctor check`: what is wrong on this node, in words, with the fix. Reads only.

Knows nothing of any rule.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from netdoctor.cli import status
from netdoctor.cli.options import json_option, netns_option, one_snapshot, snapshot_option
from netdoctor.cli.output import Paint, wants_colour, width, write, write_json
from netdoctor.cli.progress import Progress
from netdoctor.model.errors import NetdoctorError

if TYPE_CHECKING:
    from netdoctor.diagnose.census import Asked
    from netdoctor.diagnose.check import Report
    from netdoctor.diagnose.node import Node
    from netdoctor.model.snapshot import Snapshot


@click.command(short_help="what is wrong on this node, or in a snapshot")
@snapshot_option
@netns_option
@click.option("--flows", metavar="FILE.jsonl", help='Your own expectations: flows with "expect": "yes" or "no".')
@click.option("--select", metavar="RULE,…", help="Only these rules.")
@click.option("--ignore", metavar="RULE,…", help="Not these rules.")
@click.option("--baseline", metavar="FILE", help="Findings in this file (of check --json) are known: not reported.")
@click.option("--fail-on", type=click.Choice(["error", "warning", "info"]), default="error", show_default=True,
              help="The least severity that makes the exit status 1.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit status 3 where something could not be judged.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing where nothing is found.")
@click.option("-v", "--verbose", is_flag=True, help="Every flow that is broken, and what could not be judged.")
@json_option
def check(
    snapshots: tuple[str, ...],
    netns: tuple[str, ...],
    flows: str | None,
    select: str | None,
    ignore: str | None,
    baseline: str | None,
    fail_on: str,
    strict: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Run the catalogue of failures on this node, or on a snapshot. Changes nothing."""
    started = time.monotonic()
    given = read_flows(flows) if flows else ()
    known = _known(baseline) if baseline else frozenset()
    node, report = diagnose(
        one_snapshot(snapshots, netns), given=given, select=_names(select), ignore=_names(ignore), baseline=known
    )
    report = proved(report, node)
    if as_json:
        write_json(report)
    elif report.findings or not quiet:
        from netdoctor.diagnose.report import text

        paint = Paint(colour=wants_colour())
        write(text(report, paint, width=width(), verbose=verbose, seconds=time.monotonic() - started))
    return _status(report, fail_on, strict=strict)


def diagnose(
    snapshot: Snapshot,
    *,
    given: tuple[Asked, ...] = (),
    select: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    baseline: frozenset[str] = frozenset(),
) -> tuple[Node, Report]:
    """Return the node and what was found on it, with a progress bar where somebody watches."""
    from netdoctor.diagnose import check as checking
    from netdoctor.diagnose.node import Node

    with Progress("asking flows") as progress:
        node = Node(snapshot, given, progress)
        report = checking.run(node, select=select, ignore=ignore, baseline=baseline)
    return node, report


def proved(report: Report, node: Node) -> Report:
    """Return the report with the repairs of each finding and what the model says of them."""
    from netdoctor.repair.options import options_for, shown

    with Progress("proving repairs") as progress:
        findings = []
        for done, found in enumerate(report.findings, 1):
            findings.append(msgspec.structs.replace(found, fix=shown(options_for(found, node))))
            progress(found.id, done, len(report.findings))
    return msgspec.structs.replace(report, findings=tuple(findings))


def _status(report: Report, fail_on: str, *, strict: bool) -> int:
    from netdoctor.diagnose.rule import SEVERITIES

    bad = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    statuses = [status.OK]
    if any(found.severity in bad for found in report.findings):
        statuses.append(status.FINDINGS)
    if strict and report.not_judged:
        statuses.append(status.NOT_JUDGED)
    return status.worst(*statuses)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def read_flows(path: str) -> tuple[Asked, ...]:
    """Return the user's own flows. Raises: NetdoctorError with the line that is none."""
    from netdoctor.cli.trace import decode_flow, flow_lines
    from netdoctor.diagnose.census import Asked

    asked = []
    for number, line in enumerate(flow_lines(path), 1):
        if line.strip():
            flow = decode_flow(line, number)
            family = "ip6" if "]" in flow.to or flow.to.count(":") > 1 else "ip"
            asked.append(Asked("given", flow, f"{flow.from_} -> {flow.to}", family))
    return tuple(asked)


def _known(path: str) -> frozenset[str]:
    """The ids in the output of an earlier `check --json`."""
    try:
        report = msgspec.json.decode(Path(path).read_bytes())
        return frozenset(found["id"] for found in report["findings"])
    except OSError as error:
        raise NetdoctorError(f"cannot read baseline {path}: {error.strerror}", "check the path") from None
    except (msgspec.DecodeError, KeyError, TypeError):
        raise NetdoctorError(f"{path} is not the output of `netdoctor check --json`", "write it anew") from None
