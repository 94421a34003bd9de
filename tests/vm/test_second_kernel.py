"""What holds on this machine's kernel holds on the guest's too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layers import Layers, everyone

if TYPE_CHECKING:
    from collections.abc import Callable

    from netdoctor.lab.lab import Lab

PLACES = {"node": ["10.0.0.1", "fd00::1"], "node/a": ["10.0.0.2", "fd00::2"], "node/b": ["10.0.0.3", "fd00::3"]}
BRIDGE = """
ns a; ns b
ip link add br0 type bridge; ip link set br0 up
ip address add 10.0.0.1/24 dev br0; ip address add fd00::1/64 dev br0 nodad
pair a eth0 02:00:00:00:00:02 veth0; pair b eth0 02:00:00:00:00:03 veth1
ip link set veth0 master br0; ip link set veth1 master br0
at a ip address add 10.0.0.2/24 dev eth0; at a ip address add fd00::2/64 dev eth0 nodad
at b ip address add 10.0.0.3/24 dev eth0; at b ip address add fd00::3/64 dev eth0 nodad
"""


def test_a_plain_bridge_carries_what_the_simulator_says(build: Callable[..., Lab]) -> None:
    assert Layers(build, {"node": BRIDGE}, servers=PLACES).disagreements(everyone(PLACES)) == []
