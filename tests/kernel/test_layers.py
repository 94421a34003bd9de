"""Devices that this machine's kernel has: macvlan modes, bridge port flags, STP states. tests/vm/ has the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from layers import Layers, everyone

from netdoctor.lab.topology import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from netdoctor.lab.lab import Lab

PLACES = {
    "node": ["10.0.0.1", "fd00::1"],
    "node/a": ["10.0.0.2", "fd00::2"],
    "node/b": ["10.0.0.3", "fd00::3"],
    "node/c": ["10.0.0.4", "fd00::4"],
}
MACVLANS = """
ns wire; ns a; ns b; ns c
ip link add up0 address 02:00:00:00:00:01 type veth peer name far0 netns wire
ip link set up0 up; ip -n wire link set far0 up
ip address add 10.0.0.1/24 dev up0; ip address add fd00::1/64 dev up0 nodad
number=2
for name in a b; do
  ip link add eth0 address 02:00:00:00:00:0$number netns $name link up0 type macvlan mode MODE
  at $name ip address add 10.0.0.$number/24 dev eth0; at $name ip address add fd00::$number/64 dev eth0 nodad
  at $name ip link set eth0 up; number=$((number + 1))
done
at c ip link add eth0 type veth peer name far1 netns wire
at wire ip link add br0 type bridge; at wire ip link set far0 master br0; at wire ip link set far1 master br0 up
at wire ip link set br0 up; at c ip link set eth0 up
at c ip address add 10.0.0.4/24 dev eth0; at c ip address add fd00::4/64 dev eth0 nodad
"""


@pytest.mark.parametrize(
    ("mode", "hairpin"), [(mode, hairpin) for mode in ("bridge", "private", "vepa") for hairpin in ("off", "on")]
)
def test_macvlans_reach_each_other_and_the_wire_as_their_mode_says(
    build: Callable[..., Lab], mode: str, hairpin: str
) -> None:
    script = MACVLANS.replace("MODE", mode) + f"at wire bridge link set dev far0 hairpin {hairpin}\n"
    bench = Layers(build, {"node": script}, servers=PLACES)
    assert bench.disagreements(everyone(PLACES)) == []


ALONE = {"node": ["10.0.0.1", "fd00::1"], "node/a": ["10.0.0.2", "fd00::2"], "node/c": ["10.0.0.4", "fd00::4"]}


def test_a_macvlan_that_passes_everything_through_leaves_its_parent_deaf(build: Callable[..., Lab]) -> None:
    script = MACVLANS.replace("for name in a b", "for name in a").replace("MODE", "passthru")
    assert Layers(build, {"node": script}, servers=ALONE).disagreements(everyone(ALONE)) == []


@pytest.mark.parametrize("listed", ["02:00:00:00:00:04", "02:00:00:00:00:09"])
def test_a_macvlan_in_source_mode_hears_whom_it_lists(build: Callable[..., Lab], listed: str) -> None:
    script = MACVLANS.replace("for name in a b", "for name in a").replace("MODE", "source")
    script = script.replace("ip link add eth0 type veth", "ip link add eth0 address 02:00:00:00:00:04 type veth")
    script += f"at a ip link set dev eth0 type macvlan macaddr add {listed}\n"
    assert Layers(build, {"node": script}, servers=ALONE).disagreements(everyone(ALONE)) == []


BRIDGED = {
    "node": ["10.0.0.1", "fd00::1"],
    **{f"node/{name}": [f"10.0.0.{number}", f"fd00::{number}"] for number, name in enumerate("abc", 2)},
}
BRIDGE = """
ns a; ns b; ns c
ip link add br0 address 02:00:00:00:00:01 type bridge; ip link set br0 up
ip address add 10.0.0.1/24 dev br0; ip address add fd00::1/64 dev br0 nodad
number=2
for name in a b c; do
  pair $name eth0 02:00:00:00:00:0$number veth-$name; ip link set veth-$name master br0
  at $name ip address add 10.0.0.$number/24 dev eth0; at $name ip address add fd00::$number/64 dev eth0 nodad
  number=$((number + 1))
