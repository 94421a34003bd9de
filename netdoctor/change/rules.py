"""Rules, chains and policies of iptables and ip6tables, changed in the text that iptables-save wrote.

Knows nothing of what a rule means or how it reaches the kernel. Source: iptables(8), iptables-save(8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from netdoctor.change import ruletext
from netdoctor.change.operation import Argv, Operation
from netdoctor.change.overlay import changed, namespace
from netdoctor.model.errors import PlanError
from netdoctor.model.snapshot import RulesetText
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Snapshot

Family = Literal["ip", "ip6"]
Backend = Literal["nft", "legacy"]
Table = Literal["raw", "mangle", "nat", "filter", "security"]


class RulesetOperation(Operation, frozen=True, kw_only=True):
    """A change to one chain of one ruleset."""

    family: Family = "ip"
    backend: Backend = "nft"
    table: Table
    chain: str

    def __post_init__(self) -> None:
        """Raise ValueError for a chain's name that no tool would take."""
        if not ruletext.is_chain_name(self.chain):
            raise ValueError(f"not a chain's name: {self.chain!r}")

    def ruleset(self, snapshot: Snapshot) -> RulesetText | None:
        """Return the ruleset that it changes, None where there is none."""
        for one in namespace(snapshot, self.netns).rulesets:
            if (one.family, one.backend) == (self.family, self.backend):
                return one
        return None

    def found(self, snapshot: Snapshot) -> ruletext.Chain | None:
        """Return the chain as it is in a snapshot."""
        ruleset = self.ruleset(snapshot)
        return None if ruleset is None else ruletext.chain(ruleset.text, self.table, self.chain)

    def edit(self, text: str) -> str:
        """Return the ruleset's text afterwards. Raises: PlanError."""
        raise NotImplementedError

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Replace the one ruleset; where there was none, it comes last. Raises: PlanError."""
        old = self.ruleset(snapshot) or RulesetText(self.family, self.backend, "")
        text = self.edit(old.text)
        if text == old.text:
            return snapshot
        rulesets = namespace(snapshot, self.netns).rulesets
        new = replace(old, text=text)
        kept = tuple(new if one is old else one for one in rulesets)
        return changed(snapshot, self.netns, rulesets=kept if new in kept else (*kept, new))

    def touches(self, snapshot: Snapshot) -> str:
        """Return the chain, policy first. A built-in chain that is not there is as good as an empty one."""
        found = self.found(snapshot)
        if found is None:
            found = ruletext.Chain("ACCEPT" if self.is_built_in else "absent", ())
        return "\n".join((found.policy or "-", *found.rules))

    @property
    def is_built_in(self) -> bool:
        """Whether the chain is one of the hooks' own."""
        return self.chain in ruletext.BUILT_IN[self.table]

    @property
    def program(self) -> str:
        """The tool that works on this family and backend."""
        return f"{'iptables' if self.family == 'ip' else 'ip6tables'}-{self.backend}"

    @property
    def where(self) -> str:
        """The table and the chain, for a person."""
        return f"{self.table} {printable(self.chain)} ({self.program})"

    def _tool(self, *arguments: str) -> tuple[Argv, ...]:
        return ((self.program, "-w", "-t", self.table, *arguments),)

    def _chain_fields(self) -> tuple[str, Family, Backend, Table, str]:
        return self.netns, self.family, self.backend, self.table, self.chain


class _RuleChange(RulesetOperation, frozen=True, kw_only=True):
    """`text` is what iptables-save prints behind `-A CHAIN `, so that the same words add, find and delete the rule."""

    text: str

    def __post_init__(self) -> None:
        """Raise ValueError for a text that would be more than one rule."""
        RulesetOperation.__post_init__(self)
        if "\n" in self.text or "\0" in self.text:
            raise ValueError("a rule is one line")

    def held(self, snapshot: Snapshot) -> bool:
        """Whether the chain holds the rule, wherever in it."""
        found = self.found(snapshot)
        return found is not None and any(ruletext.same(there, self.text) for there in found.rules)


