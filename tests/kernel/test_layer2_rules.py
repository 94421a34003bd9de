"""Rules that see frames, beside the kernel: nft's netdev, bridge and arp families, ebtables-nft and arptables-nft.

The network is that of test_once_differed: `node` with the pods p1 and p2 behind br0, and `gw` on the wire behind eth0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kernel.fuzz import compare
from tests.kernel.fuzz.network import Network, Step
from tests.kernel.test_once_differed import SERVERS, SPACES, STEPS, Case, echo, nft, table, udp

if TYPE_CHECKING:
    from tests.kernel.fuzz.compare import Kernel

QUIET = Step("node", "sysctl", ("bridge/bridge-nf-call-iptables=0", "bridge/bridge-nf-call-ip6tables=0"))
P1, P2, GW, BR0 = "02:00:00:00:00:12", "02:00:00:00:00:22", "02:00:00:00:00:32", "02:00:00:00:00:01"


def chain(
    family: str, hook: str, *rules: str, priority: str = "0", policy: str = "accept", netns: str = "node"
) -> Step:
    """A table with one base chain."""
    begin = f"chain c {{ type filter hook {hook} priority {priority}; policy {policy};"
    return nft(f"table {family} t {{", begin, *rules, "}", "}", netns=netns)


def on(dev: str, side: str = "ingress") -> str:
    return f'{side} device "{dev}"'


def tool(program: str, *commands: str, netns: str = "node") -> Step:
    """Commands of ebtables-nft or arptables-nft."""
    return Step(netns, "sh -e", tuple(f"{program} {one}" for one in commands))


CASES = (
    # netdev
    Case("what a port takes in is dropped before its bridge sees it",
         (chain("netdev", on("vp1"), "ip saddr 10.0.1.2 udp dport 80 drop"),), udp("p1", "10.0.1.3"), connects=False),
    Case("another port is not meant",
         (chain("netdev", on("vp2"), "ip saddr 10.0.1.2 udp dport 80 drop"),), udp("p1", "10.0.1.3"), connects=True),
    Case("what goes out of a port is seen there, the answer with its ports changed about",
         (chain("netdev", on("vp1", "egress"), "udp sport 80 drop"),), udp("p1", "10.0.1.3"), connects=False),
    Case("a bridge is a device too",
         (chain("netdev", on("br0"), "ip daddr 192.0.2.1 drop"),), echo("p1", "192.0.2.1"), connects=False),
    Case("what passes from port to port does not come in by the bridge",
         (chain("netdev", on("br0"), "ip daddr 10.0.1.3 drop"),), echo("p1", "10.0.1.3"), connects=True),
    Case("what the node sends itself leaves by an egress chain",
         (chain("netdev", on("eth0", "egress"), "udp dport 80 drop"),), udp("node", "192.0.2.1"), connects=False),
    Case("loopback has both",
         (chain("netdev", on("lo"), "ip daddr 192.0.2.10 udp dport 80 drop"),), udp("node", "192.0.2.10"),
         connects=False),
    Case("a mark that ingress sets is seen by iptables",
         (chain("netdev", on("vp1"), "meta mark set 7"), table("filter", "-A FORWARD -m mark --mark 7 -j DROP")),
         udp("p1", "192.0.2.1"), connects=False),
    Case("a policy of ingress",
         (chain("netdev", on("eth0"), "arp operation { request, reply } accept", policy="drop"),),
         udp("p1", "192.0.2.1"), connects=False),
    Case("inet's ingress sees IPv4 and IPv6 before PREROUTING, and no ARP",
         (chain("inet", on("eth0"), "icmpv6 type echo-reply drop", "meta protocol arp drop"),),
         echo("p1", "2001:db8:1::1"), connects=False),
    Case("inet's ingress lets ARP by, whatever its policy",
         (chain("inet", on("eth0"), "meta l4proto udp accept", policy="drop"),), udp("p1", "192.0.2.1"), connects=True),
    Case("where ingress drops ARP, nobody is found",
         (chain("netdev", on("eth0"), "arp operation reply drop"),), udp("p1", "192.0.2.1"), connects=False),
    Case("so it is for neighbour discovery",
         (chain("netdev", on("eth0"), "icmpv6 type nd-neighbor-advert drop"),), udp("p1", "2001:db8:1::1"),
         connects=False),
    Case("a question is for a group",
         (chain("netdev", on("vp1"), "ether daddr ff:ff:ff:ff:ff:ff drop"),), udp("p1", "10.0.1.1"), connects=False),
    Case("a neighbour solicitation is for the group of its address",
         (chain("netdev", on("vp1"), "meta pkttype multicast drop"),), udp("p1", "fd00:1::1"), connects=False),
    # bridge
    Case("between ports",
         (QUIET, chain("bridge", "forward", 'iifname "vp1" oifname "vp2" ip protocol udp drop')),
         udp("p1", "10.0.1.3"), connects=False),
    Case("the other way the names are the others",
         (QUIET, chain("bridge", "forward", 'iifname "vp1" oifname "vp2" udp sport 80 drop')),
         udp("p1", "10.0.1.3"), connects=True),
    Case("up to the bridge is INPUT, not FORWARD",
         (QUIET, chain("bridge", "forward", "ip protocol icmp drop")), echo("p1", "10.0.1.1"), connects=True),
    Case("INPUT drops what is for the bridge",
         (QUIET, chain("bridge", "input", 'iifname "vp1" ip protocol icmp drop')), echo("p1", "192.0.2.1"),
         connects=False),
    Case("what the bridge sends leaves by OUTPUT",
         (QUIET, chain("bridge", "output", 'oifname "vp1" ip protocol icmp drop')), echo("node", "10.0.1.2"),
         connects=False),
    Case("and by POSTROUTING",
         (QUIET, chain("bridge", "postrouting", 'oifname "vp1" icmp type echo-request drop')), echo("node", "10.0.1.2"),
         connects=False),
    Case("a verdict map of MACs",
         (QUIET, chain("bridge", "prerouting", f"ether saddr vmap {{ {P1} : drop, {P2} : accept }}", priority="-300")),
         udp("p1", "10.0.1.3"), connects=False),
    Case("without the right MAC",
         (QUIET, chain("bridge", "prerouting", f"ether saddr vmap {{ {GW} : drop, {P2} : accept }}", priority="-300")),
         udp("p1", "10.0.1.3"), connects=True),
    Case("a mark of the bridge is seen by iptables where bridge netfilter asks it",
         (chain("bridge", "prerouting", "meta mark set 9", priority="-200"),
          table("mangle", "-A FORWARD -m mark --mark 9 -j DROP")),
         udp("p1", "10.0.1.3"), connects=False),
    Case("a chain behind bridge netfilter sees the mark of iptables",
         (chain("bridge", "prerouting", "meta mark 9 drop", priority="200"),
          table("mangle", "-A PREROUTING -p udp -j MARK --set-mark 9")),
         udp("p1", "10.0.1.3"), connects=False),
    Case("a chain before it does not",
         (chain("bridge", "prerouting", "meta mark 9 drop", priority="-200"),
          table("mangle", "-A PREROUTING -p udp -j MARK --set-mark 9")),
         udp("p1", "10.0.1.3"), connects=True),
    Case("a bridge that drops ARP",
         (QUIET, chain("bridge", "forward", "arp operation request drop")), udp("p1", "10.0.1.3"), connects=False),
    Case("a bridge that drops ARP for another address",
         (QUIET, chain("bridge", "forward", "arp daddr ip 10.0.1.9 drop")), udp("p1", "10.0.1.3"), connects=True),
    Case("a new destination MAC leads to another port",
         (QUIET, chain("bridge", "prerouting", f"ip daddr 10.0.1.3 ether daddr set {BR0} meta pkttype set host",
                       priority="-300")),
         udp("p1", "10.0.1.3"), connects=True),
    Case("without the packet's type the bridge takes it up, and IP lets it fall",
         (QUIET, chain("bridge", "prerouting", f"ip daddr 10.0.1.3 ether daddr set {BR0}", priority="-300")),
         udp("p1", "10.0.1.3"), connects=False),
    Case("a policy of a bridge's chain",
         (QUIET, chain("bridge", "forward", "ether type arp accept", policy="drop")), udp("p1", "10.0.1.3"),
         connects=False),
    # arp
    Case("who may not ask finds nobody",
         (chain("arp", "output", "arp daddr ip 10.0.1.1 drop", netns="p1"),), udp("p1", "192.0.2.1"), connects=False),
    Case("who does not hear the question does not answer",
         (chain("arp", "input", 'iifname "br0" arp operation request drop'),), udp("p1", "192.0.2.1"), connects=False),
    Case("who answers may be kept from it",
         (chain("arp", "output", "arp operation reply arp daddr ip 10.0.1.2 drop"),), udp("p1", "192.0.2.1"),
         connects=False),
    Case("an answer from another is dropped",
         (chain("arp", "input", f"arp saddr ether != {BR0} drop", netns="p1"),), udp("p1", "192.0.2.1"), connects=True),
    # ebtables-nft, arptables-nft
    Case("ebtables by MAC",
         (QUIET, tool("ebtables-nft", f"-A FORWARD -i vp1 -s {P1} -j DROP")), udp("p1", "10.0.1.3"), connects=False),
    Case("ebtables with a negation",
         (QUIET, tool("ebtables-nft", f"-A FORWARD -i vp1 -s ! {P1} -j DROP")), udp("p1", "10.0.1.3"), connects=True),
    Case("ebtables by protocol, address and port",
         (QUIET, tool("ebtables-nft", "-A FORWARD -p IPv4 --ip-dst 10.0.1.3 --ip-proto udp --ip-dport 80 -j DROP")),
         udp("p1", "10.0.1.3"), connects=False),
    Case("ebtables by another port",
         (QUIET, tool("ebtables-nft", "-A FORWARD -p IPv4 --ip-proto udp --ip-dport 81:90 -j DROP")),
         udp("p1", "10.0.1.3"), connects=True),
    Case("ebtables of IPv6",
         (QUIET, tool("ebtables-nft", "-A FORWARD -p IPv6 --ip6-src fd00:1::2 --ip6-proto udp -j DROP")),
         udp("p1", "fd00:1::3"), connects=False),
    Case("ebtables of ARP",
         (QUIET, tool("ebtables-nft", "-A FORWARD -p ARP --arp-opcode Request --arp-ip-dst 10.0.1.3 -j DROP")),
         udp("p1", "10.0.1.3"), connects=False),
    Case("a chain of one's own, with a policy of its own",
         (QUIET, tool("ebtables-nft", "-N OWN", "-P OWN DROP", "-A OWN -p ARP -j RETURN",
                      "-A FORWARD -p IPv4 -j OWN")),
         udp("p1", "10.0.1.3"), connects=False),
    Case("ebtables' policy", (QUIET, tool("ebtables-nft", "-P FORWARD DROP")), udp("p1", "10.0.1.3"), connects=False),
    Case("ebtables marks",
         (tool("ebtables-nft", "-A FORWARD -i vp1 -j mark --mark-set 5 --mark-target CONTINUE",
               "-A FORWARD --mark 5 -j DROP"),),
         udp("p1", "10.0.1.3"), connects=False),
    Case("ebtables translates a MAC",
         (QUIET, tool("ebtables-nft", f"-t nat -A PREROUTING -p IPv4 -d {P2} -j dnat --to-destination {BR0}")),
         udp("p1", "10.0.1.3"), connects=True),
    Case("and keeps what is for another",
         (QUIET, tool("ebtables-nft", f"-t nat -A PREROUTING -p IPv4 -d {P2} -j dnat --to-destination {GW}")),
         udp("p1", "10.0.1.3"), connects=False),
    Case("ebtables redirects to the bridge",
         (QUIET, tool("ebtables-nft", "-t nat -A PREROUTING -p IPv4 -j redirect"),
          table("filter", "-A FORWARD -i br0 -o br0 -j DROP")), udp("p1", "10.0.1.3"), connects=False),
    Case("arptables",
         (tool("arptables-nft", "-A INPUT -s 10.0.1.0/24 --opcode 1 -j DROP"),), udp("p1", "192.0.2.1"),
         connects=False),
    Case("arptables with a negation",
         (tool("arptables-nft", "-A INPUT ! -s 10.0.1.2 -i br0 -j DROP"),), udp("p1", "192.0.2.1"), connects=True),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_the_simulator_says_what_the_kernel_does_with_frames(kernel: Kernel, case: Case) -> None:
    examined = compare.examine(kernel, Network(0, SPACES, (*STEPS, *case.steps), SERVERS, (case.call,)))
    assert examined.refused == []
    assert [one.connects for one in examined.observed] == [case.connects]
    ((_, trace, _, said),) = compare.differences(examined)
    assert (said, compare.is_unknown(trace)) == ([], False), "\n".join(compare.told(trace))
