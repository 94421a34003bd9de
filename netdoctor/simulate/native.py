"""Native nftables base chains in the way of a packet: where one could decide and is not modelled, the answer is
unknown.

Knows nothing of iptables' tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netdoctor.simulate.run import Fate
from netdoctor.topology.shared import shared

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Family, Hook
    from netdoctor.simulate.hooks import At
    from netdoctor.topology.namespace import Netns


@dataclass(frozen=True, slots=True)
class BaseChain:
    """A native base chain."""

    family: str
    table: str
    chain: str
    hook: str
    priority: int
    policy: str | None
    trivial: bool


def base_chains(netns: Netns, family: Family, hook: Hook) -> tuple[BaseChain, ...]:
    """Return the native base chains of a hook that see a family, in the order of their priority."""
    text = netns.snapshot.nft
    if text is None or not text.json:
        return ()
    chains = shared(text, "native", lambda: _survey(text.json or ""))
    names = ("ip" if family == 4 else "ip6", "inet")
    return tuple(chain for chain in chains if chain.hook == hook and chain.family in names)


def _survey(json_text: str) -> tuple[BaseChain, ...]:
    from netdoctor.netfilter import nft

    survey = nft.tables(json_text)
    return tuple(
        BaseChain(c.family, c.table, c.name, c.hook.upper(), c.priority, c.policy, c.is_trivial)
        for c in survey.base_chains
    )


def pass_chain(at: At, chain: BaseChain) -> Fate | None:
    """Ask a native base chain: one without rules and with policy accept lets everything through."""
    if chain.trivial:
        return None
    run, packet = at.run, at.packet
    name = f"nft chain {chain.family} {chain.table} {chain.chain}"
    at.run.step(
        "nft", at.netns, packet, hook=at.hook, action="unknown", note=f"{name} is not modelled",
        family=chain.family, backend="nft", table=chain.table, chain=chain.chain,
    )  # fmt: skip
    return Fate(
        "unknown", at.netns, packet.in_dev, packet,
        run.cause("unmodelled", at.netns, family=chain.family, backend="nft", table=chain.table, chain=chain.chain,
                  detail=f"{name}: native nftables rules are not modelled"),
    )  # fmt: skip
