"""The first namespace of a machine, which has devices and sysctls of its own: only a guest has one to play with."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from layers import Layers, everyone

from netdoctor.lab import process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netdoctor.lab.topology import Topology

PLACES = {
    "guest": ["10.1.0.1", "fd00:1::1"],
    "guest/a": ["10.1.0.2", "fd00:1::2"],
    "guest/b": ["10.2.0.2", "fd00:2::2"],
}
SCRIPT = """
sysctl -qw net.core.devconf_inherit_init_net=1 net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
modprobe ipip; modprobe ip_gre; modprobe sit; ip link set tunl0 up; ip link set sit0 up
ns a; ns b
number=1
for name in a b; do
  pair $name eth0 02:00:00:00:00:0$number veth-$name
  ip address add 10.$number.0.1/24 dev veth-$name; ip address add fd00:$number::1/64 dev veth-$name nodad
  at $name ip address add 10.$number.0.2/24 dev eth0; at $name ip address add fd00:$number::2/64 dev eth0 nodad
  at $name ip route add default via 10.$number.0.1; at $name ip -6 route add default via fd00:$number::1
  number=$((number + 1))
done
"""
CHANGES = {
    "all open": "",
    "forwarding is inherited and off": "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0\n",
    "answers may not come this way": "ip route add 10.1.0.2/32 dev veth-b\n",
    "no answers to pings": "sysctl -qw net.ipv4.icmp_echo_ignore_all=1\n",
}
UNDO = """
ip link del veth-a; ip link del veth-b; ip netns del a; ip netns del b
sysctl -qw net.core.devconf_inherit_init_net=0 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
sysctl -qw net.ipv4.icmp_echo_ignore_all=0
"""


class Machine:
    """The guest itself in place of a lab."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._processes: list[subprocess.Popen[bytes]] = []
        for command in topology.hosts[0].commands:
            self.run("guest", command, check=True)

    def words(self, where: str, argv: Sequence[str]) -> tuple[str, ...]:
        return tuple(argv)

    def run(self, where: str, argv: Sequence[str], *, check: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, capture_output=True, text=True, check=check, stdin=subprocess.DEVNULL)

    def close(self) -> None:
        for one in self._processes:
            process.close(one)
        self.run("guest", ["sh", "-c", UNDO])


def test_the_first_namespace_is_followed_like_any_other() -> None:
    """One after the other: there is only one of it."""
    wrong = {}
    for what, change in CHANGES.items():
        made: list[Machine] = []
        try:
            bench = Layers(
                lambda topology, made=made: made.append(Machine(topology)) or made[0],
                {"guest": SCRIPT + change},
                servers=PLACES,
            )
            host, inner = (bench.world().namespaces[name].snapshot.sysctls for name in ("host", "a"))
            assert {"net.core.netdev_max_backlog", "net.core.devconf_inherit_init_net"} <= host.keys() - inner.keys()
            wrong[what] = bench.disagreements(everyone(PLACES))
        finally:
            for one in made:
                one.close()
    assert {what: lines for what, lines in wrong.items() if lines} == {}
