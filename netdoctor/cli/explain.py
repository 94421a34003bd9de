"""`netdoctor explain RULE`: the rule's page, which is the docstring of its file.

Knows nothing of rules beyond that.
"""

from __future__ import annotations

import click

from netdoctor.cli.options import json_option
from netdoctor.cli.output import write, write_json


@click.command(short_help="the page of one rule of the catalogue")
@click.argument("rule", required=False)
@json_option
def explain(rule: str | None, as_json: bool) -> int:
    """Print what a rule finds, why it matters and how to fix it; without RULE, the list of rules."""
    from netdoctor.diagnose.loader import by_name, load

    if rule is None:
        rules = load()
        if as_json:
            write_json([one.rule for one in rules])
        for one in [] if as_json else rules:
            write(f"{one.rule.id:<24} {one.rule.severity:<8} {one.rule.title}")
        return 0
    page = by_name(rule)
    if as_json:
        write_json({"rule": page.rule, "page": page.page})
    else:
        write(page.page)
    return 0
