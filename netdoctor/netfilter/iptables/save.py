"""The text of iptables-save and its twins: parsed into tables, chains and rules, and written back byte for byte.

Knows nothing of what a rule means. Kernel tools: iptables/iptables-save.c, iptables/xtables-save.c, iptables-restore.c.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netdoctor.model.errors import RulesetError
from netdoctor.model.text import printable
from netdoctor.netfilter.iptables.chain import Chain, Table
from netdoctor.netfilter.iptables.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.netfilter.packet import Family

__all__ = ["Chain", "Rule", "Ruleset", "Table", "dump", "parse"]

_CHAIN = re.compile(r":(\S+) (\S+)(?: (\[\d+:\d+\]))?(\s*)\Z")
_COUNTERS = re.compile(r"\[\d+:\d+\]\Z")
# What a tool says on its standard error, caught in the same file.
_REMARK = re.compile(r"(?:ip|ip6|eb|arp|x)tables|Warning|WARNING|.*incompatible, use 'nft' tool")
_INCOMPATIBLE = re.compile(r"table [`']([^']+)' is incompatible, use 'nft' tool", re.IGNORECASE)


class Ruleset:
    """What one run of iptables-save wrote: tables by name, and the order of its lines."""

    __slots__ = ("_lines", "_newline", "backend", "derived", "family", "incompatible", "tables")

    def __init__(self, family: Family, backend: str) -> None:
        self.family = family
        self.backend = backend
        self.tables: dict[str, Table] = {}
        self.incompatible: tuple[str, ...] = ()  # tables with native rules, which iptables-nft-save does not print
        self.derived: dict[str, object] = {}  # what others read out of it once and keep with it
        # (table, line): a Rule, a chain's declaration, or a line kept as it is
        self._lines: list[tuple[str | None, Rule | _Tailed | _ChainLine | _Verbatim]] = []
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


class _Verbatim:
    """A line that is no chain and no rule: a comment, a warning, `*nat`, COMMIT, nothing."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def spell(self) -> str:
        return self.text


class _ChainLine:
    __slots__ = ("counters", "name", "policy", "tail")

    def __init__(self, name: str, policy: str, counters: str | None, tail: str) -> None:
        self.name = name
        self.policy = policy
        self.counters = counters
        self.tail = tail

    def spell(self) -> str:
        counters = f" {self.counters}" if self.counters else ""
        return f":{self.name} {self.policy}{counters}{self.tail}"


class _Tailed:
    """A rule without words behind which white space stands, or a carriage return."""

    __slots__ = ("rule", "tail")

    def __init__(self, rule: Rule, tail: str) -> None:
        self.rule = rule
        self.tail = tail

    def spell(self) -> str:
        return _spell(self.rule) + self.tail


def parse(text: str, family: Family, backend: str) -> Ruleset:
    """Parse the output of `iptables-save`, with or without `-c`, of any version.

    A table that comes twice is as iptables-restore would leave it: the later one counts.

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
        self.opened = 0  # the line of `*TABLE`
        self.stray: tuple[int, str] | None = None  # the first line outside tables that is not iptables-save's

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
                f"line {len(lines)}: table {printable(self.table.name)} of line {self.opened} has no COMMIT: "
                "the ruleset is cut short",
                "save it again with iptables-save",
            )
        if self.stray is not None and not self.ruleset.tables:
            raise _broken(*self.stray, "neither a table nor a comment")

    def _other(self, line: str, number: int) -> str | None:
        """Read `*TABLE`, `COMMIT`, comments and what tools say between them; return the table that the line is of."""
        if line[:1] == "*":
            return self._open(line, number)
        word = line.strip()
        if word == "COMMIT":
            if self.table is None:
                raise _broken(number, line, "COMMIT outside a table")
            name, self.table = self.table.name, None
            return name
        if "incompatible" in word and (found := _INCOMPATIBLE.search(word)) is not None:
            self.ruleset.incompatible += (found[1],)
        elif word and word[0] != "#" and not _REMARK.match(word):
            if self.table is not None:
                raise _broken(number, line, "neither a chain, a rule nor COMMIT")
            self.stray = self.stray or (number, line)
        return None

    def _open(self, line: str, number: int) -> str:
        name = line[1:].strip()
        if self.table is not None:
            raise _broken(number, line, f"table {self.table.name} of line {self.opened} was not committed")
        if not name:
            raise _broken(number, line, "a table without a name")
        self.table = self.ruleset.tables[name] = Table(name)
        self.opened = number
        return name

    def _chain(self, line: str, number: int) -> _ChainLine:
        found = _CHAIN.match(line)
        if found is None or self.table is None:
            raise _broken(number, line, "not a chain of a table")
        name, policy, counters, tail = found.groups()
        chain = Chain(name, None if policy == "-" else policy, counters, self.ruleset.family, self.table)
        self.table.chains[name] = chain
        return _ChainLine(name, policy, counters, tail)

    def _rule(self, line: str, number: int) -> Rule | _Tailed:
        counters = None
        body = line
        if line[0] == "[":
            counters, _, body = line.partition(" ")
            if _COUNTERS.match(counters) is None:
                raise _broken(number, line, "the counters are not [packets:bytes]")
        words = body.split(" ", 2)
        if words[0] != "-A" or len(words) < 2 or not words[1]:
            raise _broken(number, line, "not a rule as iptables-save writes it")
        if self.table is None:
            raise _broken(number, line, "a rule outside a table")
        name, text, tail = words[1], words[2] if len(words) > 2 else "", ""
        if line[-1] in " \r" and not text.strip():
            name, tail = name.rstrip(), body[len("-A ") + len(name.rstrip()) :]
            text = ""
        chain = self.table.chains.get(name)
        if chain is None:
            raise _broken(number, line, f"chain {name} was not declared")
        if '"' in text and text.count('"') & 1 and _unclosed(text):
            raise _broken(number, line, "a quoted text is not closed: the ruleset is cut short")
        rule = Rule(
            chain.name, len(chain.rules) + 1, text, self.ruleset.family, counters, self.table.chains, self.table.name
        )  # fmt: skip
        chain.rules.append(rule)
        return _Tailed(rule, tail) if tail else rule


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


def _spell(rule: Rule) -> str:
    return f"{rule.counters} {rule.line}" if rule.counters else rule.line


def dump(ruleset: Ruleset, table: str | None = None) -> str:
    """Write a ruleset back from what was parsed; with `table`, only that one. Byte for byte as it was read."""
    written = [
        _spell(line) if isinstance(line, Rule) else line.spell()
        for name, line in ruleset._lines  # noqa: SLF001
        if table is None or name == table
    ]
    if not written:
        return ""
    return "\n".join(written) + ("\n" if ruleset._newline or table is not None else "")  # noqa: SLF001
