"""A ruleset's tables: chains, rules, sets and maps by name; each rule compiled when a packet first comes to it.

Knows nothing of hooks' order or of what a verdict leads to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from netdoctor.model.errors import RulesetError
from netdoctor.netfilter import effect as effects
from netdoctor.netfilter.nft.sets import Elements
from netdoctor.netfilter.nft.statements import BREAK, compile_statement
from netdoctor.netfilter.nft.text import rule_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from netdoctor.netfilter.effect import Effect
    from netdoctor.netfilter.nft.expressions import Asking
    from netdoctor.netfilter.nft.kinds import Kind
    from netdoctor.netfilter.nft.statements import Statement


# After these the statements behind them are carried out too.
GOING_ON = (effects.Continue, effects.NoTrack, effects.CtTemplate, effects.Tee)


class Rule:
    """One rule of a chain."""

    __slots__ = ("_line", "_statements", "_table", "comment", "expressions", "handle", "number")

    def __init__(self, table: Table, number: int, written: dict[str, Any]) -> None:
        self._table = table
        self.number = number  # from 1
        self.handle: int = written.get("handle", 0)
        self.comment: str | None = written.get("comment")
        self.expressions: list[Any] = written.get("expr", [])
        self._statements: list[Statement] | None = None
        self._line: str | None = None

    @property
    def text(self) -> str:
        """The rule in nft's own syntax, or in that of the tool that wrote it."""
        return self._line or rule_text(self.expressions, self._table.family)

    def rewrite(self, expressions: list[Any], line: str) -> None:
        """Take other expressions for those that nft cannot show, as `line` of another tool does."""
        self.expressions, self._line, self._statements = expressions, line, None

    def run(self, asking: Asking) -> list[Effect] | None:
        """Carry out the statements on the packet until one ends the rule: None, or what is to be done, in order."""
        if self._statements is None:
            self._statements = [compile_statement(one, self._table) for one in self.expressions]
        wanted: list[Effect] = []
        for statement in self._statements:
            done = statement.run(asking)
            if done is BREAK:
                return None
            wanted += done
            if any(not isinstance(one, GOING_ON) for one in done):
                break  # a verdict ends the rule (nft_do_chain)
        return wanted


class Chain:
    """A chain: its rules in order. `hook`, `priority` and `policy` are those of a base chain."""

    __slots__ = ("devices", "hook", "name", "policy", "priority", "rules", "type")

    def __init__(self, written: dict[str, Any]) -> None:
        self.name: str = written["name"]
        self.hook: str | None = written.get("hook")
        self.type: str = written.get("type", "filter")
        self.priority: int = written.get("prio", 0)
        self.policy: str = written.get("policy", "accept")
        devices = written.get("dev", ())
        self.devices: tuple[str, ...] = (devices,) if isinstance(devices, str) else tuple(devices)  # of ingress, egress
        self.rules: list[Rule] = []


class Table:
    """A table; names of sets and maps are looked up in it."""

    def __init__(self, family: str, name: str) -> None:
        self.family = family
        self.name = name
        self.chains: dict[str, Chain] = {}
        self.sets: dict[str, dict[str, Any]] = {}  # sets and maps as written
        self._compiled: dict[tuple[str, tuple[Kind, ...]], Elements] = {}

    def elements(self, name: str, key: Sequence[Kind]) -> Elements:
        """Return the elements of a set or map for keys of these kinds. Raises: KeyError, ValueError."""
        mark = (name, tuple(key))
        found = self._compiled.get(mark)
        if found is None:
            found = Elements(key, _pairs(self.written(name), is_map="map" in self.sets[name]))
            self._compiled[mark] = found
        return found

    def written(self, name: str) -> Sequence[Any]:
        """Return the elements of a set or map as JSON has them. Raises: KeyError."""
        found: Sequence[Any] = self.sets[name].get("elem", [])
        return found


def _pairs(elements: Sequence[Any], *, is_map: bool) -> Iterator[tuple[Any, Any]]:
    for element in elements:
        yield (element[0], element[1]) if is_map else (element, None)


def parse(json_text: str, wanted: Collection[tuple[str, str]] | None = None) -> dict[tuple[str, str], Table]:
    """Return the tables of `nft -j list ruleset` by family and name, or those that are wanted. Raises: RulesetError."""
    return _parsed(json_text, lambda listed: wanted)


def parse_frames(json_text: str) -> dict[tuple[str, str], Table]:
    """Return the tables whose base chains see frames, not packets. Raises: RulesetError."""
    return _parsed(json_text, _with_frames)


def _with_frames(listed: list[dict[str, Any]]) -> set[tuple[str, str]]:
    chains = [item["chain"] for item in listed if "chain" in item]
    return {
        (chain["family"], chain["table"])
        for chain in chains
        if chain["family"] in {"bridge", "netdev", "arp"} or chain.get("hook") == "ingress"
    }


def _parsed(
    json_text: str, wanted: Callable[[list[dict[str, Any]]], Collection[tuple[str, str]] | None]
) -> dict[tuple[str, str], Table]:
    try:
        listed = msgspec.json.decode(json_text)["nftables"]
        return _tables(listed, wanted(listed))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        raise RulesetError("the nftables ruleset is not what `nft -j list ruleset` writes", "take it again") from None


def _tables(listed: list[dict[str, Any]], wanted: Collection[tuple[str, str]] | None) -> dict[tuple[str, str], Table]:
    tables: dict[tuple[str, str], Table] = {}

    def owner(item: dict[str, Any]) -> Table:
        mark = (item["family"], item["table"])
        if mark not in tables:
            tables[mark] = Table(*mark)
        return tables[mark]

    for item in listed:
        for kind, written in item.items():
            if wanted is not None and (written.get("family"), written.get("table")) not in wanted:
                continue
            if kind == "chain":
                owner(written).chains[written["name"]] = Chain(written)
            elif kind in {"set", "map"}:
                owner(written).sets[written["name"]] = written
            elif kind == "rule":
                table = owner(written)
                chain = table.chains[written["chain"]]
                chain.rules.append(Rule(table, len(chain.rules) + 1, written))
    return tables
