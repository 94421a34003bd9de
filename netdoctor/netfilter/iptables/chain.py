"""Chains and tables: rules in their order, and the way to those that a packet can match.

Knows nothing of text or of what rules do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.index import Index
from netdoctor.netfilter.iptables.prescan import jump_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.netfilter.iptables.rule import Rule
    from netdoctor.netfilter.packet import Family, Packet

_INDEXED_FROM = 16  # shorter chains are walked faster than looked up


class Chain:
    """A chain of a table. `policy` is None in a user-defined one."""

    __slots__ = ("_index", "counters", "family", "name", "policy", "rules", "table")

    def __init__(self, name: str, policy: str | None, counters: str | None, family: Family, table: Table) -> None:
        self.name = name
        self.policy = policy
        self.counters = counters  # "[packets:bytes]" as written
        self.family = family
        self.table = table
        self.rules: list[Rule] = []
        self._index: Index | None = None

    def __repr__(self) -> str:
        return f"Chain({self.name}, {len(self.rules)} rules)"

    @property
    def is_builtin(self) -> bool:
        """Whether the chain is a hook's own."""
        return self.policy is not None

    @property
    def references(self) -> tuple[Rule, ...]:
        """The rules of the table that jump or go here, in the order of chains and rules."""
        return self.table.references.get(self.name, ())

    def candidates(self, packet: Packet) -> Iterator[Rule]:
        """Yield every rule that can match the packet, in order; of a long chain without looking at the others."""
        if len(self.rules) <= _INDEXED_FROM:
            return iter(self.rules)
        if self._index is None:
            self._index = Index(self.rules, self.family)
        return self._index.candidates(packet)


class Table:
    """A table: its chains by name."""

    __slots__ = ("_references", "chains", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.chains: dict[str, Chain] = {}
        self._references: dict[str, tuple[Rule, ...]] | None = None

    def __repr__(self) -> str:
        return f"Table({self.name}, {len(self.chains)} chains)"

    @property
    def references(self) -> dict[str, tuple[Rule, ...]]:
        """The rules that jump or go to each chain, found without parsing the others."""
        if self._references is None:
            found: dict[str, list[Rule]] = {}
            for chain in self.chains.values():
                for rule in chain.rules:
                    name = jump_word(rule.text)
                    if name is not None and name in self.chains:
                        found.setdefault(name, []).append(rule)
            self._references = {name: tuple(rules) for name, rules in found.items()}
        return self._references
