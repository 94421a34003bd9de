"""A packet on its way through one table's chain: every rule asked in order, jumps and returns, the policy.

Knows nothing of when a table is asked (hooks.py) or of what NAT does with an answer (nat.py).
Kernel: net/ipv4/netfilter/ip_tables.c:ipt_do_table, net/netfilter/nf_tables_core.c:nft_do_chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from netdoctor.netfilter import effect as effects
from netdoctor.netfilter import ternary
from netdoctor.netfilter.ownership import owner
from netdoctor.netfilter.packet import family_name
from netdoctor.netfilter.ternary import Chance, Unknown
from netdoctor.simulate.run import Answer, Fate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.netfilter.iptables.save import Chain, Rule, Table
    from netdoctor.netfilter.packet import Family
    from netdoctor.simulate.hooks import At
    from netdoctor.simulate.trace import Stage
    from netdoctor.topology.namespace import Netns

MAX_CALLS = 4096  # a ruleset that the kernel loaded has no loops; a file from a stranger may


@dataclass(frozen=True, slots=True)
class Place:
    """A table of one backend."""

    backend: str
    table: Table
    name: str

    @property
    def label(self) -> str:
        """What it is called where its order is in doubt."""
        return self.backend

    def walk(self, at: At) -> Result:
        """Ask the table's chain for this hook (ipt_do_table)."""
        return walk(at, self)


@dataclass(frozen=True, slots=True)
class Result:
    """How a chain ended: what is to be done, and what said so."""

    effect: effects.Effect
    where: dict[str, Any]


def places(netns: Netns, family: Family, name: str, hook: str) -> tuple[Place, ...]:
    """Return a table in each backend that has something to say at a hook. Cached on the namespace."""
    word = family_name(family)
    key = f"places {word} {name} {hook}"
    found: tuple[Place, ...] | None = netns.cache.get(key)
    if found is None:
        found = netns.cache[key] = tuple(
            Place(backend, table, name)
            for backend in ("nft", "legacy")
            if (rules := netns.rulesets.get((word, backend))) is not None
            and (table := rules.tables.get(name)) is not None
            and (chain := table.chains.get(hook)) is not None
            and (len(chain.rules) or chain.policy not in (None, "ACCEPT"))
        )
    return found


def carry_out(at: At, result: Result) -> Fate | None:
    """Do what a chain's end wants done (nf_hook_slow); None where the packet goes on."""
    from netdoctor.simulate import synproxy

    run, packet, netns = at.run, at.packet, at.netns
    effect = result.effect
    kind = "policy" if "rule" not in result.where else "rule"
    dev = packet.in_dev if packet.in_dev is not None else packet.out_dev
    if isinstance(effect, effects.Drop):
        cause = run.cause(kind, netns, drop_reason=effect.reason, interface=dev, **result.where)  # type: ignore[arg-type]
        return Fate("dropped", netns, dev, packet, cause, errno=effect.errno or "EPERM", silent=True)
    if isinstance(effect, effects.Reject):
        cause = run.cause("rule", netns, drop_reason="NETFILTER_DROP", interface=dev, **result.where)
        answer = Answer(effect.answer, netns, packet.in_dev, bridge=packet.in_dev if packet.bridged else None)
        return Fate("rejected", netns, dev, packet, cause, answer=answer, errno="EPERM", silent=True)
    if isinstance(effect, effects.SynProxy):
        return synproxy.taken(at, result.where)
    why = None
    if isinstance(effect, effects.Queue):
        why = f"NFQUEUE {effect.number}: a program decides"
    elif isinstance(effect, effects.Undecided):
        why = f"{effect.why} is not modelled"
    if why is not None:
        cause = run.cause("unmodelled", netns, interface=dev, detail=why, **result.where)
        return Fate("unknown", netns, dev, packet, cause)
    return None


