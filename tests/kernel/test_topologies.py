"""Whatever the simulator says of a topology, healthy or broken, the kernel says too."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from differential import Call, disagreements, everyone_to_everything

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _pytest.mark import ParameterSet

    from netdoctor.lab.lab import Backend, Lab

WEB, CART = "shop/web-6c8", "shop/cart-7f9"
# A few calls that take every kind of way: same bridge, service, own service, out, in, to the node; both families.
CALLS = [
    Call(place, *target)
    for place, targets in {
        WEB: [
            ("10.96.0.10", "tcp", 80), ("10.96.0.10", "udp", 53), ("10.244.0.3", "tcp", 8080), ("10.244.0.3", "icmp"),
            ("10.244.0.3", "tcp", 9), ("10.244.0.1", "tcp", 10250), ("192.0.2.10", "icmp"), ("203.0.113.1", "tcp", 443),
            ("203.0.113.1", "udp", 53), ("203.0.113.1", "icmp"), ("fd00:10:96::10", "tcp", 80),
            ("fd00:10:244::3", "icmpv6"), ("2001:db8::1", "tcp", 443),
        ],
        CART: [
            ("10.96.0.10", "tcp", 80), ("10.96.0.10", "udp", 53), ("fd00:10:96::10", "tcp", 80),
            ("10.244.0.3", "tcp", 8080), ("10.244.0.2", "tcp", 9),
        ],
        "node": [
            ("10.96.0.10", "tcp", 80), ("10.96.0.10", "udp", 53), ("10.244.0.2", "icmp"), ("127.0.0.1", "tcp", 10250),
            ("203.0.113.1", "tcp", 443), ("fd00:10:96::10", "tcp", 80), ("192.0.2.10", "tcp", 10250),
        ],
        "outside": [("192.0.2.10", "tcp", 10250), ("192.0.2.10", "icmp"), ("2001:db8::10", "tcp", 10250)],
    }.items()
    for target in targets
]  # fmt: skip
# What is done to the node, or in a pod of it, as one would type it.
BREAKS = {
    "bridge netfilter off": ["sysctl -qw net.bridge.bridge-nf-call-iptables=0"],
    "bridge netfilter off for IPv6": ["sysctl -qw net.bridge.bridge-nf-call-ip6tables=0"],
    "bridge netfilter off and hairpin off": [
        "sysctl -qw net.bridge.bridge-nf-call-iptables=0",
        "bridge link set dev vethb hairpin off",
    ],
    "bridge netfilter off and masquerade within the pod network": [
        "sysctl -qw net.bridge.bridge-nf-call-iptables=0",
        "iptables -t nat -I POSTROUTING -s 10.244.0.0/24 -d 10.244.0.0/24 -m conntrack --ctstate DNAT -j MASQUERADE",
    ],
    "masquerade within the pod network": [
        "iptables -t nat -I POSTROUTING -s 10.244.0.0/24 -d 10.244.0.0/24 -j MASQUERADE"
    ],
    "hairpin off": ["bridge link set dev vethb hairpin off"],
    "no masquerade of marked packets": ["iptables -t nat -F KUBE-POSTROUTING"],
    "no masquerade of pods": ["iptables -t nat -D POSTROUTING 2"],
    "forwarding off": ["sysctl -qw net.ipv4.ip_forward=0"],
    "forwarding off for IPv6": ["sysctl -qw net.ipv6.conf.all.forwarding=0"],
    "forwarding off on the bridge": ["sysctl -qw net.ipv4.conf.cni0.forwarding=0"],
    "forwarding off on the uplink": ["sysctl -qw net.ipv4.conf.eth0.forwarding=0"],
    "FORWARD policy": ["iptables -P FORWARD DROP"],
    "INPUT policy": ["iptables -P INPUT DROP"],
    "OUTPUT policy": ["iptables -P OUTPUT DROP"],
    "INPUT policy of IPv6": ["ip6tables -P INPUT DROP"],
    "only handshakes begin": ["iptables -P FORWARD DROP", "iptables -A FORWARD -p tcp --syn -j ACCEPT"],
    "new connections only": [
        "iptables -P FORWARD DROP",
        "iptables -A FORWARD -m conntrack --ctstate NEW -j ACCEPT",
        "iptables -D FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD",
    ],
    "a reject with an ICMP error": ["iptables -I FORWARD -p tcp -j REJECT"],
    "a reject with a reset": ["iptables -I FORWARD -p tcp -j REJECT --reject-with tcp-reset"],
    "a reject on the way out": ["iptables -I OUTPUT -p udp -j REJECT"],
    "answers are dropped": ["iptables -I FORWARD -m conntrack --ctstate ESTABLISHED --ctdir REPLY -j DROP"],
    "the request is not tracked": ["iptables -t raw -A PREROUTING -s 10.244.0.2 -j NOTRACK"],
    "a port is redirected to the node": [
        "iptables -t nat -I PREROUTING -p tcp --dport 443 -j REDIRECT --to-ports 10250"
    ],
    "a port is redirected to nobody": ["iptables -t nat -I PREROUTING -p tcp --dport 443 -j REDIRECT --to-ports 9"],
    "the endpoint is dead": [
        "iptables -t nat -I PREROUTING -d 10.96.0.10 -p tcp -j DNAT --to-destination 10.244.0.99:80"
    ],
    "a blackhole": ["ip route add blackhole 203.0.113.1"],
    "an unreachable route": ["ip route add unreachable 203.0.113.1"],
    "a prohibited route": ["ip route add prohibit 203.0.113.1"],
    "a policy rule": ["ip rule add from 10.244.0.2 unreachable priority 100"],
    "no default route": ["ip route del default"],
    "the default route leads nowhere": ["ip route replace default via 192.0.2.99"],
    "isolated ports": ["bridge link set dev vetha isolated on", "bridge link set dev vethb isolated on"],
    "a port is down": ["ip link set vethb down"],
    "the bridge is down": ["ip link set cni0 down"],
    "a port without a bridge": ["ip link set vethb nomaster"],
    "no answers to pings": ["sysctl -qw net.ipv4.icmp_echo_ignore_all=1"],
    "strict source validation and a wrong way back": [
        "sysctl -qw net.ipv4.conf.all.rp_filter=1",
        "ip route add 10.244.0.2/32 via 192.0.2.1",
    ],
    "a small route within the bridge's": ["ip route add 10.244.0.3/32 via 192.0.2.1"],
    "the wrong neighbour": ["ip neigh replace 10.244.0.3 lladdr 02:00:00:00:00:99 dev cni0 nud permanent"],
    "a pod without a way out": ["pod ip route del default"],
    "a pod with the wrong prefix": [
        "pod ip address del 10.244.0.2/24 dev eth0",
        "pod ip address add 10.244.0.2/32 dev eth0",
    ],
    "a pod's own firewall": ["pod iptables -A OUTPUT -p udp -j DROP"],
}  # fmt: skip


def test_everyone_reaches_what_the_simulator_says_on_the_healthy_kubernetes_node(two_pods: Lab) -> None:
    assert disagreements(two_pods, everyone_to_everything(two_pods.topology)) == []


def test_everyone_reaches_what_the_simulator_says_on_the_healthy_docker_host(
    build: Callable[..., Lab], backend: Backend
) -> None:
    lab = build("docker-bridge", backend)
    calls = [*everyone_to_everything(lab.topology)]
    calls += [Call(place, "192.0.2.10", "tcp", 8080) for place in ("app", "job", "node", "outside")]
    calls.append(Call("node", "127.0.0.1", "tcp", 8080))
    assert disagreements(lab, calls) == []


# What the simulator has not learnt yet: each is a kernel's behaviour that was seen here, on 6.18.


def _cases() -> Iterator[ParameterSet]:
    """Every break on iptables-nft, those that are made with iptables on the legacy backend too."""
    for what, commands in BREAKS.items():
        yield pytest.param(what, "nft")
        if any("tables" in command for command in commands):
            yield pytest.param(what, "legacy")


@pytest.mark.parametrize(("what", "backend"), list(_cases()))
def test_the_simulator_and_the_kernel_agree_on_what_is_broken(
    build: Callable[..., Lab], what: str, backend: Backend
) -> None:
    lab = build("two-pods", backend)
    for command in BREAKS[what]:
        where = WEB if command.startswith("pod ") else "node"
        lab.run(where, ["sh", "-c", _with_backend(lab, command.removeprefix("pod "))], check=True)
    assert disagreements(lab, CALLS) == []


def _with_backend(lab: Lab, command: str) -> str:
    tool, _, rest = command.partition(" ")
    return f"{tool}-{lab.backend} {rest}" if tool in {"iptables", "ip6tables"} else command
