"""A container cannot reach itself through its own service address: the bridge does not send a frame back where it came
from.

What it finds
    A connection of a container to a service that is translated back to that same container inside the bridge, whose
    port has hairpin mode off.

Why it matters
    With bridge netfilter on, the address is translated while the frame is inside the bridge. It would have to leave by
    the
    very port by which it came in, and a bridge never does that unless the port's hairpin flag is set. Other containers
    are fine; with several endpoints it fails once in N times.

How to fix
    bridge link set dev VETH hairpin on
    For good: CNI's bridge plugin with "hairpinMode": true, kubelet --hairpin-mode=hairpin-veth, or Docker with
    "userland-proxy": false.

References
----------
    kubernetes/kubernetes#13375, #20475
    zalando-incubator/kubernetes-on-aws#1470

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.change.plan import Plan
from netdoctor.change.settings import SetBridgePort
from netdoctor.diagnose import evidence
from netdoctor.diagnose.finding import Finding, Story, finding
from netdoctor.diagnose.rule import Example, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.diagnose.node import Node, Traced

RULE = Rule(
    id="hairpin-port-off",
    title="A container cannot reach itself through its own service address: the bridge does not send frames back.",
    severity="error",
    tags=("bridge", "kubernetes", "docker"),
    references=("kubernetes/kubernetes#13375", "kubernetes/kubernetes#20475"),
)
EXAMPLE = Example(
    topology="two-pods",
    breaks=(("node", ("bridge", "link", "set", "dev", "vethb", "hairpin", "off")),),
    client="shop/cart-7f9",
    address="10.96.0.10",
    port=80,
)


def find(node: Node) -> Iterator[Finding]:
    """One finding for each bridge, with every port of it that would have to send back."""
    groups: dict[str, list[Traced]] = {}
    for one in node.broken("own-service", "published", "given", cause="bridge"):
        port = node.host.link(one.cause.interface if one.cause else None)
        if port is not None and port.port is not None and not port.port.hairpin and port.master is not None:
            groups.setdefault(port.master, []).append(one)
    for bridge, broken in groups.items():
        yield _finding(node, bridge, broken)


def _finding(node: Node, bridge: str, broken: list[Traced]) -> Finding:
    first = broken[0]
    callee = evidence.translated(node, first)
    ports = sorted({one.cause.interface for one in broken if one.cause is not None and one.cause.interface})
    port = first.cause.interface if first.cause is not None else ports[0]
    return finding(
        RULE,
        stable=(bridge, *sorted({evidence.caller(node, one) for one in broken})),
        netns=node.host.name,
        where=(f"bridge {bridge}", *(f"port {name}" for name in ports)),
        story=(
            Story(f"{callee.name} calls {first.asked.title.partition(' -> ')[2]}; {callee.sentence}", callee.quote),
            Story(f"bridge {bridge} would have to send the frame back out of {port}, by which it came"),
            Story(f"the hairpin flag of {port} is off, so the bridge drops it in silence"),
        ),
        evidence=evidence.unreplied(node, broken),
        also=("Other containers can use the service: they are behind other ports of the bridge.",),
        flows=[one.asked.title for one in broken],
        asked=len(node.asked),
        facts={"ports": ports},
    )


def repair(found: Finding, node: Node) -> Iterator[Plan]:
    """Switch the flag on for each port."""
    ports = found.facts["ports"]
    yield Plan(
        finding=found.id,
        rule=RULE.id,
        summary=f"hairpin on for bridge port {', '.join(ports)}",
        costs="a container sees its own broadcasts; duplicate address detection of IPv6 may stumble over them",
        operations=tuple(SetBridgePort(netns=node.host.name, dev=port, flag="hairpin", on=True) for port in ports),
        lasts="until the container is started again: its port is made anew",
        persist=('CNI: "hairpinMode": true; kubelet: --hairpin-mode=hairpin-veth; Docker: "userland-proxy": false',),
    )
