"""`netdoctor trace`: one flow hop by hop, or many from a file of JSON lines.

Knows nothing of how a packet travels or how a trace looks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from netdoctor.cli import status
from netdoctor.cli.options import json_option, read_world, snapshot_option
from netdoctor.cli.output import Paint, wants_colour, write, write_json
from netdoctor.model.errors import FlowError, NetdoctorError
from netdoctor.model.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netdoctor.simulate.engine import Simulator
    from netdoctor.simulate.trace import Trace


class FlowFailure(msgspec.Struct, frozen=True):
    """What stands in the output for a line that could not be asked."""

    id: str | None
    error: str


@click.command(short_help="one flow, hop by hop, request and reply")
@snapshot_option
@click.option("--from", "from_", metavar="FROM", help="A namespace, an address, or `outside`.")
@click.option(
    "--to", metavar="TO", help="IP[:PORT][/PROTO], a pod or container NAME[:PORT], svc/NAMESPACE/NAME[:PORT]."
)
@click.option("--flows", metavar="FILE.jsonl", help="Many flows, one JSON line each (-: standard input).")
@click.option(
    "--proto", type=click.Choice(["tcp", "udp", "icmp", "icmpv6", "sctp"]), help="Protocol, where TO names none."
)
@click.option("--src", metavar="IP", help="Source address (default: what the kernel would choose).")
@click.option("--sport", type=click.IntRange(0, 65535), help="Source port, or the id of an echo request [40000].")
@click.option("--in", "in_", metavar="DEV", help="The packet arrives on this interface instead of being made here.")
@click.option("--mark", type=int, default=0, help="The socket's mark.")
@click.option("--uid", type=int, help="The sending process's user id (owner matches).")
@click.option("--gid", type=int, help="The sending process's group id.")
@click.option("--size", type=click.IntRange(20, 65535), help="Bytes of the IP packet.")
@click.option("--ttl", type=click.IntRange(1, 255), help="Hop limit of the request.")
@click.option("--outside", type=click.Choice(["unknown", "answers"]), default="unknown", show_default=True,
              help="Whether the world beyond this host answers.")  # fmt: skip
@click.option("--fresh", is_flag=True, help="Forget the snapshot's conntrack entries.")
@click.option(
    "--expect", type=click.Choice(["yes", "no"]), help="What is expected; the exit status says whether it holds."
)
@click.option("-v", "--verbose", is_flag=True, help="Every step, not only those that matter.")
@json_option
def trace(
    snapshots: tuple[str, ...],
    from_: str | None,
    to: str | None,
    flows: str | None,
    outside: str,
    fresh: bool,
    verbose: bool,
    as_json: bool,
    **fields: Any,  # the flow's own options
) -> int:
    """Follow one packet and its answer through this host, or many from a file."""
    asked = [name for name, value in (("--from", from_), ("--to", to)) if value is not None]
    if flows is not None and asked:
        raise NetdoctorError(f"{asked[0]} and --flows: one flow or a file of them, not both", "leave one out")
    if flows is None and (from_ is None or to is None):
        raise NetdoctorError(
            "which flow? --from and --to are needed", "example: netdoctor trace --from web --to 10.96.0.10:80"
        )
    from netdoctor.simulate.engine import Simulator

    simulator = Simulator(read_world(snapshots), outside_answers=outside == "answers", fresh=fresh)
    if flows is not None:
        return _many(simulator, flow_lines(flows))
    assert from_ is not None
    assert to is not None
    flow = Flow(from_=from_, to=to, **fields)
    answer = simulator.trace(flow)
    if as_json:
        write_json(answer)
    else:
        from netdoctor.cli.text import trace_text

        write(trace_text(answer, simulator.world, Paint(colour=wants_colour()), verbose=verbose))
    return _status(answer)


def _status(answer: Trace) -> int:
    """1 where the flow does not do what is expected; what cannot be judged fails nobody who expected nothing."""
    expected = answer.flow.expect
    if expected is not None:
        return status.OK if answer.connects == expected else status.FINDINGS
    return status.OK if answer.connects in {"yes", "unknown"} else status.FINDINGS


def flow_lines(path: str) -> Iterator[bytes]:
    """Yield the lines of a file of flows, of standard input for `-`. Raises: NetdoctorError."""
    if path == "-":
        yield from sys.stdin.buffer
        return
    try:
        with Path(path).open("rb") as stream:
            yield from stream
    except OSError as error:
        raise NetdoctorError(f"cannot read flows {path}: {error.strerror}", "check the path") from None


def _many(simulator: Simulator, lines: Iterable[bytes]) -> int:
    """Trace each line; a bad one gives its error in place and exit status 2 at the end."""
    statuses = [status.OK]
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name: str | None = None
        try:
            flow = decode_flow(line, number)
            name = flow.id
            answer = simulator.trace(flow)
        except NetdoctorError as error:
            write_json(FlowFailure(id=name, error=str(error)), indent=None)
            statuses.append(status.FAILED)
            continue
        write_json(answer, indent=None)
        statuses.append(_status(answer))
    return status.worst(*statuses)


def decode_flow(line: bytes, number: int) -> Flow:
    """Return the flow of one line. Raises: FlowError."""
    try:
        return msgspec.json.decode(line, type=Flow)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FlowError(
            f"line {number} is not a flow: {error}", "see INTERFACE: a flow needs `from` and `to`"
        ) from None
