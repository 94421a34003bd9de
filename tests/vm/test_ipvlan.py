"""ipvlan in each of its modes: between siblings, to the parent's host, to the wire, with the parent's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from layers import Layers, everyone

if TYPE_CHECKING:
    from collections.abc import Callable

    from netdoctor.lab.lab import Lab

PLACES = {
    "node": ["10.0.0.1", "fd00::1"],
    **{f"node/{name}": [f"10.0.0.{number}", f"fd00::{number}"] for number, name in enumerate("abc", 2)},
}
IPVLANS = """
ns a; ns b; ns c
ip link add up0 address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:04 netns c
ip link set up0 up; at c ip link set eth0 up
ip address add 10.0.0.1/24 dev up0; ip address add fd00::1/64 dev up0 nodad
at c ip address add 10.0.0.4/24 dev eth0; at c ip address add fd00::4/64 dev eth0 nodad
at c ip route add 10.0.1.0/24 via 10.0.0.1
number=2
for name in a b; do
  ip link add eth0 netns $name link up0 type ipvlan mode MODE FLAG
  at $name ip link set eth0 up
  at $name ip address add 10.0.0.$number/24 dev eth0; at $name ip address add fd00::$number/64 dev eth0 nodad
  number=$((number + 1))
done
at c ip neigh add 10.0.0.3 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
at c ip neigh add fd00::3 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
sysctl -qw net.ipv4.ip_forward=0
"""
RULES = """
iptables -A OUTPUT -s 10.0.0.2 -p udp -j DROP
iptables -A INPUT -d 10.0.0.3 -p udp -j DROP
iptables -t nat -A POSTROUTING -s 10.0.0.3 -d 10.0.0.4 ! -p tcp -j SNAT --to-source 10.0.0.1
"""


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
@pytest.mark.parametrize("flag", ["bridge", "private", "vepa"])
def test_ipvlans_reach_whom_their_mode_lets_them(build: Callable[..., Lab], mode: str, flag: str) -> None:
    script = IPVLANS.replace("MODE", mode).replace("FLAG", flag)
    assert Layers(build, {"node": script}, servers=PLACES).disagreements(everyone(PLACES)) == []


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
def test_the_parents_rules_are_asked_where_the_mode_asks_them(build: Callable[..., Lab], mode: str) -> None:
    script = IPVLANS.replace("MODE", mode).replace("FLAG", "bridge") + RULES
    assert Layers(build, {"node": script}, servers=PLACES).disagreements(everyone(PLACES)) == []
