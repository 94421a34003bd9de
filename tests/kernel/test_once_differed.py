"""What the simulator once said otherwise than the kernel, each as small as it can be.

All are on one network: `node` with the pods p1 and p2 behind br0, and `gw` on the wire behind eth0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from tests.kernel.fuzz import compare
from tests.kernel.fuzz.network import Call, Network, Server, Step

if TYPE_CHECKING:
    from tests.kernel.fuzz.compare import Kernel

SPACES = ("node", "p1", "p2", "gw")


def veth(dev: str, mac: int, far: str, far_mac: int) -> str:
    return (
        f"link add {dev} address 02:00:00:00:00:{mac:02x} type veth "
        f"peer name eth0 address 02:00:00:00:00:{far_mac:02x} netns {far}"
    )


STEPS = (
    Step("node", "ip", (
        "link add br0 address 02:00:00:00:00:01 type bridge", "link set br0 up",
        veth("vp1", 0x11, "p1", 0x12), "link set vp1 master br0 up",
        veth("vp2", 0x21, "p2", 0x22), "link set vp2 master br0 up",
        veth("eth0", 0x31, "gw", 0x32), "link set eth0 up",
        "address add 10.0.1.1/24 dev br0", "address add fd00:1::1/64 dev br0 nodad",
        "address add 192.0.2.10/24 dev eth0", "address add 2001:db8:1::a/64 dev eth0 nodad",
    )),
    *(
        Step(pod, "ip", (
            "link set eth0 up", f"address add 10.0.1.{number}/24 dev eth0",
            f"address add fd00:1::{number}/64 dev eth0 nodad",
            "route add default via 10.0.1.1", "route add ::/0 via fd00:1::1",
        ))
        for pod, number in (("p1", 2), ("p2", 3))
    ),
    Step("gw", "ip", (
        "link set eth0 up", "address add 192.0.2.1/24 dev eth0", "address add 2001:db8:1::1/64 dev eth0 nodad",
        "route add default via 192.0.2.10", "route add ::/0 via 2001:db8:1::a",
    )),
    Step("node", "sysctl", ("ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1")),
)  # fmt: skip
SERVERS = (
    *(Server(place, proto, "", 80) for place in SPACES for proto in ("tcp", "udp")),
    Server("node", "tcp", "", 3128, transparent=True),
)


def table(name: str, *rules: str, tool: str = "iptables-legacy", netns: str = "node") -> Step:
    chains = dict.fromkeys(rule.split()[1] for rule in rules)
    own = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
    declared = (f":{chain} {'ACCEPT' if chain in own else '-'} [0:0]" for chain in chains)
    return Step(netns, f"{tool}-restore", (f"*{name}", *declared, *rules, "COMMIT"))


def nft(*lines: str, netns: str = "node") -> Step:
    return Step(netns, "nft", lines)


@dataclass(frozen=True)
class Case:
    """What is built over the network, who calls whom, and whether it gets through on the kernel."""

    what: str
    steps: tuple[Step, ...]
    call: Call
    connects: bool
    hidden: frozenset[str] = field(default_factory=frozenset)


def udp(netns: str, dst: str, **more: object) -> Call:
    return Call(netns, dst, "udp", 80, 20001, **more)  # type: ignore[arg-type]


def tcp(netns: str, dst: str, **more: object) -> Call:
    return Call(netns, dst, "tcp", 80, 20001, **more)  # type: ignore[arg-type]


def echo(netns: str, dst: str, **more: object) -> Call:
    return Call(netns, dst, "icmp", None, 20001, **more)  # type: ignore[arg-type]


SOLICIT, ADVERT = "-p ipv6-icmp -m icmp6 --icmpv6-type 135", "-p ipv6-icmp -m icmp6 --icmpv6-type 136"
STEER = "-p tcp -m tcp --dport 80 -j TPROXY --on-port 3128"
PROXY = tuple(
    Step("node", tool, ("rule add fwmark 0x1/0x1 priority 900 lookup 77", f"route add local {all_} dev lo table 77"))
    for tool, all_ in (("ip", "0.0.0.0/0"), ("ip6", "::/0"))
)
STRICT = Step("node", "sysctl", ("netfilter/nf_conntrack_tcp_loose=0",))
UNTRACKED_SYN = "-A PREROUTING -p tcp -m tcp --syn -j CT --notrack"


def proxy(chain: str, *more: str, tool: str = "iptables-legacy", state: str = "INVALID,UNTRACKED") -> tuple[Step, ...]:
    """SYNPROXY as its manual sets it up, but for a strict conntrack."""
    answer = (
        f"-A {chain} -p tcp -m conntrack --ctstate {state} -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460"
    )
    return (table("raw", UNTRACKED_SYN, tool=tool), table("filter", answer, *more, tool=tool))


def native_proxy(chain: str) -> Step:
    return nft(
        "table inet t {",
        "chain raw { type filter hook prerouting priority raw;", "tcp flags & (syn|ack) == syn notrack", "}",
        f"chain answer {{ type filter hook {chain} priority filter;",
        "meta l4proto tcp ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm", "}", "}",
    )  # fmt: skip


CASES = (
    Case("who asks for an address is known to the one asked, who need not ask back",
         (table("filter", f"-A INPUT {SOLICIT} -j DROP", tool="ip6tables-legacy", netns="p1"),),
         udp("p1", "fd00:1::1"), connects=True),
    Case("a bridge port that neither learns nor floods gets no answer to ARP",
         (Step("node", "ip", ("link set br0 type bridge ageing_time 0",)),
          Step("node", "bridge", ("link set dev vp1 learning off flood off",)),
          Step("node", "ip", ("link set br0 type bridge fdb_flush",))),
         udp("p1", "10.0.1.1"), connects=False),
    Case("an answer that its zone makes a connection of its own clashes with the one that it belongs to",
         (table("raw", "-A PREROUTING -s 10.0.1.2/32 -j CT --zone-reply 7"),
          table("nat", "-A POSTROUTING -s 10.99.0.0/16 -j MASQUERADE"),
          table("filter", "-A INPUT -p udp", netns="p1")),
         udp("p1", "192.0.2.1"), connects=False),
    Case("an answer is looked up in the zone that the connection has for answers only",
         (table("raw", "-A PREROUTING -s 10.0.1.2/32 -j CT --zone-reply 7"),
          table("nat", "-A POSTROUTING -s 10.0.1.2/32 -j MASQUERADE")),
         udp("p1", "192.0.2.1"), connects=False),
    Case("a SYN carries the window scale option, later segments do not",
         (table("filter", "-A FORWARD -p tcp -m tcp ! --tcp-option 3 -j DROP"),),
         tcp("p1", "192.0.2.1"), connects=False),
    Case("the client's own socket is one that -m socket finds",
         (table("filter", "-A INPUT -p udp -m socket -j DROP"),), udp("node", "10.0.1.2"), connects=False),
    Case("every chain of OUTPUT sees the device of the first route, whatever nat changed",
         (table("nat", "-A OUTPUT -p udp -j REDIRECT"), table("filter", "-A OUTPUT ! -o eth0 -j DROP")),
         udp("node", "192.0.2.99"), connects=False),
    Case("a nat table in which nothing asks for connections is not asked",
         (table("nat", "-A PREROUTING -j MARK --set-mark 0x1"),
          table("filter", "-A FORWARD -m mark --mark 0x1 -j DROP")),
         udp("p1", "192.0.2.1"), connects=True),
    Case("an IPv6 socket keeps the route that it found without a source",
         (Step("node", "ip6", ("rule add from 2001:db8:1::a priority 1000 blackhole",)),),
         tcp("node", "2001:db8:1::1"), connects=True),
    Case("an echo request over IPv6 is routed with its source",
         (Step("node", "ip6", ("rule add from 2001:db8:1::a priority 1000 blackhole",)),),
         echo("node", "2001:db8:1::1"), connects=False),
    Case("a server's datagram from any address is routed without a source",
         (Step("node", "ip", ("rule add from 192.0.2.10 priority 1000 blackhole",)),),
         udp("gw", "192.0.2.10"), connects=True),
    Case("of IPv6 addresses a local one is UNICAST too",
         (table("filter", "-A INPUT -p udp -m addrtype --dst-type UNICAST -j DROP", tool="ip6tables-legacy"),),
         udp("p1", "fd00:1::1"), connects=False),
    Case("neighbour discovery with another hop limit is ignored",
         (table("mangle", f"-A OUTPUT {SOLICIT} -j HL --hl-set 64", tool="ip6tables-legacy"),),
         udp("node", "fd00:1::2"), connects=False),
    Case("discovery towards the outside passes this end's rules",
         (table("filter", f"-A INPUT {ADVERT} -j DROP", tool="ip6tables-legacy"),),
         udp("node", "2001:db8:1::1"), connects=False, hidden=frozenset({"gw"})),
    Case("a device group is printed by its name",
         (table("filter", "-A INPUT -p udp -m devgroup --src-group 0x0 -j DROP"),),
         udp("p1", "10.0.1.1"), connects=False),
    Case("REDIRECT of a global destination may become a link-local address",
         (Step("node", "ip", ("address del fd00:1::1/64 dev br0", "route add fd00:1::/64 dev br0")),
          Step("p1", "ip", ("route replace ::/0 via fe80::ff:fe00:1 dev eth0",)),
          table("nat", "-A PREROUTING -p tcp -j REDIRECT", tool="ip6tables-legacy")),
         tcp("p1", "2001:db8:1::1"), connects=True),
    Case("an address of a range is chosen by a hash over what was written of it so far",
         (table("nat", "-A PREROUTING -p udp -j DNAT --to-destination fd00:1::1-fd00:1::3", tool="ip6tables-legacy"),
          table("nat", "-A POSTROUTING -j MASQUERADE", tool="ip6tables-nft")),
         udp("gw", "fd00:1::99"), connects=True),
    Case("an echo request's identifier is picked at random with --random, for destinations too",
         (table("nat", "-A PREROUTING -j DNAT --to-destination fd00:1::2 --random", tool="ip6tables-legacy"),),
         echo("gw", "2001:db8:1::a"), connects=True),
    Case("UDP is not assured in its first two seconds",
         (table("filter", "-A INPUT -m conntrack --ctstatus ASSURED -j DROP"),), udp("p1", "10.0.1.1"), connects=True),
    Case("an echo reply has the type of service of its request",
         (table("filter", "-A OUTPUT -p icmp -m icmp --icmp-type 0 -m dscp --dscp 0x0a -j DROP"),),
         echo("p1", "10.0.1.1", tos=0x28), connects=False),
    Case("the security table of iptables-nft comes behind the source translation of INPUT",
         (table("nat", "-A INPUT -p udp -j SNAT --to-source 10.0.1.77", tool="iptables-nft"),
          table("security", "-A INPUT -s 10.0.1.77/32 -j DROP", tool="iptables-nft")),
         udp("p1", "10.0.1.1"), connects=False),
    Case("that of iptables-legacy comes before it",
         (table("nat", "-A INPUT -p udp -j SNAT --to-source 10.0.1.77"),
          table("security", "-A INPUT -s 10.0.1.77/32 -j DROP")),
         udp("p1", "10.0.1.1"), connects=True),
    Case("a verdict map ends the rule that it stands in",
         (nft("table inet t {", "chain in { type filter hook input priority 5;",
              "ct state vmap { established : drop } meta mark 0x7 counter accept", "}", "}"),),
         udp("p1", "10.0.1.1"), connects=False),
    Case("a TCP option is missing in what is no TCP",
         (nft("table inet t {", "chain in { type filter hook input priority 5;",
              "tcp option timestamp missing counter drop", "}", "}"),),
         echo("p1", "10.0.1.1"), connects=False),
    Case("an echo reply over IPv6 is routed as if it left by where the request came in",
         (Step("node", "ip6", ("rule add oif br0 priority 1000 blackhole",)),),
         echo("p1", "fd00:1::1"), connects=False),
    Case("a sender without a route is given a source, and looks for a route again",
         (Step("node", "ip6", ("rule add not from 2001:db8:1::a priority 1000 prohibit",)),),
         udp("node", "2001:db8:1::1"), connects=True),
    Case("a packet without an entry is asked for its state only",
         (table("raw", "-A OUTPUT -p udp -m conntrack --ctstate INVALID ! --ctorigsrc 203.0.113.2/32 -j DROP"),),
         udp("node", "10.0.1.2"), connects=False),
    Case("rpfilter lets through what came in by loopback",
         (table("mangle", "-A PREROUTING -p udp -m rpfilter --invert -j DROP"),),
         udp("node", "10.0.1.1"), connects=True),
    Case("an echo reply has a socket, which is no process's",
         (table("filter", "-A OUTPUT -p icmp -m owner --socket-exists -j DROP"),),
         echo("p1", "10.0.1.1"), connects=False),
    Case("what is forwarded has the device that it came in by in postrouting too",
         (nft("table inet t {", "chain post { type filter hook postrouting priority 5;",
              'iifname "br0" counter drop', "}", "}"),),
         udp("p1", "192.0.2.1"), connects=False),
    Case("a native dnat in a table of IPv6 is to an IPv6 address",
         (nft("table ip6 t {", "chain out { type nat hook output priority -100;",
              "meta l4proto udp dnat to fd00:1::2", "}", "}"),),
         udp("node", "fd00:1::99"), connects=True),
    Case("a packet without extension headers has none of those that are denied",
         (table("filter", "-A INPUT -p udp -m ipv6header ! --header frag --soft -j DROP", tool="ip6tables-legacy"),),
         udp("p1", "fd00:1::1"), connects=False),
    Case("a connection whose source is still to be translated is not found among the sockets",
         (table("nat", "-A INPUT -p tcp -j SNAT --to-source 10.0.1.77"),
          table("filter", "-A INPUT -p tcp -m socket -j DROP")),
         tcp("p1", "10.0.1.1"), connects=True),
    Case("neighbour discovery has a socket, which is no process's",
         (table("filter", "-A OUTPUT -p ipv6-icmp -m owner ! --socket-exists -j DROP", tool="ip6tables-legacy"),),
         udp("node", "fd00:1::2"), connects=True),
    Case("neighbour discovery asks for a route where mangle changed it",
         (Step("node", "ip6", ("rule add iif lo priority 1000 prohibit",)),
          table("mangle", "-A OUTPUT -p ipv6-icmp -j TOS --set-tos 0x10", tool="ip6tables-legacy")),
         udp("p1", "fd00:1::3", src="fd00:1::2"), connects=True),
    Case("and gets lost where there is none",
         (Step("node", "ip6", ("rule add iif lo priority 1000 prohibit",)),
          table("mangle", "-A OUTPUT -p ipv6-icmp -j TOS --set-tos 0x10", tool="ip6tables-legacy")),
         udp("p1", "2001:db8:1::1"), connects=False),
    Case("what was cut in pieces is cut no wider by who puts it together",
         (Step("p1", "ip", ("link set eth0 mtu 1280",)), Step("p2", "ip", ("link set eth0 mtu 1280",)),
          table("nat", "-A PREROUTING -p icmp -j DNAT --to-destination 10.0.1.3",
                "-A POSTROUTING -p icmp -j MASQUERADE")),
         echo("p1", "192.0.2.1", payload=1380), connects=True),
    Case("the copy for a gateway that is not there changes nothing",
         (table("mangle", "-A PREROUTING -p udp -j TEE --gateway 192.0.2.99"),),
         udp("p1", "192.0.2.1"), connects=True),
    Case("no more does that of a native dup",
         (nft("table ip t {", "chain pre { type filter hook prerouting priority -150;",
              "udp dport 80 dup to 192.0.2.99", "}", "}"),),
         udp("p1", "192.0.2.1"), connects=True),
    Case("the copy of a packet of IPv6 goes to its gateway too",
         (table("mangle", "-A PREROUTING -p udp -j TEE --gateway 2001:db8:1::99", tool="ip6tables-legacy"),
          table("nat", "-A POSTROUTING -o eth0 -j MASQUERADE", tool="ip6tables-legacy")),
         udp("p1", "2001:db8:1::1"), connects=True),
    Case("to iptables, a frame from port to port seems to be for this host",
         (table("mangle", "-A FORWARD -m pkttype ! --pkt-type unicast -j DROP"),), udp("p1", "10.0.1.3"),
         connects=True),
    Case("whoever sends from outside has asked before, and need not be asked for",
         (table("filter", f"-A OUTPUT {SOLICIT} -j DROP", tool="ip6tables-legacy"),),
         udp("gw", "2001:db8:1::a", src="2001:db8:1::1"), connects=True, hidden=frozenset({"gw"})),
    Case("a solicitation bears the oldest of several link-local addresses",
         (Step("node", "ip", ("address add fe80::1/64 dev eth0 nodad",)),
          Step("gw", "ip6", ("route add fd00:9::/64 via fe80::1 dev eth0",)),
          Step("node", "ip", ("address add fd00:9::1/64 dev br0 nodad",)),
          table("filter", f"-A INPUT {SOLICIT} -j DROP", tool="ip6tables-legacy")),
         udp("node", "2001:db8:1::1", src="fd00:9::1"), connects=False),
    Case("a link-local address is looked up on the wire that it came by only",
         (nft("table inet t {", "chain pre { type filter hook prerouting priority 1;",
              "meta nfproto ipv6 fib saddr . iif oif missing drop", "}", "}"),),
         echo("p1", "2001:db8:1::1"), connects=True),
    Case("NOTRACK does nothing to a packet that CT has given a zone",
         (table("raw", "-A PREROUTING -s 10.0.1.2/32 -j CT --zone 6", "-A PREROUTING -s 10.0.1.2/32 -j NOTRACK"),
          table("nat", "-A PREROUTING -d 10.96.0.1/32 -p udp -j DNAT --to-destination 10.0.1.3"),
          table("filter", "-A FORWARD -m conntrack --ctstate UNTRACKED -j DROP")),
         udp("p1", "192.0.2.1"), connects=True),
    Case("a station outside ignores a solicitation with another hop limit",
         (table("mangle", f"-A POSTROUTING {SOLICIT} -j HL --hl-dec 1", tool="ip6tables-legacy"),),
         udp("node", "2001:db8:1::1"), connects=False, hidden=frozenset({"gw"})),
    Case("TPROXY gives a packet to a transparent socket, whose answers bear the address that was called",
         (*PROXY, table("mangle", f"-A PREROUTING {STEER} --tproxy-mark 0x1/0x1")),
         tcp("gw", "203.0.113.9"), connects=True),
    Case("so it does over IPv6",
         (*PROXY, table("mangle", f"-A PREROUTING {STEER} --tproxy-mark 0x1/0x1", tool="ip6tables-legacy")),
         tcp("gw", "2001:db8:ffff::9"), connects=True),
    Case("TPROXY drops what no transparent socket takes",
         (*PROXY, table("mangle", f"-A PREROUTING {STEER.replace('3128', '80')} --tproxy-mark 0x1/0x1")),
         tcp("p1", "192.0.2.1"), connects=False),
    Case("what TPROXY gave to a socket is not forwarded",
         (*PROXY, table("mangle", f"-A PREROUTING {STEER}")), tcp("gw", "10.0.1.2"), connects=False),
    Case("what it gave to a socket while bridge netfilter asked has none any more when it is received",
         (*PROXY, table("mangle", f"-A PREROUTING {STEER}")), tcp("p1", "192.0.2.1"), connects=True),
    Case("a connection that TPROXY made goes on by its own socket",
         (*PROXY, table("mangle", "-A PREROUTING -p tcp -m socket --transparent -j MARK --set-mark 0x1",
                        f"-A PREROUTING {STEER.replace('--dport', '--syn --dport')} --tproxy-mark 0x1/0x1")),
         tcp("gw", "203.0.113.9"), connects=True),
    Case("without that, only its first packet gets there",
         (*PROXY, table("mangle", f"-A PREROUTING {STEER.replace('--dport', '--syn --dport')} --tproxy-mark 0x1/0x1")),
         tcp("gw", "203.0.113.9"), connects=False),
    Case("a native tproxy does the same, and its rule goes on",
         (*PROXY, nft("table inet t {", "chain pre { type filter hook prerouting priority mangle;",
                      "meta nfproto ipv4 tcp dport 80 tproxy ip to :3128 meta mark set 1 accept", "}", "}")),
         tcp("gw", "203.0.113.9"), connects=True),
    Case("a native tproxy without such a socket ends its rule",
         (*PROXY, nft("table inet t {", "chain pre { type filter hook prerouting priority mangle;",
                      "meta nfproto ipv4 tcp dport 80 tproxy ip to :80 drop", "}", "}")),
         tcp("p1", "192.0.2.1"), connects=True),
    Case("SYNPROXY opens a connection for a client that proved itself",
         (STRICT, *proxy("FORWARD")), tcp("gw", "10.0.1.2"), connects=True),
    Case("so it does before a process of its own host",
         (STRICT, *proxy("INPUT")), tcp("p1", "10.0.1.1"), connects=True),
    Case("and over IPv6", (STRICT, *proxy("FORWARD", tool="ip6tables-legacy")), tcp("gw", "fd00:1::2"), connects=True),
    Case("and natively", (STRICT, native_proxy("forward")), tcp("gw", "10.0.1.2"), connects=True),
    Case("and natively over IPv6, before a process", (STRICT, native_proxy("input")), tcp("gw", "fd00:1::1"),
         connects=True),
    Case("and by the other backend, where its SYN is translated",
         (STRICT, *proxy("FORWARD", tool="iptables-nft"),
          table("nat", "-A POSTROUTING -d 10.0.1.0/24 -j MASQUERADE", tool="iptables-nft")),
         tcp("gw", "10.0.1.2"), connects=True),
    Case("a client's ACK that conntrack picks up does not come to SYNPROXY",
         proxy("FORWARD"), tcp("gw", "10.0.1.2"), connects=False),
    Case("nor does one that a rule drops before",
         (STRICT, table("mangle", "-A FORWARD -m conntrack --ctstate INVALID -j DROP"), *proxy("FORWARD")),
         tcp("gw", "10.0.1.2"), connects=False),
    Case("SYNPROXY's own SYN+ACK passes OUTPUT, and belongs to no connection",
         (STRICT, *proxy("FORWARD", "-A OUTPUT -m conntrack --ctstate INVALID -j DROP")), tcp("gw", "10.0.1.2"),
         connects=False),
    Case("its SYN to the server passes OUTPUT as a new connection",
         (STRICT, *proxy("FORWARD", "-A OUTPUT -p tcp -m conntrack --ctstate NEW -j DROP")), tcp("gw", "10.0.1.2"),
         connects=False),
    Case("a SYN that is tracked is proxied too",
         (STRICT, *proxy("FORWARD", state="NEW,INVALID")[1:]), tcp("gw", "10.0.1.2"), connects=True),
    Case("a rule that takes every ACK takes the data too",
         (STRICT, *proxy("FORWARD", state="NEW,INVALID,UNTRACKED,ESTABLISHED")), tcp("gw", "10.0.1.2"), connects=False),
    Case("a server that nobody runs behind SYNPROXY",
         (STRICT, *proxy("FORWARD")), replace(tcp("gw", "10.0.1.2"), dport=81), connects=False),
    Case("a VXLAN whose other end is behind the VXLAN itself carries nothing",
         (Step("node", "ip", (
             "link add vx0 type vxlan id 7 remote 198.51.100.9 local 192.0.2.10 dstport 4789", "link set vx0 up",
             "address add 10.9.0.1/24 dev vx0", "neigh add 10.9.0.9 lladdr 02:00:00:00:00:99 dev vx0",
             "route add 198.51.100.9 dev vx0")),),
         udp("node", "10.9.0.9"), connects=False),
    Case("of a hash:net,iface the smallest network that holds the address is asked alone",
         (Step("node", "ipset", ("create s hash:net,iface", "add s 10.0.1.2/32,eth0", "add s 10.0.1.0/24,br0")),
          table("filter", "-A INPUT -m set --match-set s src,src -j DROP")),
         udp("p1", "10.0.1.1"), connects=True),
    Case("another address of the network is looked for in it",
         (Step("node", "ipset", ("create s hash:net,iface", "add s 10.0.1.9/32,eth0", "add s 10.0.1.0/24,br0")),
          table("filter", "-A INPUT -m set --match-set s src,src -j DROP")),
         udp("p1", "10.0.1.1"), connects=False),
    Case("a port that the kernel picked is in no set that has nothing for its address",
         (Step("node", "ipset", ("create s hash:ip,port", "add s 10.0.1.9,udp:1024-1030")),
          table("nat", "-A POSTROUTING -d 10.0.1.2/32 -j MASQUERADE --random"),
          table("filter", "-A INPUT -p udp -m set ! --match-set s src,dst -j DROP")),
         udp("node", "10.0.1.2"), connects=False),
    Case("a translation of IPv6 in a table of both families has no IPv4 tracked",
         (nft("table inet t {", "chain pre { type nat hook prerouting priority dstnat;",
              "meta l4proto udp dnat ip6 to fd00:1::3", "}", "chain post { type nat hook postrouting priority srcnat;",
              "meta l4proto udp drop", "}", "}"),),
         udp("p1", "192.0.2.1"), connects=True),
    Case("an advertisement that mangle changes is routed, and one that a gateway forwards is ignored",
         (Step("gw", "ip", ("address add 2001:db8:1::5/128 dev eth0 nodad",)),
          Step("node", "ip6", ("rule add iif lo priority 1000 lookup 100",
                               "route add default via 2001:db8:1::5 table 100")),
          table("mangle", "-A OUTPUT -j DSCP --set-dscp 0x2e", tool="ip6tables-legacy")),
         udp("gw", "2001:db8:1::a"), connects=True),
    Case("but not one that comes from another gateway",
         (Step("node", "ip6", ("rule add iif lo priority 1000 lookup 100",
                               "route add default via fd00:1::3 table 100")),
          Step("p2", "sysctl", ("ipv6/conf/all/forwarding=1",)),
          table("mangle", "-A OUTPUT -j DSCP --set-dscp 0x2e", tool="ip6tables-legacy")),
         udp("p1", "fd00:1::1"), connects=False),
    Case("who pings does not notice that another host answers the second request",
         (Step("node", "ip", ("address add 203.0.113.9/32 dev lo",)),
          Step("gw", "ip", ("address add 203.0.113.9/32 dev lo",)),
          Step("node", "ip", ("rule del priority 0", "rule add priority 10 fwmark 0x1 lookup local",
                              "rule add priority 11 to 203.0.113.9 lookup 77", "rule add priority 12 lookup local",
                              "route add 203.0.113.9 via 192.0.2.1 table 77")),
          table("nat", "-A PREROUTING -d 203.0.113.9/32 -j MARK --set-mark 0x1",
                "-A POSTROUTING -s 10.9.9.9/32 -j MASQUERADE")),
         echo("p1", "203.0.113.9"), connects=True),
    Case("a destination that is translated behind TPROXY hides the connection from it",
         (*PROXY, table("mangle", f"-A PREROUTING {STEER} --tproxy-mark 0x1/0x1"),
          table("nat", "-A PREROUTING -d 203.0.113.9/32 -j DNAT --to-destination 10.0.1.2")),
         tcp("gw", "203.0.113.9"), connects=False),
    Case("what comes from outside is not led to ::1",
         (table("nat", "-A PREROUTING -d fd00:1::1/128 -p udp -j DNAT --to-destination ::1", tool="ip6tables-legacy"),),
         udp("p1", "fd00:1::1"), connects=False),
    Case("an answer is not steered away from the client that waits for it",
         (*PROXY, table("mangle", "-A PREROUTING -p tcp -j TPROXY --on-port 3128 --tproxy-mark 0x1/0x1")),
         tcp("node", "192.0.2.1"), connects=False),
    Case("a native tproxy lets it go on",
         (*PROXY, nft("table inet t {", "chain pre { type filter hook prerouting priority mangle;",
                      "meta nfproto ipv4 meta l4proto tcp tproxy ip to :3128 drop", "}", "}")),
         tcp("node", "192.0.2.1"), connects=True),
    Case("a header that is changed after conntrack summed up fragments of UDP over IPv6 makes the checksum fail",
         (Step("p1", "ip", ("link set eth0 mtu 1400",)),
          table("mangle", "-A INPUT -p udp -j TOS --or-tos 0x08", tool="ip6tables-legacy"),
          table("filter", "-A FORWARD -m conntrack --ctstate INVALID", tool="ip6tables-legacy")),
         udp("p1", "fd00:1::1", payload=1380), connects=False),
    Case("without conntrack it does not",
         (Step("node", "ip", ("link set br0 mtu 1400",)), Step("p1", "ip", ("link set eth0 mtu 1400",)),
          table("mangle", "-A INPUT -p udp -j TOS --or-tos 0x08", tool="ip6tables-legacy")),
         udp("p1", "fd00:1::1", payload=1380), connects=True),
    Case("a packet that CT has prepared seems new until it is tracked",
         (table("raw", "-A OUTPUT -p udp -j CT --zone-reply 7", "-A OUTPUT -m conntrack --ctstate NEW -j DROP"),),
         udp("p1", "10.0.1.1"), connects=False),
    *(Case(f"what no process sent is root's in routing ({call.dst})",
           tuple(Step("node", tool, ("rule add uidrange 0-0 priority 1000 blackhole",)) for tool in ("ip", "ip6")),
           call, connects=False)
      for call in (
          echo("p1", "10.0.1.1"), echo("p1", "fd00:1::1"), udp("p1", "192.0.2.1"), udp("p1", "2001:db8:1::1"))),
    *(Case(f"a look at the way back is root's, and {what}",
           (Step("node", tool, (f"rule add {rule} priority 1000 blackhole",
                                "rule add iif eth0 priority 900 lookup main",
                                f"rule add to {dst} priority 900 lookup main")), *steps),
           udp("p1", dst), connects=False)
      for what, rule, tool, dst, steps in (
          ("rp_filter's too", "uidrange 0-0", "ip", "192.0.2.1",
           (Step("node", "sysctl", ("ipv4/conf/all/rp_filter=1",)),)),
          ("rpfilter's too", "uidrange 0-0", "ip", "192.0.2.1",
           (table("raw", "-A PREROUTING -i br0 -m rpfilter --invert -j DROP"),)),
          ("rpfilter's with the protocol in IPv6", "ipproto udp", "ip6", "2001:db8:1::1",
           (table("raw", "-A PREROUTING -i br0 -m rpfilter --invert -j DROP", tool="ip6tables-legacy"),)),
          ("fib's too", "uidrange 0-0", "ip", "192.0.2.1",
           (nft("table ip t {", "chain c { type filter hook prerouting priority raw;",
                "iifname br0 ip protocol udp fib saddr . iif oif missing drop", "}", "}"),)),
          ("fib's with the protocol", "ipproto udp", "ip", "192.0.2.1",
           (nft("table ip t {", "chain c { type filter hook prerouting priority raw;",
                "iifname br0 ip protocol udp fib saddr . iif oif missing drop", "}", "}"),)))),
    Case("the kernel's answer to an echo request over IPv6 is not routed by its traffic class",
         (Step("node", "ip6", ("rule add tos 0x10 priority 1000 blackhole",)),),
         echo("p1", "2001:db8:1::a", tos=16), connects=True),
    Case("over IPv4 it is routed by its type of service",
         (Step("node", "ip", ("rule add tos 0x10 priority 1000 blackhole",)),),
         echo("p1", "192.0.2.10", tos=16), connects=False),
    Case("the hop limit of all interfaces is that of none",
         (Step("node", "sysctl", ("ipv6/conf/all/hop_limit=1",)),), udp("p1", "fd00:1::1"), connects=True),
    Case("packets are sent with the hop limit of the device that they leave by",
         (Step("node", "sysctl", ("ipv6/conf/eth0/hop_limit=99",)),
          table("filter", "-A OUTPUT -m hl --hl-eq 99 -j DROP", tool="ip6tables-legacy")),
         udp("node", "2001:db8:1::1"), connects=False),
    *(Case(f"a hop limit of the route goes before ({dst})",
           (Step("node", "ip", (f"route replace {dst} dev eth0 hoplimit 98",)), table("mangle", rule, tool=tool)),
           udp("node", dst), connects=False)
      for dst, rule, tool in (
          ("2001:db8:1::1", "-A POSTROUTING -m hl --hl-eq 98 -j DROP", "ip6tables-legacy"),
          ("192.0.2.1", "-A POSTROUTING -m ttl --ttl-eq 98 -j DROP", "iptables-legacy"))),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_the_simulator_says_what_the_kernel_does(kernel: Kernel, case: Case) -> None:
    uplinks = dict.fromkeys(case.hidden, "eth0")
    network = Network(
        0, SPACES, (*STEPS, *case.steps), SERVERS, (case.call,), hidden=case.hidden, uplinks=uplinks,
    )  # fmt: skip
    examined = compare.examine(kernel, network)
    assert examined.refused == []
    assert [one.connects for one in examined.observed] == [case.connects]
    ((_, trace, _, said),) = compare.differences(examined)
    assert (said, compare.is_unknown(trace)) == ([], False), "\n".join(compare.told(trace))


def test_a_network_without_what_decides_gets_through(kernel: Kernel) -> None:
    """So that none of the cases fails for another reason."""
    plain = (case.call for case in CASES if not case.hidden and case.call.src is None and case.call.dport != 81)
    calls = [replace(call, tos=0) for call in plain if not call.dst.endswith("9")]  # nobody has that
    examined = compare.examine(kernel, Network(0, SPACES, STEPS, SERVERS, tuple(dict.fromkeys(calls))))
    assert all(one.connects for one in examined.observed)


def test_a_copy_that_arrives_too_races_with_the_packet(kernel: Kernel) -> None:
    step = table("mangle", "-A PREROUTING -p udp -j TEE --gateway 192.0.2.1")
    examined = compare.examine(kernel, Network(0, SPACES, (*STEPS, step), SERVERS, (udp("p1", "192.0.2.1"),)))
    ((_, trace, _, _),) = compare.differences(examined)
    assert compare.is_unknown(trace)
    assert compare.undecided(trace) == ["a copy that TEE makes in host, and that is delivered in gw, is not modelled"]


def test_a_connlimit_that_sees_data_only_may_drop_what_it_does_not_count(kernel: Kernel) -> None:
    """Since Linux 6.18 the second of two connections dies, since the first is over and the rule counts none."""
    rule = "-A INPUT -p tcp -m tcp --tcp-flags PSH PSH -m connlimit --connlimit-above 50 --connlimit-mask 0 -j REJECT"
    calls = tuple(replace(tcp("p1", "10.0.1.1"), sport=sport) for sport in (20001, 20002))
    examined = compare.examine(kernel, Network(0, SPACES, (*STEPS, table("filter", rule)), SERVERS, calls))
    told = [compare.undecided(trace) for _, trace, _, _ in compare.differences(examined)]
    assert all("connlimit of a connection that was not counted is not modelled" in said[0] for said in told)
    assert examined.observed[0].connects