class AddRule(_RuleChange, frozen=True, kw_only=True, tag="add-rule"):
    """Insert a rule as number `position` of its chain, counted from 1; 0 appends it."""

    position: int = 0

    def edit(self, text: str) -> str:
        """Put the line in. A built-in chain or table that is not there comes into being, as in the kernel."""
        return ruletext.insert(text, self.table, self.chain, self.position, self.text)

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Delete exactly this rule, even where another one like it was there before."""
        del before
        netns, family, backend, table, chain = self._chain_fields()
        return (DeleteRule(netns=netns, family=family, backend=backend, table=table, chain=chain, text=self.text),)

    def present(self, snapshot: Snapshot) -> bool:
        """Whether the rule is in the chain."""
        return self.held(snapshot)

    def commands(self) -> tuple[Argv, ...]:
        """`iptables -I CHAIN POSITION RULE` or `-A CHAIN RULE`."""
        how = ("-I", self.chain, str(self.position)) if self.position else ("-A", self.chain)
        return self._tool(*how, *ruletext.words(self.text))

    def describe(self) -> str:
        """Say where, and the rule."""
        how = f"as rule {self.position} of" if self.position else "at the end of"
        return f"add {how} {self.where}: {printable(self.text)}"


class DeleteRule(_RuleChange, frozen=True, kw_only=True, tag="delete-rule"):
    """Remove the first rule of a chain that has exactly these words."""

    def edit(self, text: str) -> str:
        """Take the line out; nothing changes where it is not there."""
        return ruletext.delete(text, self.table, self.chain, self.text)

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Put it back where it was."""
        found = self.found(before)
        for number, there in enumerate(found.rules if found is not None else (), 1):
            if ruletext.same(there, self.text):
                netns, family, backend, table, chain = self._chain_fields()
                return (AddRule(
                    netns=netns, family=family, backend=backend, table=table, chain=chain, text=there, position=number
                ),)  # fmt: skip
        return ()

    def present(self, snapshot: Snapshot) -> bool:
        """Whether the rule is gone."""
        return not self.held(snapshot)

    def commands(self) -> tuple[Argv, ...]:
        """`iptables -D CHAIN RULE`."""
        return self._tool("-D", self.chain, *ruletext.words(self.text))

    def describe(self) -> str:
        """Say where, and the rule."""
        return f"delete in {self.where}: {printable(self.text)}"


class NewChain(RulesetOperation, frozen=True, kw_only=True, tag="new-chain"):
    """Make a chain of one's own."""

    def edit(self, text: str) -> str:
        """Declare it."""
        return ruletext.with_chain(text, self.table, self.chain)

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Remove it; nothing if it was there already."""
        netns, family, backend, table, chain = self._chain_fields()
        gone = DeleteChain(netns=netns, family=family, backend=backend, table=table, chain=chain)
        return () if self.present(before) else (gone,)

    def present(self, snapshot: Snapshot) -> bool:
        """Whether it is there."""
        return self.found(snapshot) is not None

    def commands(self) -> tuple[Argv, ...]:
        """`iptables -N CHAIN`."""
        return self._tool("-N", self.chain)

    def describe(self) -> str:
        """Say where."""
        return f"new chain {self.where}"


class DeleteChain(RulesetOperation, frozen=True, kw_only=True, tag="delete-chain"):
    """Remove an empty chain of one's own that nothing jumps to."""

    def edit(self, text: str) -> str:
        """Take its declaration out. Raises: PlanError where it is in use."""
        return ruletext.without_chain(text, self.table, self.chain)

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Make it again."""
        netns, family, backend, table, chain = self._chain_fields()
        new = NewChain(netns=netns, family=family, backend=backend, table=table, chain=chain)
        return () if self.present(before) else (new,)

    def present(self, snapshot: Snapshot) -> bool:
        """Whether it is gone."""
        return self.found(snapshot) is None

    def commands(self) -> tuple[Argv, ...]:
        """`iptables -X CHAIN`."""
        return self._tool("-X", self.chain)

    def describe(self) -> str:
        """Say where."""
        return f"delete chain {self.where}"


class SetPolicy(RulesetOperation, frozen=True, kw_only=True, tag="set-policy"):
    """Set what becomes of packets at the end of a built-in chain."""

    policy: Literal["ACCEPT", "DROP"]

    def edit(self, text: str) -> str:
        """Write the policy. Raises: PlanError for a chain that has none."""
        if not self.is_built_in:
            raise PlanError(f"chain {printable(self.chain)} of {self.table} has no policy", "name a built-in chain")
        return ruletext.with_policy(text, self.table, self.chain, self.policy)

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Set the policy that it had."""
        old = self._policy(before)
        return () if old in {None, self.policy} else (replace(self, policy=old),)

    def present(self, snapshot: Snapshot) -> bool:
        """Whether the policy is this one."""
        return self._policy(snapshot) == self.policy

    def _policy(self, snapshot: Snapshot) -> str | None:
        found = self.found(snapshot)
        if found is None:
            return "ACCEPT" if self.is_built_in else None
        return found.policy

    def touches(self, snapshot: Snapshot) -> str:
        """Return the policy; the rules do not matter."""
        return self._policy(snapshot) or "absent"

    def commands(self) -> tuple[Argv, ...]:
        """`iptables -P CHAIN POLICY`."""
        return self._tool("-P", self.chain, self.policy)

    def describe(self) -> str:
        """Say where, and the policy."""
        return f"policy {self.policy} for {self.where}"
