"""Devices that this machine's kernel has: macvlan modes, bridge port flags, STP states. tests/vm/ has the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from layers import Layers, everyone

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
    ("mode", "hairpin"), [("bridge", "off"), ("bridge", "on"), ("private", "off"), ("vepa", "off"), ("vepa", "on")]
)
def test_macvlans_reach_each_other_and_the_wire_as_their_mode_says(
    build: Callable[..., Lab], mode: str, hairpin: str
) -> None:
    script = MACVLANS.replace("MODE", mode) + f"at wire bridge link set dev far0 hairpin {hairpin}\n"
    bench = Layers(build, {"node": script}, servers=PLACES)
    assert bench.disagreements(everyone(PLACES)) == []
