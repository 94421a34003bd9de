"""Which native nftables base chains there are beside those that iptables-nft keeps, and which of them can do anything.

Knows nothing of what a match means: a chain that could touch a packet is only named. Source: libnftables-json(5)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from netdoctor.model.errors import RulesetError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

Place = tuple[str, str, str]  # family, table, chain

# The base chains of iptables-nft: table, chain -> type, priority. Kernel tools: iptables/nft.c:xtables_ipv4
_IP = {
    ("raw", "PREROUTING"): ("filter", -300),
    ("raw", "OUTPUT"): ("filter", -300),
    ("mangle", "PREROUTING"): ("filter", -150),
    ("mangle", "INPUT"): ("filter", -150),
    ("mangle", "FORWARD"): ("filter", -150),
    ("mangle", "OUTPUT"): ("route", -150),
    ("mangle", "POSTROUTING"): ("filter", -150),
    ("filter", "INPUT"): ("filter", 0),
    ("filter", "FORWARD"): ("filter", 0),
    ("filter", "OUTPUT"): ("filter", 0),
    ("security", "INPUT"): ("filter", 150),
    ("security", "FORWARD"): ("filter", 150),
    ("security", "OUTPUT"): ("filter", 150),
    ("nat", "PREROUTING"): ("nat", -100),
    ("nat", "INPUT"): ("nat", 100),
    ("nat", "OUTPUT"): ("nat", -100),
    ("nat", "POSTROUTING"): ("nat", 100),
}
_OTHER_CHAINS = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING", "BROUTING"})
_OTHER_TABLES = frozenset({"filter", "nat", "broute"})

# Statements after which a packet is what it was, and goes on. A match only narrows what follows.
_IDLE = frozenset(
    {"match", "counter", "log", "limit", "quota", "set", "accept", "return", "continue", "last", "ct count"}
)
_CALLS = frozenset({"jump", "goto"})


@dataclass(slots=True)
class BaseChain:
    """A base chain: where it hooks, and whether it can do anything at all."""

    family: str
    table: str
    name: str
    type: str
    hook: str
    priority: int
    policy: str
    rules: int = 0
    device: str | None = None  # of an ingress or egress chain
    idle: bool = True  # no rule that can be reached from here drops, changes or diverts a packet

    @property
    def is_trivial(self) -> bool:
        """Whether it lets every packet through untouched."""
        return self.idle and self.policy == "accept"


@dataclass(frozen=True, slots=True)
class NativeTables:
    """What is native in a ruleset, in the order in which nft lists it."""

    tables: tuple[tuple[str, str], ...] = ()
    base_chains: tuple[BaseChain, ...] = ()
    flowtables: tuple[Place, ...] = ()  # family, table, name: what they carry passes no hook behind ingress


def tables(json_text: str, incompatible: Collection[tuple[str, str]] = ()) -> NativeTables:
    """Survey `nft -j list ruleset`. Dormant tables hook nothing and are left out.

    `incompatible`: (family, table) of those that iptables-nft-save refused to print, since they hold native rules.

    Raises: RulesetError where it is not what nft writes.
    """
    try:
        return _survey(msgspec.json.decode(json_text)["nftables"], frozenset(incompatible))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        raise RulesetError("the nftables ruleset is not what `nft -j list ruleset` writes", "take it again") from None


def _survey(listed: list[dict[str, Any]], incompatible: frozenset[tuple[str, str]]) -> NativeTables:
    dormant = {(t["family"], t["name"]) for t in _items(listed, "table") if "dormant" in str(t.get("flags", ""))}
    found: dict[tuple[str, str], None] = {}
    chains: dict[Place, BaseChain] = {}
    for chain in _items(listed, "chain"):
        owner = (chain["family"], chain["table"])
        ours = owner not in incompatible and _is_iptables_table(*owner)
        if owner in dormant:
            continue
        if not ours:
            found.setdefault(owner)
        if "hook" in chain and not (ours and is_of_iptables(chain)):
            chains[*owner, chain["name"]] = _base_chain(chain)
    rules: dict[Place, list[Any]] = {}
    for rule in _items(listed, "rule"):
        rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule.get("expr", []))
    for place, base in chains.items():
        base.rules = len(rules.get(place, ()))
        base.idle = _is_idle(place, rules)
    flowtables = tuple((f["family"], f["table"], f["name"]) for f in _items(listed, "flowtable"))
    return NativeTables(tuple(found), tuple(chains.values()), flowtables)


def _items(listed: list[dict[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    for item in listed:
        if isinstance(found := item.get(kind), dict):
            yield found


def _base_chain(chain: dict[str, Any]) -> BaseChain:
    device = chain.get("dev")
    return BaseChain(
        chain["family"], chain["table"], chain["name"], chain.get("type", "filter"), chain["hook"],
        chain.get("prio", 0), chain.get("policy", "accept"),
        device=",".join(device) if isinstance(device, list) else device,
    )  # fmt: skip


def _is_idle(start: Place, rules: Mapping[Place, list[Any]]) -> bool:
    """Whether no rule that can be reached from a chain does more than count, log, call or end the chain."""
    seen: set[Place] = set()
    waiting = [start]
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        for statement in (statement for expressions in rules.get(place, ()) for statement in expressions):
            kinds = set(statement) if isinstance(statement, dict) else {str(statement)}
            if kinds - _IDLE - _CALLS:
                return False
            waiting += [(*place[:2], statement[kind]["target"]) for kind in kinds & _CALLS]
    return True


def _is_iptables_table(family: str, table: str) -> bool:
    if family in {"ip", "ip6"}:
        return any(table == name for name, _ in _IP)
    return family in {"bridge", "arp"} and table in _OTHER_TABLES


def is_of_iptables(chain: Mapping[str, Any]) -> bool:
    """Whether a base chain is one that iptables-nft, ebtables-nft or arptables-nft keeps.

    Kernel tools: iptables/nft.c:nft_is_chain_compatible
    """
    family, table, name = chain["family"], chain["table"], chain["name"]
    if not _is_iptables_table(family, table):
        return False
    if family in {"bridge", "arp"}:
        return name in _OTHER_CHAINS
    return _IP.get((table, name)) == (chain.get("type"), chain.get("prio")) and chain["hook"].upper() == name