def walk(at: At, place: Place) -> Result:
    """Ask one table's chain for this hook (ipt_do_table)."""
    from netdoctor.simulate import duplicate

    here = at.here(place.name)
    base = place.table.chains[at.hook]
    stack: list[tuple[Chain, Iterator[Rule]]] = [(base, iter(base.candidates(at.packet)))]
    calls = 0
    while stack:
        chain, rules = stack[-1]
        rule = next(rules, None)
        if rule is None:
            stack.pop()
            continue
        answer = rule.answer(at.packet, here)
        if isinstance(answer, Unknown) and answer.drops:
            return Result(effects.Undecided(answer.why), place_of(at, place, chain, rule))
        if not _matches(at, place, chain, rule, answer):
            continue
        result = rule.effect(at.packet, here)
        where = place_of(at, place, chain, rule)
        note(at, where, result, stage=cast("Stage", place.name))
        if isinstance(result, effects.Tee):
            why = duplicate.send_copy(at, result)
            if why is not None:
                return Result(effects.Undecided(why), where)
            continue
        if isinstance(result, effects.Continue):
            continue
        if isinstance(result, effects.NoTrack):
            at.untrack()
            continue
        if isinstance(result, effects.CtTemplate):
            if at.packet.ctstate != "UNTRACKED":  # xt_ct_target: skb->_nfct
                at.prepare(result)
            continue
        if isinstance(result, effects.Return):
            stack.pop()
            continue
        if isinstance(result, effects.Jump):
            target = place.table.chains.get(result.chain)
            calls += 1
            if target is None or calls > MAX_CALLS:
                why = f"chain {result.chain} is not there" if target is None else "the chains call each other in a loop"
                return Result(effects.Undecided(why), where)
            if result.goto:
                stack.pop()
            stack.append((target, iter(target.candidates(at.packet))))
            continue
        return Result(result, where)
    return _policy(at, place, base)


def _matches(at: At, place: Place, chain: Chain, rule: Rule, answer: ternary.Answer) -> bool:
    """Whether a rule matches (ipt_do_table); chances and what is not known fork the walk."""
    if answer is True or answer is False:
        return answer
    if isinstance(answer, Chance):
        if not 0.0 < answer.probability < 1.0:
            return answer.probability >= 1.0
        what = f"{place.name} {chain.name} {rule.number}"
        yes, no = f"{what}: taken at random", f"{what}: not taken at random"
        if at.run.choose([yes, no], [answer.probability, 1.0 - answer.probability]) == 0:
            at.packet.notes.insert(0, "taken at random")
            return True
        return False
    assert isinstance(answer, Unknown)
    target = rule.target
    if target is None or target.harmless:
        return False  # whether it matches changes nobody's fate
    what = f"{at.netns.name} {place.name} {chain.name} rule {rule.number}: {answer.why}"
    if at.run.choose([f"{what}: assumed to match", f"{what}: assumed not to match"]) == 0:
        at.packet.notes.insert(0, f"assumed to match: {answer.why}")
        return True
    return False


def _policy(at: At, place: Place, base: Chain) -> Result:
    """The policy of a base chain, when its rules have run out (ipt_do_table)."""
    policy = base.policy or "ACCEPT"
    where = {
        "family": family_name(at.packet.family), "backend": place.backend, "table": place.name, "chain": base.name,
    }  # fmt: skip
    at.run.step(cast("Stage", place.name), at.netns, at.packet, hook=at.hook, action=f"policy {policy}", **where)
    if policy == "ACCEPT":
        return Result(effects.ACCEPT, where)
    if policy == "DROP":
        return Result(effects.Drop(), where)
    return Result(effects.Undecided(f"policy {policy}"), where)


def place_of(at: At, place: Place, chain: Chain, rule: Rule) -> dict[str, Any]:
    """Return what names a rule in steps and causes."""
    family = family_name(at.packet.family)
    return {
        "family": family,
        "backend": place.backend,
        "table": place.name,
        "chain": chain.name,
        "rule": rule.number,
        "text": rule.line,
        "owner": owner(family, place.name, chain.name, rule.line, rule.comment),
    }


def note(at: At, where: dict[str, Any], result: effects.Effect, *, stage: Stage) -> None:
    """Write down that a rule matched, with what its target did to the packet."""
    if at.run.muted:
        at.packet.notes.clear()
        return
    said = "; ".join(at.packet.notes) or None
    at.packet.notes.clear()
    at.run.step(stage, at.netns, at.packet, hook=at.hook, action=_action(result), note=said, **where)


def _action(result: effects.Effect) -> str:
    if isinstance(result, effects.Jump):
        return f"{'goto' if result.goto else 'jump'} {result.chain}"
    if isinstance(result, effects.Reject):
        return f"REJECT {result.answer}"
    if isinstance(result, effects.Nat):
        if result.masquerade:
            return "MASQUERADE"
        if result.redirect:
            return "REDIRECT"
        if result.netmap_mask is not None:
            return "NETMAP"
        return "SNAT" if result.manip == "src" else "DNAT"
    names = {
        effects.Continue: "continue", effects.Accept: "ACCEPT", effects.Drop: "DROP", effects.Return: "RETURN",
        effects.NoTrack: "NOTRACK", effects.CtTemplate: "CT", effects.Queue: "NFQUEUE",
        effects.SynProxy: "SYNPROXY", effects.Tee: "TEE", effects.Undecided: "unknown",
    }  # fmt: skip
    return names[type(result)]
