"""The text of iptables-save and its twins: parsed into tables, chains and rules, and written back byte for byte.

Knows nothing of what a rule means. Kernel tools: iptables/iptables-save.c, iptables/iptables-restore.c.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netdoctor.model.errors import RulesetError
from netdoctor.model.text import printable
from netdoctor.netfilter.iptables.index import Index
from netdoctor.netfilter.iptables.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.netfilter.packet import Family, Packet

__all__ = ["Chain", "Rule", "Ruleset", "Table", "dump", "parse"]

_CHAIN = re.compile(r":(\S+) (\S+)(?: (\[\d+:\d+\]))?(\s*)\Z")
_INDEXED_FROM = 16  # shorter chains are walked faster than looked up


class Chain:
    """A chain of a table. `policy` is None in a user-defined one."""

    __slots__ = ("_index", "counters", "family", "name", "policy", "rules")

    def __init__(self, name: str, policy: str | None, counters: str | None, family: Family) -> None:
        self.name = name
        self.policy = policy
        self.counters = counters
        self.family = family
        self.rules: list[Rule] = []
        self._index: Index | None = None

    def __repr__(self) -> str:
        return f"Chain({self.name}, {len(self.rules)} rules)"

    @property
    def is_builtin(self) -> bool:
        """Whether the chain is a hook's own."""
        return self.policy is not None

    def candidates(self, packet: Packet) -> Iterator[Rule]:
        """Yield every rule that can match the packet, in order; of a long chain without looking at the others."""
        if len(self.rules) <= _INDEXED_FROM:
            return iter(self.rules)
        if self._index is None:
            self._index = Index(self.rules, self.family)
        return self._index.candidates(packet)


