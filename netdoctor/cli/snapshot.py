"""`netdoctor snapshot`: a live host, saved tool output or a collector's tar becomes one file.

Knows nothing of how a section is read.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from netdoctor.cli.options import json_option, netns_option, take
from netdoctor.cli.output import write, write_json
from netdoctor.model import store
from netdoctor.model.errors import NetdoctorError
from netdoctor.model.text import printable, safe_json

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Snapshot


@click.command(short_help="read the network state into one file")
@click.option("-o", "--output", metavar="FILE", help="Write here (gzipped where it ends in .gz; -: standard output).")
@netns_option
@click.option("--list", "list_names", is_flag=True, help="Print the namespaces with all their names.")
@click.option("--from", "source", metavar="DIR", help="Read saved tool output from a folder, or a tar from - .")
@click.option("--mask", is_flag=True, help="Map addresses and names consistently, drop comments: safe to mail.")
@click.option(
    "--collector", is_flag=True, help="Print a POSIX script that gathers saved output on a node without Python."
)
@json_option
def snapshot(
    output: str | None,
    netns: tuple[str, ...],
    list_names: bool,
    source: str | None,
    mask: bool,
    collector: bool,
    as_json: bool,
) -> int:
    """Read the network state of this host, every namespace of it, and change nothing.

    Saved tool output (--from) needs neither a kernel nor root.
    """
    if collector:
        from netdoctor.collect.collector import script

        write(script())
        return 0
    taken = _read(source, netns)
    if mask:
        from netdoctor.collect.mask import mask as masked

        taken = masked(taken)
    if list_names:
        _list(taken, as_json=as_json)
    elif output and output != "-":
        store.save(taken, output)
        _summary(taken, output)
    elif output == "-" or as_json or not sys.stdout.isatty():
        write(safe_json(store.encode(taken)))
    else:
        raise NetdoctorError(
            "a snapshot is not for reading on a terminal", "name a file: netdoctor snapshot -o node.json.gz"
        )
    return 0


def _read(source: str | None, netns: tuple[str, ...]) -> Snapshot:
    if source is None:
        return take(netns)
    from netdoctor.collect import saved

    taken, not_understood = saved.read(source)
    for name in not_understood:
        click.echo(f"netdoctor: not understood, left out: {printable(name)}", err=True)
    return taken


def _list(taken: Snapshot, *, as_json: bool) -> None:
    if as_json:
        write_json([{"name": netns.name, "aliases": netns.aliases, "inode": netns.inode} for netns in taken.namespaces])
        return
    for netns in taken.namespaces:
        write("  ".join([printable(netns.name), *map(printable, netns.aliases)]))


def _summary(taken: Snapshot, output: str) -> None:
    click.echo(
        f"{len(taken.namespaces)} namespaces of {printable(taken.host)} written to {printable(output)}", err=True
    )
    for gap in taken.unread:
        where = f" of {gap.netns}" if gap.netns else ""
        click.echo(f"not read: {printable(f'{gap.what}{where}: {gap.why}')}", err=True)
