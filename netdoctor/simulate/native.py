"""Native nftables base chains: which there are at a hook, and a packet's way through one.

Knows nothing of iptables' tables. Kernel: net/netfilter/nf_tables_core.c:nft_do_chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netdoctor.netfilter import effect as effects
from netdoctor.netfilter.nft import ruleset, survey
from netdoctor.netfilter.nft.expressions import Asking
from netdoctor.netfilter.ownership import owner
from netdoctor.netfilter.ternary import Chance, Unknown
from netdoctor.simulate import tables
from netdoctor.topology.shared import shared

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from netdoctor.netfilter.packet import Family, Hook
    from netdoctor.netfilter.ternary import Answer
    from netdoctor.simulate.hooks import At
    from netdoctor.topology.namespace import Netns


@dataclass(frozen=True, slots=True)
class BaseChain:
    """A native base chain."""

    table: ruleset.Table
    chain: ruleset.Chain

    @property
    def label(self) -> str:
        """What it is called where its order is in doubt."""
        return f"nft {self.table.family} {self.table.name} {self.chain.name}"

    def walk(self, at: At) -> tables.Result:
        """Ask its rules, and those that they call (nft_do_chain)."""
        return _walk(at, self)


def base_chains(netns: Netns, family: Family, hook: Hook) -> tuple[BaseChain, ...]:
    """Return the native base chains of a hook that see a family and have something to say. Cached on the namespace."""
    key = f"native {family} {hook}"
    found: tuple[BaseChain, ...] | None = netns.cache.get(key)
    if found is None:
        names = ("ip" if family == 4 else "ip6", "inet")
        found = netns.cache[key] = tuple(
            one
            for one in _all(netns)
            if one.table.family in names and (one.chain.hook or "").upper() == hook
            and (one.chain.rules or one.chain.policy != "accept")
        )  # fmt: skip
    return found


def tables_of(netns: Netns) -> tuple[ruleset.Table, ...]:
    """Return the tables that have a native base chain."""
    return tuple(dict.fromkeys(one.table for one in _all(netns)))


def _all(netns: Netns) -> tuple[BaseChain, ...]:
    """The base chains that iptables-nft does not keep; a table that it could not print is native as a whole."""
    text = netns.snapshot.nft
    if text is None or not text.json:
        return ()
    refused = {
        (family, table)
        for (family, backend), rules in netns.rulesets.items()
        if backend == "nft"
        for table in rules.incompatible
    }
    json_text = text.json
    return shared(text, f"native {sorted(refused)}", lambda: tuple(_native(json_text, refused)))


def _native(json_text: str, refused: set[tuple[str, str]]) -> Iterator[BaseChain]:
    """Yield the chains that hook (nf_tables_register_hook): those of dormant tables do not."""
    named = {(one.family, one.table, one.name) for one in survey.tables(json_text, refused).base_chains}
    # What iptables-nft keeps is not made into objects: there may be 200,000 rules of it.
    wanted = {(family, table) for family, table, _ in named}
    for (family, name), table in ruleset.parse(json_text, wanted).items() if wanted else ():
        for chain in table.chains.values():
            if (family, name, chain.name) in named:
                yield BaseChain(table, chain)


@dataclass(frozen=True, slots=True)
class _Decider:
    """What no snapshot shows is decided by a fork."""

    at: At
    where: str

    def holds(self, answer: Answer, what: str) -> bool:
        if isinstance(answer, Chance):
            weights = [answer.probability, 1 - answer.probability]
            labels = [f"{self.where}: {what}", f"{self.where}: not {what}"]
            return self.at.run.choose(labels, weights) == 0
        assert isinstance(answer, Unknown)
        label = f"{self.where}: {answer.why}"
        if self.at.run.choose([f"{label}: assumed to match", f"{label}: assumed not to match"]) == 0:
            self.at.packet.notes.insert(0, f"assumed to match: {answer.why}")
            return True
        return False

    def pick(self, weights: Sequence[float], what: str) -> int:
        if len(weights) == 1:
            return 0
        return self.at.run.choose(
            [f"{self.where}: {what} is {number}" for number in range(len(weights))], list(weights)
        )


def _walk(at: At, base: BaseChain) -> tables.Result:
    """A packet's way through a base chain and those that it jumps to (nft_do_chain)."""
    from netdoctor.simulate import duplicate

    table, here = base.table, at.here(base.table.name)
    stack: list[tuple[ruleset.Chain, Iterator[ruleset.Rule]]] = [(base.chain, iter(base.chain.rules))]
    calls = 0
    while stack:
        chain, rules = stack[-1]
        rule = next(rules, None)
        if rule is None:
            stack.pop()
            continue
        decider = _Decider(at, f"{at.netns.name} {base.label} {chain.name} rule {rule.number}")
        done = rule.run(Asking(at.packet, here, decider))
        if done is None:
            at.packet.notes.clear()
            continue
        where = _place_of(table, chain, rule)
        last = done[-1] if done else effects.CONTINUE
        tables.note(at, where, last, stage="nft")
        for wanted in done:
            if isinstance(wanted, effects.NoTrack):
                at.untrack()
            elif isinstance(wanted, effects.CtTemplate):
                at.prepare(wanted)  # nft_ct_set_zone_eval, also after notrack: nf_ct_get gives no entry
            elif isinstance(wanted, effects.Return):
                stack.pop()
            elif isinstance(wanted, effects.Jump):
                target = table.chains.get(wanted.chain)
                calls += 1
                if target is None or calls > tables.MAX_CALLS:
                    why = (
                        f"chain {wanted.chain} is not there"
                        if target is None
                        else "the chains call each other in a loop"
                    )
                    return tables.Result(effects.Undecided(why), where)
                if wanted.goto:
                    stack.pop()
                stack.append((target, iter(target.rules)))
            elif isinstance(wanted, effects.Tee):
                doubt = duplicate.send_copy(at, wanted)
                if doubt is not None:
                    return tables.Result(effects.Undecided(doubt), where)
            elif not isinstance(wanted, effects.Continue):
                return tables.Result(wanted, where)
    return _policy(at, base)


def _policy(at: At, base: BaseChain) -> tables.Result:
    where = {
        "family": base.table.family, "backend": "nft", "table": base.table.name, "chain": base.chain.name,
    }  # fmt: skip
    policy = base.chain.policy
    at.run.step("nft", at.netns, at.packet, hook=at.hook, action=f"policy {policy}", **where)
    return tables.Result(effects.Drop() if policy == "drop" else effects.ACCEPT, where)


def _place_of(table: ruleset.Table, chain: ruleset.Chain, rule: ruleset.Rule) -> dict[str, Any]:
    text = rule.text
    return {
        "family": table.family,
        "backend": "nft",
        "table": table.name,
        "chain": chain.name,
        "rule": rule.number,
        "handle": rule.handle,
        "text": text,
        "owner": owner(table.family, table.name, chain.name, text, rule.comment),
    }