class Table:
    """A table: its chains by name."""

    __slots__ = ("chains", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.chains: dict[str, Chain] = {}


class _Verbatim:
    """A line that is no chain and no rule: a comment, a warning, nothing."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def spell(self) -> str:
        return self.text


class _ChainLine:
    __slots__ = ("chain", "counters", "tail")

    def __init__(self, chain: Chain, counters: str | None, tail: str) -> None:
        self.chain = chain
        self.counters = counters
        self.tail = tail

    def spell(self) -> str:
        counters = f" {self.counters}" if self.counters else ""
        return f":{self.chain.name} {self.chain.policy or '-'}{counters}{self.tail}"


class Ruleset:
    """What one run of iptables-save wrote: tables by name, and the order of its lines."""

    __slots__ = ("_lines", "_newline", "backend", "family", "tables")

    def __init__(self, family: Family, backend: str) -> None:
        self.family = family
        self.backend = backend
        self.tables: dict[str, Table] = {}
        # (table, line): a Rule, a chain's declaration, or a line kept as it is
        self._lines: list[tuple[str | None, Rule | _ChainLine | _Verbatim]] = []
        self._newline = True

    @property
    def rule_count(self) -> int:
        """How many rules there are in all tables."""
        return sum(len(chain.rules) for table in self.tables.values() for chain in table.chains.values())

    def rules(self) -> Iterator[tuple[Table, Rule]]:
        """Yield every rule with its table."""
        for table in self.tables.values():
            for chain in table.chains.values():
                for rule in chain.rules:
                    yield table, rule


def parse(text: str, family: Family, backend: str) -> Ruleset:
    """Parse the output of `iptables-save`, with or without `-c`, of any version.

    Raises: RulesetError with the number of the line: cut in the middle, a rule outside a table, no COMMIT at the end.
    """
    ruleset = Ruleset(family, backend)
    ruleset._newline = text.endswith("\n") or not text  # noqa: SLF001
    lines = text.split("\n")
    if ruleset._newline:  # noqa: SLF001
        lines.pop()
    _Parser(ruleset).parse(lines)
    return ruleset


class _Parser:
    def __init__(self, ruleset: Ruleset) -> None:
        self.ruleset = ruleset
        self.table: Table | None = None

    def parse(self, lines: list[str]) -> None:
        add = self.ruleset._lines.append  # noqa: SLF001
        for number, line in enumerate(lines, 1):
            first = line[:1]
            name = self.table.name if self.table is not None else None
            if first in {"-", "["}:
                add((name, self._rule(line, number)))
            elif first == ":":
                add((name, self._chain(line, number)))
            else:
                name = self._other(line, number) or name
                add((name, _Verbatim(line)))
        if self.table is not None:
            raise RulesetError(
                f"line {len(lines)}: table {printable(self.table.name)} has no COMMIT: the ruleset is cut short",
                "save it again with iptables-save",
            )

    def _other(self, line: str, number: int) -> str | None:
        """Read `*TABLE`, `COMMIT`, comments and what tools say between them."""
        if line[:1] == "*":
            if self.table is not None:
                raise _broken(number, line, f"table {self.table.name} was not committed")
            name = line[1:].strip()
            self.table = self.ruleset.tables.setdefault(name, Table(name))
            return name
        if line.strip() == "COMMIT":
            if self.table is None:
                raise _broken(number, line, "COMMIT outside a table")
            name, self.table = self.table.name, None
            return name
        if line.strip() and line[:1] != "#" and self.table is not None:
            raise _broken(number, line, "neither a chain, a rule nor COMMIT")
        return None

    def _chain(self, line: str, number: int) -> _ChainLine:
        found = _CHAIN.match(line)
        if found is None or self.table is None:
            raise _broken(number, line, "not a chain of a table")
        name, policy, counters, tail = found.groups()
        chain = self.table.chains.get(name)
        if chain is None:
            chain = Chain(name, None if policy == "-" else policy, counters, self.ruleset.family)
            self.table.chains[name] = chain
        return _ChainLine(chain, counters, tail)

    def _rule(self, line: str, number: int) -> Rule:
        counters = None
        body = line
        if line[0] == "[":
            counters, _, body = line.partition(" ")
            if counters[-1:] != "]" or ":" not in counters:
                raise _broken(number, line, "the counters are cut short")
        words = body.split(" ", 2)
        if words[0] != "-A" or len(words) < 2 or not words[1]:
            raise _broken(number, line, "not a rule as iptables-save writes it")
        if self.table is None:
            raise _broken(number, line, "a rule outside a table")
        chain = self.table.chains.get(words[1])
        if chain is None:
            raise _broken(number, line, f"chain {words[1]} was not declared")
        text = words[2] if len(words) > 2 else ""
        if text.count('"') & 1 and _unclosed(text):
            raise _broken(number, line, "a quoted text is not closed: the ruleset is cut short")
        rule = Rule(chain.name, len(chain.rules) + 1, text, self.ruleset.family, counters)
        chain.rules.append(rule)
        return rule


def _unclosed(text: str) -> bool:
    """Whether a quoted string is still open at the end; escaped quotes do not count."""
    opened = False
    escaped = False
    for letter in text:
        if escaped:
            escaped = False
        elif letter == "\\" and opened:
            escaped = True
        elif letter == '"':
            opened = not opened
    return opened


def _broken(number: int, line: str, why: str) -> RulesetError:
    shown = printable(line if len(line) <= 60 else line[:57] + "…")
    return RulesetError(f"line {number}: {printable(why)}: {shown!r}", "is this the whole output of iptables-save?")


def dump(ruleset: Ruleset, table: str | None = None) -> str:
    """Write a ruleset back from what was parsed; with `table`, only that one. Byte for byte as it was read."""
    written = []
    for name, line in ruleset._lines:  # noqa: SLF001
        if table is not None and name != table:
            continue
        if isinstance(line, Rule):
            written.append(f"{line.counters} {line.line}" if line.counters else line.line)
        else:
            written.append(line.spell())
    if not written:
        return ""
    return "\n".join(written) + ("\n" if ruleset._newline or table is not None else "")  # noqa: SLF001
