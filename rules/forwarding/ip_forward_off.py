"""The kernel forwards nothing: containers reach their own bridge and nothing behind it.

What it finds
    A connection of a container that the host would have to forward, while net.ipv4.ip_forward (or, for IPv6,
    net.ipv6.conf.all.forwarding) is 0.

Why it matters
    A host that does not forward is no router: every packet that is not for itself is dropped without a word. Docker and
    kube-proxy switch it on when they start; hardening scripts, `systemctl restart systemd-sysctl` or `service network
    restart` switch it off again hours later.

How to fix
    sysctl -w net.ipv4.ip_forward=1
    echo 'net.ipv4.ip_forward = 1' > /etc/sysctl.d/99-forward.conf
    and look for `ip_forward = 0` in /etc/sysctl.conf and /etc/sysctl.d.

References
----------
    moby/moby#47966
    NixOS/nixpkgs#118656
    openshift/origin#9931

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.change.plan import Plan
from netdoctor.change.settings import SetSysctl
from netdoctor.diagnose import evidence
from netdoctor.diagnose.census import brief
from netdoctor.diagnose.finding import Finding, Story, finding
from netdoctor.diagnose.rule import Example, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.diagnose.node import Node, Traced

RULE = Rule(
    id="ip-forward-off",
    title="This node forwards nothing: containers cannot leave their bridge.",
    severity="error",
    tags=("sysctl", "docker", "kubernetes"),
    references=("moby/moby#47966", "NixOS/nixpkgs#118656", "openshift/origin#9931"),
)
EXAMPLE = Example(
    topology="two-pods",
    breaks=(("node", ("sysctl", "-qw", "net.ipv4.ip_forward=0")),),
    client="shop/web-6c8",
    address="203.0.113.1",
    port=443,
)
SYSCTLS = {"ip": "net.ipv4.ip_forward", "ip6": "net.ipv6.conf.all.forwarding"}


def find(node: Node) -> Iterator[Finding]:
    """One finding for each family that is not forwarded at all."""
    node.need("sysctls")
    for family, sysctl in SYSCTLS.items():
        broken = [
            one
            for one in node.broken(cause="sysctl")
            if one.cause is not None and one.cause.sysctl == sysctl and one.cause.netns == node.host.name
        ]
        if broken:
            yield _finding(node, family, sysctl, broken)


def _finding(node: Node, family: str, sysctl: str, broken: list[Traced]) -> Finding:
    first = broken[0]
    caller = brief(first.asked.flow.from_)
    return finding(
        RULE,
        stable=(family,),
        netns=node.host.name,
        where=(sysctl,),
        story=(
            Story(f"{caller} sends to {first.asked.title.partition(' -> ')[2]}"),
            Story(f"{node.host.name} would have to forward it from {first.cause.interface if first.cause else ''}"),
            Story(f"{sysctl} = 0: it drops what is not for itself, without a word"),
        ),
        evidence=evidence.unreplied(node, broken),
        flows=[one.asked.title for one in broken],
        asked=len(node.asked),
        facts={"sysctl": sysctl},
    )


def repair(found: Finding, node: Node) -> Iterator[Plan]:
    """Switch it on."""
    sysctl = found.facts["sysctl"]
    yield Plan(
        finding=found.id,
        rule=RULE.id,
        summary=f"sysctl {sysctl}=1",
        costs="this host routes between all its networks, as far as its FORWARD rules let it",
        operations=(SetSysctl(netns=node.host.name, name=sysctl, value="1"),),
        lasts="until the next boot, or until something applies sysctl.d again",
        persist=(f"echo '{sysctl} = 1' > /etc/sysctl.d/99-netdoctor-forward.conf",),
    )
