"""A container cannot reach itself through its own service address or published port: its source is not rewritten.

What it finds
    A connection of a container to a service that is translated back to that same container, whose source address
    nothing masquerades.

Why it matters
    The packet comes back to its sender with the sender's own address as the source. The kernel takes that for a forgery
    (a martian source) and drops it in silence. Everyone else can use the service, so it looks as if only this one
    container were broken; with several endpoints it fails once in N times.

How to fix
    kube-proxy and Docker write this rule themselves; where it is missing, somebody removed it: restart kube-proxy or
    dockerd. Until then:
      iptables -t nat -I POSTROUTING 1 -s POD -d POD -m conntrack --ctstate DNAT -j MASQUERADE

References
----------
    cloudnativelabs/kube-router#1235
    moby/moby#6810

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.change.plan import Plan
from netdoctor.change.rules import AddRule
from netdoctor.diagnose import evidence
from netdoctor.diagnose.finding import Finding, Story, finding
from netdoctor.diagnose.rule import Example, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.diagnose.node import Node, Traced

RULE = Rule(
    id="hairpin-no-masq",
    title="A container cannot reach itself through its own service address.",
    severity="error",
    tags=("nat", "kubernetes", "docker"),
    references=("cloudnativelabs/kube-router#1235", "moby/moby#6810"),
)
EXAMPLE = Example(
    topology="two-pods",
    breaks=(("node", ("iptables", "-t", "nat", "-F", "KUBE-POSTROUTING")),),
    client="shop/cart-7f9",
    address="10.96.0.10",
    port=80,
)


def find(node: Node) -> Iterator[Finding]:
    """One finding for each bridge and family on which containers meet their own address as a source."""
    groups: dict[tuple[str, str], list[Traced]] = {}
    for one in node.broken("own-service", "published", "given", cause="martian"):
        callee = evidence.translated(node, one)
        if callee.container is None or callee.container.name != one.asked.flow.from_:
            continue
        bridge = callee.container.bridge.name if callee.container.bridge else callee.container.port.name
        groups.setdefault((bridge, one.asked.family), []).append(one)
    for (bridge, family), broken in groups.items():
        yield _finding(node, bridge, family, broken)


def _finding(node: Node, bridge: str, family: str, broken: list[Traced]) -> Finding:
    first = broken[0]
    callee = evidence.translated(node, first)
    addresses = {evidence.translated(node, one).address.partition(":")[0] for one in broken}
    if family == "ip6":
        addresses = {evidence.translated(node, one).host for one in broken}
    return finding(
        RULE,
        stable=(bridge, family),
        netns=node.host.name,
        where=(f"bridge {bridge}",),
        story=(
            Story(f"{callee.name} calls {first.asked.title.partition(' -> ')[2]}; {callee.sentence}", callee.quote),
            Story("nothing on the way out rewrites the source", evidence.last_nat(first)),
            Story(f"{callee.name} drops its own packet: it comes from outside with its own address {callee.host}"),
        ),
        evidence=evidence.unreplied(node, broken),
        also=("Other containers can use the service: their address is not the container's own.",),
        flows=[one.asked.title for one in broken],
        asked=len(node.asked),
        facts={"family": family, "bridge": bridge, "addresses": sorted(addresses)},
    )


def repair(found: Finding, node: Node) -> Iterator[Plan]:
    """Masquerade what a container sends to itself, translated."""
    family, bridge = found.facts["family"], found.facts["bridge"]
    backend = evidence.backend(node, family)
    if backend is None:
        return
    length = 32 if family == "ip" else 128
    texts = [
        f"-s {address}/{length} -d {address}/{length} -m conntrack --ctstate DNAT "
        f'-m comment --comment "netdoctor:{RULE.id}" -j MASQUERADE'
        for address in found.facts["addresses"]
    ]
    yield Plan(
        finding=found.id,
        rule=RULE.id,
        summary=f"masquerade {', '.join(found.facts['addresses'])} -> itself after DNAT",
        costs=f"such a container sees its own calls come from {evidence.gateway(node, bridge, family)}",
        operations=tuple(
            AddRule(
                netns=node.host.name,
                family=family,
                backend=backend,
                table="nat",
                chain="POSTROUTING",
                text=text,
                position=1,
            )
            for text in texts
        ),
        lasts="until the container's address changes, the rules are flushed, or the next boot",
        persist=("restart kube-proxy or dockerd: it writes the rule that is missing",),
    )
