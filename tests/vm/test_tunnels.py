"""Tunnels from one host's snapshot into the next one's: IPIP, GRE, SIT and their IPv6 kin, with and without keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from differential import Call
from layers import Layers

from netdoctor.lab.topology import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from netdoctor.lab.lab import Lab

WIRE = Wire(
    hosts=("one", "two"),
    devs=("eth0", "eth0"),
    addresses=(("192.0.2.1/24", "2001:db8::1/64"), ("192.0.2.2/24", "2001:db8::2/64")),
)
# Number of the tunnel, which is also its network's: kind, and what each end says of itself.
TUNNELS = {
    1: ("ipip", "local 192.0.2.1 remote 192.0.2.2", "local 192.0.2.2 remote 192.0.2.1"),
    2: ("gre", "local 192.0.2.1 remote 192.0.2.2 key 7", "local 192.0.2.2 remote 192.0.2.1 key 7"),
    3: ("gre", "local 192.0.2.1 remote 192.0.2.2 key 8", "local 192.0.2.2 remote 192.0.2.1 ikey 9 okey 8"),
    4: ("gre", "remote 192.0.2.2 ikey 10 okey 11 ttl 5", "remote 192.0.2.1 ikey 11 okey 10"),
    5: ("gre", "remote 192.0.2.2 key 12 tos inherit", "local 192.0.2.2 remote 192.0.2.9 key 12"),
    6: ("gretap", "local 192.0.2.1 remote 192.0.2.2 key 13", "local 192.0.2.2 remote 192.0.2.1 key 13"),
    7: ("ip6gre", "local 2001:db8::1 remote 2001:db8::2 key 14", "local 2001:db8::2 remote 2001:db8::1 key 14"),
    8: ("ip6tnl", "mode any local 2001:db8::1 remote 2001:db8::2", "mode any local 2001:db8::2 remote 2001:db8::1"),
    9: ("vxlan", "id 5 dstport 4789 remote 192.0.2.2 local 192.0.2.1", "id 5 dstport 4789 local 192.0.2.2"),
    10: ("gre", "local 192.0.2.1 remote 192.0.2.2 key 15 ttl 1", "local 192.0.2.2 remote 192.0.2.1 key 15"),
}


def host(side: int) -> str:
    """Each tunnel has a network of its own, 10.NUMBER.SIDE.1 on each side."""
    far = 3 - side
    lines = ["ns pod; pair pod eth0 02:00:00:00:00:0$SIDE veth-pod".replace("$SIDE", str(side + 4))]
    lines += [f"ip address add 10.100.{side}.1/24 dev veth-pod; at pod ip address add 10.100.{side}.2/24 dev eth0"]
    lines += [f"at pod ip route add default via 10.100.{side}.1; sysctl -qw net.ipv4.ip_forward=1"]
    lines += ["sysctl -qw net.ipv6.conf.all.forwarding=1"]
    for number, (kind, *ends) in TUNNELS.items():
        name = f"t{number}"
        lines += [f"ip link add {name} type {kind} {ends[side - 1]}; ip link set {name} up"]
        lines += [f"ip address add 10.{number}.{side}.1/16 dev {name}"]
    lines += ["ip link add sit1 type sit local 192.0.2.$SIDE remote 192.0.2.$FAR; ip link set sit1 up"]
    lines += ["ip address add fd00:1::$SIDE/64 dev sit1 nodad; ip link set tunl0 up"]
    lines += ["ip address add 10.50.$SIDE.1/32 dev tunl0"]
    lines += ["ip route add 10.50.$FAR.1 via 192.0.2.$FAR dev tunl0 onlink src 10.50.$SIDE.1"]
    lines += ["ip route add 10.100.$FAR.0/24 dev t2"]
    return "\n".join(lines).replace("$SIDE", str(side)).replace("$FAR", str(far)) + "\n"


CHANGES = {
    "all open": "",
    "rules see the outer packet": "iptables -A OUTPUT -p ipencap -j DROP\n"
    "iptables -A INPUT -p gre -s 192.0.2.2 -j DROP\n"
    "ip6tables -A OUTPUT -p gre -j DROP\n",
    "the mark of what is inside": "iptables -t mangle -A PREROUTING -s 10.100.1.2 -j MARK --set-mark 5\n"
    "iptables -A OUTPUT -m mark --mark 5 -j DROP\n",
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_tunnel_leads_into_the_snapshot_of_the_next_host(build: Callable[..., Lab], what: str) -> None:
    places = ["one", "two", "two/pod"]
    bench = Layers(build, {"one": host(1) + CHANGES[what], "two": host(2)}, servers=places, wires=[WIRE])
    targets = [f"10.{number}.2.1" for number in TUNNELS] + ["10.50.2.1", "10.100.2.2", "fd00:1::2", "192.0.2.2"]
    calls = [
        Call(place, target, "icmpv6" if ":" in target else "icmp", None)
        for place in ("one", "one/pod")
        for target in targets
        if (place, target) != ("one/pod", "fd00:1::2")
    ]
    calls += [Call("one", "10.2.2.1", "tcp", 80), Call("one/pod", "10.100.2.2", "udp", 53)]
    # The fifth leads back to somebody whose snapshot is not there.
    back = [target.replace(".2.1", ".1.1") for target in targets if target.endswith("2.1") and target != "10.5.2.1"]
    calls += [Call("two", target, "icmp", None) for target in back]
    assert bench.disagreements(calls) == []
