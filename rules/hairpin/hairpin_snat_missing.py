"""Pods of one node cannot reach each other through a service address, though pods of other nodes can.

What it finds
    A connection to a service (or a published port) whose destination is translated to a container on the same bridge as
    the caller, while bridged packets do not pass iptables and nothing rewrites the caller's address.

Why it matters
    The request is routed: the host translates 10.96.0.10 to the container's own address. The answer needs no router,
    since
    both containers are on one bridge: it goes from port to port, past conntrack, and keeps the container's address. The
    caller never called that address; it resets the answer and waits until it times out. Callers on other nodes are
    fine,
    because their answers return through the host that translated. DNS through the cluster's service address shows it as
    "reply from unexpected source".

How to fix
    A. Let bridged packets pass iptables, as kube-proxy and Docker expect:
         modprobe br_netfilter
         sysctl -w net.bridge.bridge-nf-call-iptables=1
    B. Or rewrite the source of translated connections within the pod network, so that answers come back to the host:
         iptables -t nat -A POSTROUTING -s PODNET -d PODNET -m conntrack --ctstate DNAT -j MASQUERADE

References
----------
    kubernetes/kubernetes#87426, #21613
    kelseyhightower/kubernetes-the-hard-way#561
    https://wiki.linuxfoundation.org/networking/bridge (bridge netfilter)

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.change.plan import Plan
from netdoctor.change.rules import AddRule
from netdoctor.change.settings import SetSysctl
from netdoctor.diagnose import evidence
from netdoctor.diagnose.finding import Finding, Story, finding
from netdoctor.diagnose.rule import Example, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.diagnose.node import Node, Traced

RULE = Rule(
    id="hairpin-snat-missing",
    title="Containers on this node cannot reach each other through a service address.",
    severity="error",
    tags=("nat", "bridge", "kubernetes", "docker"),
    aliases=("brnf-off-local-service",),
    references=("kubernetes/kubernetes#87426", "kubernetes/kubernetes#21613", "rancher-archives/rke#368"),
)
EXAMPLE = Example(
    topology="two-pods",
    breaks=(("node", ("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0")),),
    client="shop/web-6c8",
    address="10.96.0.10",
    port=80,
)
SYSCTLS = {"ip": "net.bridge.bridge-nf-call-iptables", "ip6": "net.bridge.bridge-nf-call-ip6tables"}


def find(node: Node) -> Iterator[Finding]:
    """One finding for each bridge and family over which answers go astray."""
    node.need("sysctls")
    groups: dict[tuple[str, str], list[Traced]] = {}
    for one in node.broken("service", "published", "given", cause="nat-bypassed"):
        assert one.cause is not None
        groups.setdefault((one.cause.interface or "", one.asked.family), []).append(one)
    for (bridge, family), broken in groups.items():
        yield _finding(node, bridge, family, broken)


def _finding(node: Node, bridge: str, family: str, broken: list[Traced]) -> Finding:
    first = broken[0]
    sysctl = SYSCTLS[family]
    caller, callee = evidence.caller(node, first), evidence.translated(node, first)
    value = node.sysctl(sysctl)
    why = f"{sysctl} = {value}" if value is not None else "br_netfilter is not loaded"
    return finding(
        RULE,
        stable=(bridge, family),
        netns=node.host.name,
        where=(f"bridge {bridge}", sysctl),
        story=(
            Story(f"{caller} calls {first.asked.title.partition(' -> ')[2]}; {callee.sentence}", callee.quote),
            Story(f"{callee.name} answers straight over bridge {bridge}, past the translation, because {why}"),
            Story(f"{caller} never called {callee.address}: it resets the answer and times out"),
        ),
        evidence=evidence.unreplied(node, broken),
        also=("Other nodes work: their answers return through the node that translated.",),
        flows=[one.asked.title for one in broken],
        asked=len(node.asked),
        facts={"bridge": bridge, "family": family, "sysctl": sysctl, "known": value is not None},
    )


def repair(found: Finding, node: Node) -> Iterator[Plan]:
    """A: bridged packets pass iptables. B: translated connections within the network are masqueraded."""
    bridge, family, sysctl = found.facts["bridge"], found.facts["family"], found.facts["sysctl"]
    option = iter("AB")
    host = node.host.name
    if found.facts["known"]:
        rules = evidence.chain_length(node, family, "filter", "FORWARD")
        yield Plan(
            finding=found.id,
            rule=RULE.id,
            option=next(option),
            summary=f"sysctl {sysctl}=1",
            costs=f"bridged packets also pass FORWARD ({rules} rules)",
            operations=(SetSysctl(netns=host, name=sysctl, value="1"),),
            lasts="until the next boot",
            persist=(
                "echo br_netfilter > /etc/modules-load.d/netdoctor.conf",
                f"echo '{sysctl} = 1' > /etc/sysctl.d/90-netdoctor.conf",
            ),
        )
    backend, network = evidence.backend(node, family), evidence.network(node, bridge, family)
    if backend is None or network is None:
        return
    text = (
        f"-s {network} -d {network} -m conntrack --ctstate DNAT"
        f' -m comment --comment "netdoctor:{RULE.id}" -j MASQUERADE'
    )
    yield Plan(
        finding=found.id,
        rule=RULE.id,
        option=next(option),
        summary=f"masquerade {network} -> itself after DNAT",
        costs=f"a called container sees {evidence.gateway(node, bridge, family)}, not its caller",
        operations=(
            AddRule(
                netns=host, family=family, backend=backend, table="nat", chain="POSTROUTING", text=text, position=1
            ),
        ),
        lasts="until the rules are flushed or the next boot",
        persist=evidence.persist_rule(family, f"-t nat -I POSTROUTING 1 {text}"),
    )
