"""Which native nftables base chains there are beside those that iptables-nft keeps. Knows nothing of expressions' meaning.

Source: libnftables-json(5)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from netdoctor.model.errors import RulesetError

_TABLES = frozenset({"filter", "nat", "mangle", "raw", "security"})
_BUILTIN = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING", "BROUTING"})


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

    @property
    def is_trivial(self) -> bool:
        """Whether it lets every packet through untouched."""
        return self.rules == 0 and self.policy == "accept"


@dataclass(frozen=True, slots=True)
class NativeTables:
    """What is native in a ruleset, in the order in which nft lists it."""

    tables: tuple[tuple[str, str], ...] = ()
    base_chains: tuple[BaseChain, ...] = field(default=())


def tables(json_text: str) -> NativeTables:
    """Survey `nft -j list ruleset`. Raises: RulesetError where it is not what nft writes."""
    try:
        listed = msgspec.json.decode(json_text)["nftables"]
    except (msgspec.DecodeError, KeyError, TypeError):
        raise RulesetError("the nftables ruleset is not what `nft -j list ruleset` writes", "take it again") from None
    chains: dict[tuple[str, str, str], BaseChain] = {}
    found: dict[tuple[str, str], None] = {}
    for item in listed:
        if isinstance(chain := item.get("chain"), dict):
            place = (chain["family"], chain["table"], chain["name"])
            if "hook" in chain and not is_of_iptables(*place):
                chains[place] = _base_chain(chain)
            if not _is_iptables_table(place[0], place[1]):
                found.setdefault(place[:2])
        elif isinstance(rule := item.get("rule"), dict):
            owner = chains.get((rule["family"], rule["table"], rule["chain"]))
            if owner is not None:
                owner.rules += 1
    return NativeTables(tuple(found), tuple(chains.values()))


def _base_chain(chain: dict[str, Any]) -> BaseChain:
    return BaseChain(
        chain["family"], chain["table"], chain["name"], chain.get("type", "filter"), chain["hook"],
        chain.get("prio", 0), chain.get("policy", "accept"),
    )  # fmt: skip


def _is_iptables_table(family: str, table: str) -> bool:
    return family in {"ip", "ip6", "bridge", "arp"} and table in _TABLES


def is_of_iptables(family: str, table: str, chain: str) -> bool:
    """Whether a base chain is one that iptables-nft (or ebtables-nft, arptables-nft) keeps."""
    return _is_iptables_table(family, table) and chain in _BUILTIN