done
sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0
"""
FLAGS = {
    "two isolated ports": "bridge link set dev veth-a isolated on; bridge link set dev veth-b isolated on",
    "one isolated port": "bridge link set dev veth-a isolated on",
    "a locked port": "bridge link set dev veth-a locked on learning off; bridge fdb del 02:00:00:00:00:02 dev veth-a "
    "master || true",
    "a locked port whose station is known": "bridge link set dev veth-a locked on learning off; "
    "bridge fdb replace 02:00:00:00:00:02 dev veth-a master static",
    "a locked port and a station known elsewhere": "bridge link set dev veth-a locked on learning off; "
    "bridge fdb replace 02:00:00:00:00:02 dev veth-b master static",
    "a blocking port": "bridge link set dev veth-a state 4",
    "a listening port": "bridge link set dev veth-a state 1",
    "a learning port": "bridge link set dev veth-a state 2",
    "a disabled port": "bridge link set dev veth-a state 0",
    "a port without broadcasts": "bridge link set dev veth-a bcast_flood off",
    "a port without multicasts": "bridge link set dev veth-a mcast_flood off",
    "a port without broadcasts and multicasts": "bridge link set dev veth-a bcast_flood off mcast_flood off",
    "a port that neither learns nor gets floods": "bridge link set dev veth-a learning off flood off; "
    "bridge fdb del 02:00:00:00:00:02 dev veth-a master || true",
    "a port that does not learn": "bridge link set dev veth-a learning off",
    "a wrong static entry": "bridge fdb replace 02:00:00:00:00:02 dev veth-b master static",
    "a wrong static entry that stays": "bridge fdb replace 02:00:00:00:00:02 dev veth-b master static sticky",
}


@pytest.mark.parametrize("what", FLAGS)
def test_a_bridge_carries_what_the_flags_of_its_ports_let_it(build: Callable[..., Lab], what: str) -> None:
    bench = Layers(build, {"node": BRIDGE + FLAGS[what] + "\n"}, servers=BRIDGED)
    assert bench.disagreements(everyone(BRIDGED)) == []


WIRE = Wire(hosts=("one", "two"), devs=("eth0", "eth0"), addresses=(("192.0.2.1/24",), ("192.0.2.2/24",)))
OVERLAY = """
ns pod; pair pod eth0 02:00:00:00:00:0SIDE port
ip link add br0 address 02:00:00:00:01:0SIDE type bridge; ip link set br0 up; ip link set port master br0
ip link add vx type vxlan id 7 dstport 4789 local 192.0.2.SIDE WHERE; ip link set vx master br0 up
ip address add 10.0.0.SIDE0/24 dev br0; at pod ip address add 10.0.0.SIDE1/24 dev eth0
at pod ip address add fd00::SIDE1/64 dev eth0 nodad
"""
OVERLAYS = {
    "both know the other": ("remote 192.0.2.2", "remote 192.0.2.1", ""),
    "one learns of the other": ("remote 192.0.2.2", "", ""),
    "one may not learn": ("remote 192.0.2.2", "nolearning", ""),
    "the port is closed": ("remote 192.0.2.2", "remote 192.0.2.1", "iptables -A INPUT -p udp --dport 4789 -j DROP"),
    "bridged packets are asked": ("remote 192.0.2.2", "remote 192.0.2.1", "iptables -A FORWARD -p udp -j DROP"),
    "entries for one MAC": (
        "nolearning",
        "nolearning",
        "for mac in 02:00:00:00:00:01 00:00:00:00:00:00; do bridge fdb append $mac dev vx dst 192.0.2.1; done",
    ),
}


@pytest.mark.parametrize("what", OVERLAYS)
def test_an_overlay_leads_into_the_snapshot_of_the_next_host(build: Callable[..., Lab], what: str) -> None:
    first, second, more = OVERLAYS[what]
    places = {
        "one": ["10.0.0.10"], "one/pod": ["10.0.0.11", "fd00::11"],
        "two": ["10.0.0.20"], "two/pod": ["10.0.0.21", "fd00::21"],
    }  # fmt: skip
    scripts = {
        host: OVERLAY.replace("SIDE", str(side)).replace("WHERE", where) + rules + "\n"
        for side, (host, where, rules) in enumerate((("one", first, ""), ("two", second, more)), 1)
    }
    calls = [call for call in everyone(places) if not (call.place in ("one", "two") and ":" in call.address)]
    assert Layers(build, scripts, servers=places, wires=[WIRE]).disagreements(calls) == []
