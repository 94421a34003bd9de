"""Questions that several rules ask about a traced flow and its node. Knows nothing of any one rule."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from netdoctor.diagnose.census import brief, with_port

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netdoctor.diagnose.census import Container
    from netdoctor.diagnose.node import Node, Traced
    from netdoctor.netfilter.iptables.save import Table
    from netdoctor.simulate.trace import Step


@dataclass(frozen=True, slots=True)
class Translated:
    """Where a flow's destination was translated to, by which rule."""

    name: str  # as one says it
    address: str  # with its port
    host: str  # without
    container: Container | None
    sentence: str  # "kube-proxy sends it to cart-7f9, 10.244.0.3:8080"
    quote: str | None


def caller(node: Node, traced: Traced) -> str:
    """Return the caller's name as one says it."""
    del node
    return brief(traced.asked.flow.from_)


def translated(node: Node, traced: Traced) -> Translated:
    """Return the destination after the request's translation."""
    steps = [step for outcome in traced.trace.outcomes[:1] for step in outcome.steps]
    packet = next((step.packet for step in reversed(steps) if step.packet is not None), None)
    host = packet.dst if packet is not None else ""
    port = packet.dport if packet is not None else None
    rule = next((step for step in steps if step.action == "DNAT" and step.rule is not None), None)
    who = rule.owner if rule is not None and rule.owner is not None else "the host"
    container = node.container(host)
    name = brief(container.name) if container is not None else host
    address = with_port(host, port) if host else host
    sentence = f"{who} sends it to {name}, {address}" if name != host else f"{who} sends it to {address}"
    return Translated(name, address, host, container, sentence, quoted(rule) if rule is not None else None)


def quoted(step: Step) -> str:
    """Return a rule as a finding quotes it: where it stands, its number, its owner, its words."""
    owner = f" [{step.owner}]" if step.owner else ""
    return f"{step.netns} {step.table}/{step.chain} rule {step.rule}{owner}: {step.text}"


def last_nat(traced: Traced) -> str | None:
    """Return how the walk through nat POSTROUTING ended: the rule that returned, or the policy."""
    steps = [step for outcome in traced.trace.outcomes[:1] for step in outcome.steps]
    walk = [step for step in steps if step.table == "nat" and step.hook == "POSTROUTING"]
    ending = next((step for step in reversed(walk) if step.rule is not None), None)
    if ending is not None:
        return quoted(ending)
    return f"{walk[-1].netns} nat/POSTROUTING: no rule matched" if walk else None


def unreplied(node: Node, broken: Iterable[Traced]) -> tuple[str, ...]:
    """Return what the kernel itself saw of it: connections to these addresses that nobody answered."""
    addresses = {
        step.packet.dst
        for one in broken
        for outcome in one.trace.outcomes[:1]
        for step in outcome.steps
        if step.packet is not None and step.stage != "send"
    }
    entries = node.unreplied(addresses)
    if not entries:
        return ()
    states = sorted({entry.state for entry in entries if entry.state})
    count = f"{len(entries)} conntrack {'entry' if len(entries) == 1 else 'entries'}"
    return (f"{count} {'/'.join([*states, '[UNREPLIED]'])} to {', '.join(sorted({e.original.dst for e in entries}))}",)


def backend(node: Node, family: str) -> Literal["nft", "legacy"] | None:
    """Return the backend that holds this family's nat rules, else the one that `iptables` drives; None: none is
    known.
    """
    holding = [which for (of, which), ruleset in node.host.rulesets.items() if of == family and "nat" in ruleset.tables]
    chosen = holding[0] if len(holding) == 1 else (node.snapshot.iptables or (holding[0] if holding else None))
    return "legacy" if chosen == "legacy" else "nft" if chosen == "nft" else None


def network(node: Node, device: str, family: str) -> str | None:
    """Return the network of a bridge: the prefix of its own address, else the connected route by it."""
    link = node.host.link(device)
    for address in link.addresses if link is not None else ():
        if address.family == family and address.scope == "global":
            return str(ipaddress.ip_network(f"{address.address}/{address.prefixlen}", strict=False))
    for route in node.host.snapshot.routes:
        hops = [hop.dev for hop in route.nexthops if hop.via is None]
        if route.family == family and route.type == "unicast" and hops == [device]:
            return route.dst
    return None


def gateway(node: Node, device: str, family: str) -> str:
    """Return the host's address on a bridge, as containers see it."""
    link = node.host.link(device)
    for address in link.addresses if link is not None else ():
        if address.family == family and address.scope == "global":
            return address.address
    return "the node"


def _table(node: Node, family: str, name: str, of_backend: str | None) -> Table | None:
    for (of, which), ruleset in node.host.rulesets.items():
        if of == family and of_backend in {None, which} and name in ruleset.tables:
            return ruleset.tables[name]
    return None


def chain_length(node: Node, family: str, table: str, chain: str, of_backend: str | None = None) -> int:
    """Return how many rules a chain has, 0 where it is not there."""
    found = _table(node, family, table, of_backend)
    return len(found.chains[chain].rules) if found is not None and chain in found.chains else 0


def has_chain(node: Node, family: str, of_backend: str, table: str, chain: str) -> bool:
    """Whether a chain is there."""
    found = _table(node, family, table, of_backend)
    return found is not None and chain in found.chains


def bridge_of_flow(node: Node, traced: Traced) -> str | None:
    """Return the bridge (or the veth) of the container that a flow begins or ends at."""
    containers = {one.name: one for one in node.census.containers}
    found = containers.get(traced.asked.flow.from_)
    if found is None:
        found = translated(node, traced).container
    if found is None:
        return None
    return found.bridge.name if found.bridge is not None else found.port.name


def persist_rule(family: str, arguments: str) -> tuple[str, ...]:
    """Return how a rule is kept over a boot on Debian and its kin, and on those with firewalld."""
    tool = "iptables" if family == "ip" else "ip6tables"
    file = "rules.v4" if family == "ip" else "rules.v6"
    return (f"{tool} {arguments}   # in a unit that runs after the container runtime, or /etc/iptables/{file}",)


def is_global(address: str) -> bool:
    """Whether an address may be seen on the internet."""
    return ipaddress.ip_address(address).is_global
