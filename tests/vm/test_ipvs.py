"""IPVS as kube-proxy uses it, and as it is used alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from differential import Call
from layers import Layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from netdoctor.lab.lab import Lab

PLACES = ["node", "node/a", "node/b", "node/far"]
NODE = """
ns a; ns b; ns far
ip link add cni0 address 02:00:00:00:00:01 type bridge; ip link set cni0 up
ip address add 10.244.0.1/24 dev cni0; ip address add fd00:244::1/64 dev cni0 nodad
number=2
for name in a b; do
  pair $name eth0 02:00:00:00:00:0$number veth-$name; ip link set veth-$name master cni0
  bridge link set dev veth-$name hairpin on
  at $name ip address add 10.244.0.$number/24 dev eth0; at $name ip address add fd00:244::$number/64 dev eth0 nodad
  at $name ip route add default via 10.244.0.1; at $name ip -6 route add default via fd00:244::1
  number=$((number + 1))
done
pair far eth0 02:00:00:00:00:0f eth0
ip address add 192.0.2.10/24 dev eth0; ip address add 2001:db8::10/64 dev eth0 nodad
at far ip address add 192.0.2.1/24 dev eth0; at far ip address add 2001:db8::1/64 dev eth0 nodad
at far ip route add 10.96.0.0/16 via 192.0.2.10; at far ip -6 route add fd00:96::/64 via 2001:db8::10
ip link add kube-ipvs0 type dummy
for last in 10 11 12 13 14 15; do ip address add 10.96.0.$last/32 dev kube-ipvs0; done
ip address add fd00:96::10/128 dev kube-ipvs0
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.bridge.bridge-nf-call-iptables=1
sysctl -qw net.bridge.bridge-nf-call-ip6tables=1
ipvsadm -R <<SERVICES
-A -t 10.96.0.10:80 -s rr
-a -t 10.96.0.10:80 -r 10.244.0.2:80 -m
-a -t 10.96.0.10:80 -r 10.244.0.3:80 -m
-A -u 10.96.0.11:53 -s wrr
-a -u 10.96.0.11:53 -r 10.244.0.3:53 -m
-A -t 10.96.0.12:80 -s rr
-A -u 10.96.0.12:53 -s rr
-A -t 10.96.0.13:8080 -s rr
-a -t 10.96.0.13:8080 -r 192.0.2.10:80 -m
-A -t 10.96.0.14:80 -s lc
-a -t 10.96.0.14:80 -r 10.244.0.2:80 -m
-A -t 10.96.0.15:80 -s rr
-a -t 10.96.0.15:80 -r 10.244.0.2:80 -m -w 0
-A -t 192.0.2.10:30080 -s rr
-a -t 192.0.2.10:30080 -r 10.244.0.3:80 -m
-A -u 10.96.0.13:54 -s rr
-a -u 10.96.0.13:54 -r 10.244.0.3:54 -m
-A -t [fd00:96::10]:80 -s sh
-a -t [fd00:96::10]:80 -r [fd00:244::3]:80 -m
SERVICES
"""
MASQUERADE = """
sysctl -qw net.ipv4.vs.conntrack=1
for tool in iptables ip6tables; do
  pods=10.244.0.0/24; services=10.96.0.0/16
  [ $tool = iptables ] || { pods=fd00:244::/64; services=fd00:96::/64; }
  $tool -t nat -N KUBE-SERVICES
  $tool -t nat -A PREROUTING -j KUBE-SERVICES; $tool -t nat -A OUTPUT -j KUBE-SERVICES
  $tool -t nat -A KUBE-SERVICES ! -s $pods -d $services -j MARK --or-mark 0x4000
  $tool -t nat -A KUBE-SERVICES -p tcp --dport 30080 -j MARK --or-mark 0x4000
  $tool -t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
done
iptables -t nat -A POSTROUTING -s 10.244.0.2 -d 10.244.0.2 -j MASQUERADE
"""
CHANGES = {
    "as kube-proxy sets it up": MASQUERADE,
    "without bridge netfilter": MASQUERADE + "sysctl -qw net.bridge.bridge-nf-call-iptables=0\n",
    "rules see it on its way": MASQUERADE + "iptables -A INPUT -d 10.96.0.14 -j DROP\n"
    "iptables -A OUTPUT -d 10.244.0.3 -p udp -j DROP\niptables -A FORWARD -s 10.244.0.3 -p tcp -j DROP\n",
    "without conntrack": "sysctl -qw net.ipv4.vs.conntrack=0\n"
    "iptables -A INPUT -m conntrack --ctstate INVALID -j DROP\n",
    "forwarding off": MASQUERADE + "sysctl -qw net.ipv4.ip_forward=0\n",
}
TARGETS = [
    ("10.96.0.10", "tcp", 80), ("10.96.0.10", "tcp", 81), ("10.96.0.10", "icmp", None), ("10.96.0.11", "udp", 53),
    ("10.96.0.12", "tcp", 80), ("10.96.0.12", "udp", 53), ("10.96.0.13", "tcp", 8080), ("10.96.0.13", "udp", 54),
    ("10.96.0.14", "tcp", 80), ("10.96.0.15", "tcp", 80), ("192.0.2.10", "tcp", 30080), ("fd00:96::10", "tcp", 80),
    ("10.244.0.3", "tcp", 80),
]  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_a_virtual_server_reaches_its_real_servers(build: Callable[..., Lab], what: str) -> None:
    bench = Layers(build, {"node": NODE + CHANGES[what]}, servers=PLACES)
    calls = [
        Call(place, *target)
        for place in PLACES
        for target in TARGETS
        if (place, target[0]) != ("node/far", "10.244.0.3")
    ]
    assert bench.disagreements(calls) == []


DIRECT = """
ns a; ns far
ip link add br0 address 02:00:00:00:00:01 type bridge; ip link set br0 up; ip address add 192.0.2.10/24 dev br0
pair a eth0 02:00:00:00:00:02 veth-a; ip link set veth-a master br0
pair far eth0 02:00:00:00:00:03 veth-far; ip link set veth-far master br0
at a ip address add 192.0.2.2/24 dev eth0; at far ip address add 192.0.2.3/24 dev eth0
ip address add 198.51.100.1/32 dev br0
at a sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
at a ip address add 198.51.100.1/32 dev lo
at far ip route add 198.51.100.1 via 192.0.2.10; at a ip route add 198.51.100.9 via 192.0.2.10
sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=0 net.ipv4.conf.all.send_redirects=0
ipvsadm -A -t 198.51.100.1:80 -s rr; ipvsadm -a -t 198.51.100.1:80 -r 192.0.2.2 FORWARD
ipvsadm -A -f 7 -s rr; ipvsadm -a -f 7 -r 192.0.2.2 FORWARD
at a ip link add t0 type ipip local 192.0.2.2; at a ip link set t0 up
iptables -t mangle -A PREROUTING -p udp --dport 53 -j MARK --set-mark 7
"""


@pytest.mark.parametrize("forward", ["-g", "-i"])
def test_a_real_server_with_the_virtual_address_answers_by_itself(build: Callable[..., Lab], forward: str) -> None:
    bench = Layers(build, {"node": DIRECT.replace("FORWARD", forward)}, servers=["node", "node/a", "node/far"])
    targets = [("198.51.100.1", "tcp", 80), ("198.51.100.1", "udp", 53), ("198.51.100.1", "icmp", None)]
    assert bench.disagreements([Call(place, *target) for place in ("node/far", "node") for target in targets]) == []
