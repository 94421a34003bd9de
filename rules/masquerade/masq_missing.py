"""Containers reach nothing outside this node: their own addresses leave it, and nobody out there knows the way back.

What it finds
    A connection of a container to the outside that leaves by the node's uplink with the container's address as its
    source.

Why it matters
    Container networks are private to the node. A packet that leaves with 172.17.0.2 or 10.244.0.2 as its source
    arrives,
    but the answer goes to whoever owns that address elsewhere, or to nobody. tcpdump on the uplink shows the requests
    leaving untranslated.

How to fix
    iptables -t nat -A POSTROUTING -s NETWORK ! -o BRIDGE -j MASQUERADE
    Who should have written it: Docker ("iptables": false or "ip-masq": false in daemon.json?), podman
    (`podman network reload --all`), CNI ("ipMasq": true), or the router of a network that does route these addresses.

References
----------
    moby/moby#41795, #13381, #28133

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.change.plan import Plan
from netdoctor.change.rules import AddRule
from netdoctor.diagnose import evidence
from netdoctor.diagnose.census import brief
from netdoctor.diagnose.finding import Finding, Story, finding
from netdoctor.diagnose.rule import Example, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.diagnose.node import Node, Traced

RULE = Rule(
    id="masq-missing",
    title="Containers reach nothing outside this node: their addresses leave it untranslated.",
    severity="error",
    tags=("nat", "docker", "podman", "kubernetes"),
    references=("moby/moby#41795", "moby/moby#13381", "moby/moby#28133"),
)
EXAMPLE = Example(
    topology="docker-bridge",
    breaks=(
        (
            "node",
            (
                "iptables",
                "-t",
                "nat",
                "-D",
                "POSTROUTING",
                "-s",
                "172.17.0.0/16",
                "!",
                "-o",
                "docker0",
                "-j",
                "MASQUERADE",
            ),
        ),
    ),
    client="job",
    address="203.0.113.1",
    port=443,
)


def find(node: Node) -> Iterator[Finding]:
    """One finding for each container network that leaves by an uplink with its own addresses."""
    groups: dict[tuple[str, str, str], list[Traced]] = {}
    for one in node.broken("outside", "given", cause="route"):
        outcome = next((outcome for outcome in one.trace.outcomes if outcome.verdict == "left"), None)
        if outcome is None or outcome.final is None or outcome.final.netns != node.host.name:
            continue
        sender = node.container(outcome.final.src)
        if sender is None or sender.name != one.asked.flow.from_ or _routable(outcome.final.src):
            continue
        bridge = sender.bridge.name if sender.bridge is not None else sender.port.name
        groups.setdefault((bridge, outcome.final.interface or "", one.asked.family), []).append(one)
    for (bridge, uplink, family), broken in groups.items():
        yield _finding(node, bridge, uplink, family, broken)


def _routable(address: str) -> bool:
    """Global IPv6 addresses are meant to leave as they are."""
    return evidence.is_global(address)


def _finding(node: Node, bridge: str, uplink: str, family: str, broken: list[Traced]) -> Finding:
    first = broken[0]
    final = next(outcome.final for outcome in first.trace.outcomes if outcome.final is not None)
    return finding(
        RULE,
        stable=(bridge, uplink, family),
        netns=node.host.name,
        where=(f"bridge {bridge}", f"uplink {uplink}"),
        story=(
            Story(f"{brief(first.asked.flow.from_)} calls {final.dst}; the node forwards it"),
            Story(f"it leaves by {uplink} with the container's own address {final.src}", evidence.last_nat(first)),
            Story(f"the outside has no way back to {final.src}: no answer ever comes"),
        ),
        evidence=evidence.unreplied(node, broken),
        flows=[one.asked.title for one in broken],
        asked=len(node.asked),
        facts={"bridge": bridge, "uplink": uplink, "family": family},
    )


def repair(found: Finding, node: Node) -> Iterator[Plan]:
    """Masquerade what leaves the container network."""
    bridge, family = found.facts["bridge"], found.facts["family"]
    backend, network = evidence.backend(node, family), evidence.network(node, bridge, family)
    if backend is None or network is None:
        return
    text = f'-s {network} ! -o {bridge} -m comment --comment "netdoctor:{RULE.id}" -j MASQUERADE'
    yield Plan(
        finding=found.id,
        rule=RULE.id,
        summary=f"masquerade {network} when it leaves by anything but {bridge}",
        costs="whoever is called outside sees this node, not the container",
        operations=(
            AddRule(netns=node.host.name, family=family, backend=backend, table="nat", chain="POSTROUTING", text=text),
        ),
        lasts="until the rules are flushed or the next boot",
        persist=(
            'let the runtime write it: systemctl restart docker; podman network reload --all; CNI: "ipMasq": true',
            *evidence.persist_rule(family, f"-t nat -A POSTROUTING {text}"),
        ),
    )
