"""A packet on its way through one table's chain: every rule asked in order, jumps and returns, the policy.

Knows nothing of when a table is asked (hooks.py) or of what NAT does with an answer (nat.py).
Kernel: net/ipv4/netfilter/ip_tables.c:ipt_do_table, net/netfilter/nf_tables_core.c:nft_do_chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from netdoctor.netfilter import effect as effects
from netdoctor.netfilter.ownership import owner
from netdoctor.netfilter.packet import family_name
from netdoctor.netfilter.ternary import Chance, Unknown
from netdoctor.simulate.run import Answer, Fate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.netfilter.iptables.save import Chain, Rule, Table
    from netdoctor.simulate.hooks import At
    from netdoctor.simulate.surroundings import Here
    from netdoctor.simulate.trace import Stage
    from netdoctor.topology.namespace import Netns

MAX_CALLS = 4096  # a ruleset that the kernel loaded has no loops; a file from a stranger may


@dataclass(frozen=True, slots=True)
class Place:
    """A table of one backend."""

    backend: str
    table: Table
    name: str


@dataclass(frozen=True, slots=True)
class Result:
    """How a chain ended: what is to be done, and what said so."""

    effect: effects.Effect
    where: dict[str, Any]
    template: effects.CtTemplate | None = None


def places(at: At, name: str) -> list[Place]:
    """Return a table in each backend that has something to say at this hook, in the order in which they are asked.

    Of equal priorities the one that was registered last is asked first, which no snapshot shows: where both backends
    have a say, the walk forks.
    """
    netns, family = at.netns, family_name(at.packet.family)
    key = f"places {family} {name} {at.hook}"
    found: list[Place] | None = netns.cache.get(key)
    if found is None:
        found = []
        for backend in ("nft", "legacy"):
            ruleset = netns.rulesets.get((family, backend))
            table = None if ruleset is None else ruleset.tables.get(name)
            chain = None if table is None else table.chains.get(at.hook)
            if table is not None and chain is not None and (len(chain.rules) or chain.policy not in (None, "ACCEPT")):
                found.append(Place(backend, table, name))
        netns.cache[key] = found
    if len(found) == 2:
        order = ("hook order", netns.name, family, name)
        if order not in at.run.picked:
            what = f"hook order of {family} {name} in {netns.name}"
            at.run.picked[order] = at.run.choose([f"{what}: nft before legacy", f"{what}: legacy before nft"])
        if at.run.picked[order]:
            return found[::-1]
    return found


def pass_table(at: At, name: str) -> tuple[Fate | None, effects.CtTemplate | None]:
    """Take the packet through a table other than nat. Returns how it ended, and what raw said of its connection."""
    template: effects.CtTemplate | None = None
    for place in places(at, name):
        result = walk(at, place)
        template = result.template or template
        fate = carry_out(at, result)
        if fate is not None:
            return fate, template
    return None, template


def carry_out(at: At, result: Result) -> Fate | None:
    """Do what a chain's end wants done; None where the packet goes on."""
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
    why = None
    if isinstance(effect, effects.Queue):
        why = f"NFQUEUE {effect.number}: a program decides"
    elif isinstance(effect, effects.SynProxy):
        why = "SYNPROXY is not modelled"
    elif isinstance(effect, effects.TProxy):
        why = "TPROXY is not modelled"
    elif isinstance(effect, effects.Undecided):
        why = f"{effect.why} is not modelled"
    if why is not None:
        cause = run.cause("unmodelled", netns, interface=dev, detail=why, **result.where)
        return Fate("unknown", netns, dev, packet, cause)
    return None


def walk(at: At, place: Place) -> Result:
    """Ask one table's chain for this hook (ipt_do_table)."""
    here = at.here(place.name)
    base = place.table.chains[at.hook]
    template: effects.CtTemplate | None = None
    stack: list[tuple[Chain, Iterator[Rule]]] = [(base, iter(base.candidates(at.packet)))]
    calls = 0
    while stack:
        chain, rules = stack[-1]
        rule = next(rules, None)
        if rule is None:
            stack.pop()
            continue
        if not _matches(at, here, place, chain, rule):
            continue
        result = rule.effect(at.packet, here)
        where = place_of(at, place, chain, rule)
        _note(at, where, result)
        if isinstance(result, effects.Continue | effects.Tee):
            continue
        if isinstance(result, effects.NoTrack):
            if at.packet.connection is None:
                at.packet.ctstate = "UNTRACKED"
            continue
        if isinstance(result, effects.CtTemplate):
            template = template or result
            continue
        if isinstance(result, effects.Return):
            stack.pop()
            continue
        if isinstance(result, effects.Jump):
            target = place.table.chains.get(result.chain)
            calls += 1
            if target is None or calls > MAX_CALLS:
                why = f"chain {result.chain} is not there" if target is None else "the chains call each other in a loop"
                return Result(effects.Undecided(why), where, template)
            if result.goto:
                stack.pop()
            stack.append((target, iter(target.candidates(at.packet))))
            continue
        return Result(result, where, template)
    return _policy(at, place, base, template)


def _matches(at: At, here: Here, place: Place, chain: Chain, rule: Rule) -> bool:
    answer = rule.answer(at.packet, here)
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


def _policy(at: At, place: Place, base: Chain, template: effects.CtTemplate | None) -> Result:
    policy = base.policy or "ACCEPT"
    where = {
        "family": family_name(at.packet.family), "backend": place.backend, "table": place.name, "chain": base.name,
    }  # fmt: skip
    at.run.step(cast("Stage", place.name), at.netns, at.packet, hook=at.hook, action=f"policy {policy}", **where)
    if policy == "ACCEPT":
        return Result(effects.ACCEPT, where, template)
    if policy == "DROP":
        return Result(effects.Drop(), where, template)
    return Result(effects.Undecided(f"policy {policy}"), where, template)


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


def _note(at: At, where: dict[str, Any], result: effects.Effect) -> None:
    if at.run.muted:
        at.packet.notes.clear()
        return
    note = "; ".join(at.packet.notes) or None
    at.packet.notes.clear()
    at.run.step(
        cast("Stage", where["table"]), at.netns, at.packet, hook=at.hook, action=_action(result), note=note, **where
    )


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
        effects.NoTrack: "NOTRACK", effects.CtTemplate: "CT", effects.Queue: "NFQUEUE", effects.TProxy: "TPROXY",
        effects.SynProxy: "SYNPROXY", effects.Tee: "TEE", effects.Undecided: "unknown",
    }  # fmt: skip
    return names[type(result)]


def has_rules(netns: Netns, family: int, name: str, hook: str) -> bool:
    """Return whether any backend has rules or a dropping policy in a table at a hook."""
    word = "ip" if family == 4 else "ip6"
    for backend in ("nft", "legacy"):
        ruleset = netns.rulesets.get((word, backend))
        table = None if ruleset is None else ruleset.tables.get(name)
        chain = None if table is None else table.chains.get(hook)
        if chain is not None and (len(chain.rules) or chain.policy not in (None, "ACCEPT")):
            return True
    return False
