"""VLAN devices, and bridges that tell VLANs apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from layers import Layers, everyone

if TYPE_CHECKING:
    from collections.abc import Callable

    from netdoctor.lab.lab import Lab

# a and b speak untagged; c has a VLAN device on its link; the node has one on the bridge; d and e are behind a trunk.
PLACES = {
    "node": ["10.0.0.1", "10.0.10.1"],
    **{f"node/{name}": [f"10.0.0.{number}", f"10.0.10.{number}"] for number, name in enumerate("abcde", 2)},
}
VLANS = """
for name in a b c d e t; do ns $name; done
ip link add br0 address 02:00:00:00:00:01 type bridge vlan_filtering 1; ip link set br0 up
ip link add br0.10 link br0 type vlan id 10; ip link set br0.10 up
ip address add 10.0.0.1/24 dev br0; ip address add 10.0.10.1/24 dev br0.10
number=2
for name in a b c; do
  pair $name eth0 02:00:00:00:00:0$number veth-$name; ip link set veth-$name master br0; number=$((number + 1))
done
pair t up0 02:00:00:00:00:0f trunk; ip link set trunk master br0
at t ip link add br1 type bridge; at t ip link set up0 master br1; at t ip link set br1 up
for name in d e; do
  ip link add eth0 address 02:00:00:00:00:0$number netns $name type veth peer name to-$name netns t
  at $name ip link set eth0 up; at t ip link set to-$name master br1 up; number=$((number + 1))
done
number=2
for name in a b c d e; do
  at $name ip address add 10.0.0.$number/24 dev eth0
  case $name in
    c | e) at $name ip link add eth0.10 link eth0 type vlan id 10; at $name ip link set eth0.10 up
           at $name ip address add 10.0.10.$number/24 dev eth0.10 ;;
    *) at $name ip address add 10.0.10.$number/24 dev eth0 ;;
  esac
  number=$((number + 1))
done
sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.ipv4.ip_forward=0
"""
CHANGES = {
    "one VLAN for all": "true",
    "an access port of VLAN 10": "bridge vlan del dev veth-a vid 1; bridge vlan add dev veth-a vid 10 pvid untagged; "
    "bridge vlan add dev br0 vid 10 self; bridge vlan add dev veth-c vid 10; bridge vlan add dev trunk vid 10",
    "VLAN 10 without the bridge itself": "bridge vlan add dev veth-a vid 10 pvid untagged; bridge vlan add dev veth-c "
    "vid 10; bridge vlan add dev trunk vid 10",
    "a port without a VLAN of its own": "bridge vlan del dev veth-a vid 1; bridge vlan add dev veth-a vid 1 untagged",
    "an answer takes another VLAN": "bridge vlan add dev veth-a vid 20 pvid untagged; bridge vlan add dev veth-b vid "
    "20 untagged; bridge vlan add dev veth-b vid 1 pvid untagged; bridge vlan add dev veth-a vid 1 untagged",
    "a range of VLANs": "bridge vlan add dev veth-c vid 5-15; bridge vlan add dev trunk vid 5-15; "
    "bridge vlan add dev br0 vid 5-15 self",
    "a switch behind the trunk filters": "at t ip link set br1 type bridge vlan_filtering 1; at t bridge vlan add dev "
    "up0 vid 10; at t bridge vlan add dev to-d vid 10 pvid untagged; at t bridge vlan add dev to-e vid 10; "
    "bridge vlan add dev trunk vid 10; bridge vlan add dev veth-c vid 10; bridge vlan add dev br0 vid 10 self",
    "no filtering": "ip link set br0 type bridge vlan_filtering 0",
    "provider tags": "ip link set br0 type bridge vlan_protocol 802.1ad; bridge vlan add dev veth-c vid 10; "
    "bridge vlan add dev trunk vid 10; bridge vlan add dev br0 vid 10 self",
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_bridge_that_filters_vlans_carries_what_its_ports_let_it(build: Callable[..., Lab], what: str) -> None:
    bench = Layers(build, {"node": VLANS + CHANGES[what] + "\n"}, servers=PLACES)
    calls = [call for call in everyone(PLACES) if call.proto == "icmp"]
    assert bench.disagreements(calls) == []
