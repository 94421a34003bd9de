"""`netdoctor show rules` and `show graph`: what was parsed, written back; the network as a picture.

Knows nothing of how rules are printed or graphs are drawn.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from netdoctor.cli.options import json_option, netns_option, read_world, snapshot_option
from netdoctor.cli.output import write, write_json
from netdoctor.model.errors import NetdoctorError
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.netfilter.iptables.save import Ruleset

FAMILIES = ("ip", "ip6")


@click.group(short_help="rulesets as they were parsed, or the network as a graph")
def show() -> None:
    """Show what a snapshot holds."""


@show.command()
@snapshot_option
@netns_option
@click.option("--family", metavar="ip,ip6", default="ip,ip6", show_default=True, help="Address families.")
@click.option("--table", metavar="T", help="Only this table.")
@json_option
def rules(snapshots: tuple[str, ...], netns: tuple[str, ...], family: str, table: str | None, as_json: bool) -> int:
    """Print rulesets back from what was parsed, as iptables-save does. A difference from the original is a bug."""
    families = family.split(",")
    if unknown := [name for name in families if name not in FAMILIES]:
        raise NetdoctorError(f"--family {unknown[0]}: no such address family", "use ip, ip6 or both: --family ip,ip6")
    from netdoctor.netfilter.iptables import save

    world = read_world(snapshots)
    chosen = [world.namespace(name) for name in netns] or world.namespaces.values()
    described: list[dict[str, Any]] = []
    for namespace in chosen:
        for (of_family, backend), ruleset in namespace.rulesets.items():
            if of_family not in families:
                continue
            if as_json:
                place = {"netns": namespace.name, "family": of_family, "backend": backend}
                described.extend(place | rule for rule in _described(ruleset, of_family, table))
            else:
                _print(save.dump(ruleset, table=table))
    if as_json:
        write_json(described)
    return 0


def _print(text: str) -> None:
    """Byte for byte into a file or pipe; on a terminal without what could steer it."""
    if sys.stdout.isatty():
        text = "\n".join(printable(line) for line in text.split("\n"))
    sys.stdout.write(text)


def _described(ruleset: Ruleset, family: str, only: str | None) -> Iterator[dict[str, Any]]:
    """Yield each rule with its owner and what of it is modelled."""
    from netdoctor.netfilter.ownership import owner

    for table in ruleset.tables.values():
        if only not in (None, table.name):
            continue
        for chain in table.chains.values():
            for rule in chain.rules:
                yield {
                    "table": table.name,
                    "chain": chain.name,
                    "rule": rule.number,
                    "text": rule.line,
                    "owner": owner(family, table.name, chain.name, rule.line, rule.comment),
                    "unmodelled": list(rule.unmodelled),
                }


@show.command()
@snapshot_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "dot", "mermaid", "graphml"]),
    default="text",
    show_default=True,
    help="How the graph is written.",
)
def graph(snapshots: tuple[str, ...], form: str) -> int:
    """Print namespaces, interfaces and how they are wired."""
    from netdoctor.topology import render

    write(getattr(render, form)(read_world(snapshots)))
    return 0
