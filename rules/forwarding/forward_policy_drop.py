"""The FORWARD policy is DROP, and no rule accepts these containers.

What it finds
    A connection of a container that passes FORWARD without meeting a rule that accepts it, while the chain's policy
    drops the rest.

Why it matters
    Docker sets the policy of FORWARD to DROP when it switches forwarding on, and accepts its own bridges only. What
    other
    programs put on bridges (CNI, LXC, libvirt, podman, machines) then loses its network, for a reason that none of them
    shows: the policy has no rule number and no comment.

How to fix
    Accept the bridge where the owner of the policy looks for it:
      iptables -I DOCKER-USER -i BRIDGE -j ACCEPT
      iptables -I DOCKER-USER -o BRIDGE -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    (in FORWARD itself where there is no DOCKER-USER). Or enable net.ipv4.ip_forward before Docker starts, or set
    "ip-forward-no-drop": true in its daemon.json.

References
----------
    moby/moby#39439
    canonical/lxd#3387
    weaveworks/weave#2758
    kubernetes/kubernetes#108718

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
    id="forward-policy-drop",
    title="The FORWARD policy is DROP, and nothing accepts these containers.",
    severity="error",
    tags=("filter", "docker", "kubernetes", "lxd", "libvirt"),
    references=("moby/moby#39439", "canonical/lxd#3387", "weaveworks/weave#2758", "kubernetes/kubernetes#108718"),
)
EXAMPLE = Example(
    topology="two-pods",
    breaks=(("node", ("iptables", "-P", "FORWARD", "DROP")),),
    client="shop/web-6c8",
    address="203.0.113.1",
    port=443,
)


def find(node: Node) -> Iterator[Finding]:
    """One finding for each bridge whose containers fall to the policy."""
    groups: dict[tuple[str, str, str], list[Traced]] = {}
    for one in node.broken(cause="policy"):
        cause = one.cause
        assert cause is not None
        if (cause.table, cause.chain, cause.netns) != ("filter", "FORWARD", node.host.name):
            continue
        bridge = evidence.bridge_of_flow(node, one)
        if bridge is not None:
            groups.setdefault((bridge, one.asked.family, cause.backend or "nft"), []).append(one)
    for (bridge, family, backend), broken in groups.items():
        yield _finding(node, bridge, family, backend, broken)


def _finding(node: Node, bridge: str, family: str, backend: str, broken: list[Traced]) -> Finding:
    first = broken[0]
    rules = evidence.chain_length(node, family, "filter", "FORWARD", backend)
    return finding(
        RULE,
        stable=(bridge, family),
        netns=node.host.name,
        where=(f"bridge {bridge}", f"filter FORWARD ({backend})"),
        story=(
            Story(f"{evidence.caller(node, first)} sends to {first.asked.title.partition(' -> ')[2]}"),
            Story(f"none of the {rules} rules of FORWARD accepts it"),
            Story("the policy of FORWARD drops it, in silence", f"host filter: :FORWARD DROP ({backend})"),
        ),
        evidence=evidence.unreplied(node, broken),
        flows=[one.asked.title for one in broken],
        asked=len(node.asked),
        facts={"bridge": bridge, "family": family, "backend": backend},
    )


def repair(found: Finding, node: Node) -> Iterator[Plan]:
    """Accept what comes from the bridge, and the answers to it; in DOCKER-USER where Docker looks for it."""
    bridge, family, backend = (found.facts[name] for name in ("bridge", "family", "backend"))
    chain = "DOCKER-USER" if evidence.has_chain(node, family, backend, "filter", "DOCKER-USER") else "FORWARD"
    comment = f'-m comment --comment "netdoctor:{RULE.id}"'
    texts = (
        f"-o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED {comment} -j ACCEPT",
        f"-i {bridge} {comment} -j ACCEPT",
    )
    yield Plan(
        finding=found.id,
        rule=RULE.id,
        summary=f"accept what containers of {bridge} send, and the answers, in {chain}",
        costs=f"containers of {bridge} may call everything that this host routes to, its other bridges included",
        operations=tuple(
            AddRule(
                netns=node.host.name, family=family, backend=backend, table="filter", chain=chain, text=text, position=1
            )
            for text in texts
        ),
        lasts="until the rules are flushed or the next boot",
        persist=(
            'Docker: "ip-forward-no-drop": true in daemon.json, or enable net.ipv4.ip_forward before it starts',
            *evidence.persist_rule(family, f"-I {chain} 1 {texts[1]}"),
        ),
    )
