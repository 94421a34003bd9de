"""Thinks up networks: a container host with bridges, pods of several kinds, uplinks, a second host, a way out.

Knows nothing of rulesets. Every choice comes from the random generator that it is given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.kernel.fuzz.network import Server, Step

if TYPE_CHECKING:
    import random

V4, V6 = 4, 6
NET = {
    "br0": ("10.0.1", "fd00:1:"),
    "br1": ("10.0.2", "fd00:2:"),
    "lan": ("192.0.2", "2001:db8:1:"),
    "wan2": ("198.51.100", "2001:db8:2:"),
    "far": ("10.0.9", "fd00:9:"),
    "routed": ("10.0.3", "fd00:3:"),
}
INTERNET = {V4: ("203.0.113.1", "203.0.113.2"), V6: ("2001:db8:ffff::1", "2001:db8:ffff::2")}
VIPS = {V4: ("10.96.0.10", "10.96.0.11", "10.96.0.12"), V6: ("fd00:96::a", "fd00:96::b", "fd00:96::c")}
NOBODY = {V4: ("10.0.1.99", "192.0.2.99", "172.16.9.9"), V6: ("fd00:1::99", "2001:db8:1::99", "fd77::1")}
PORTS = (53, 80, 443, 8080)
CLOSED = 9
PROXY = 3128


def address(net: str, host: int, family: int) -> str:
    """Return a host's address in one of the networks."""
    four, six = NET[net]
    return f"{four}.{host}" if family == V4 else f"{six}:{host:x}"


@dataclass
class Space:
    """A namespace, with what rules and flows aim at."""

    name: str
    devices: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)  # bridge ports
    addresses: list[tuple[str, str]] = field(default_factory=list)  # address, device
    macs: dict[str, str] = field(default_factory=dict)
    proxied: bool = False  # a transparent proxy listens there
    guarded: bool = False  # the kernel shakes hands before servers do


@dataclass
class Plan:
    """A network that is being thought up."""

    rng: random.Random
    spaces: dict[str, Space] = field(default_factory=dict)
    lines: list[tuple[str, str, str]] = field(default_factory=list)  # namespace, tool, line
    servers: list[Server] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)
    uplinks: dict[str, str] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    six: bool = True

    @property
    def families(self) -> tuple[int, ...]:
        return (V4, V6) if self.six else (V4,)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def space(self, name: str) -> Space:
        return self.spaces.setdefault(name, Space(name))

    def do(self, netns: str, tool: str, line: str) -> None:
        self.lines.append((netns, tool, line))

    def set(self, netns: str, *assignments: str) -> None:
        for one in assignments:
            self.do(netns, "sysctl", one)

    def veth(self, near: str, dev: str, far: str, far_dev: str) -> None:
        """A pair of devices, both up, with MACs of their own."""
        macs = [
            f"02:{self.rng.randrange(256):02x}:{index:02x}:00:{len(self.lines) & 255:02x}:{index + 1:02x}"
            for index in (0, 1)
        ]
        self.do(
            near, "ip", f"link add {dev} address {macs[0]} type veth peer name {far_dev} address {macs[1]} netns {far}"
        )
        for netns, name, mac in ((near, dev, macs[0]), (far, far_dev, macs[1])):
            self.space(netns).devices.append(name)
            self.space(netns).macs[name] = mac
            self.do(netns, "ip", f"link set {name} up")

    def assign(self, netns: str, dev: str, value: str, length: int) -> None:
        """An address on a device."""
        nodad = " nodad" if ":" in value else ""
        self.do(netns, "ip", f"address add {value}/{length} dev {dev}{nodad}")
        self.space(netns).addresses.append((value, dev))

    def route(self, netns: str, words: str) -> None:
        self.do(netns, "ip6" if ":" in words else "ip", f"route add {words}")

    def steps(self) -> list[Step]:
        """Return the lines as steps; neighbours with the same namespace and tool are one."""
        steps: list[Step] = []
        for netns, tool, line in self.lines:
            if steps and (steps[-1].netns, steps[-1].tool) == (netns, tool):
                steps[-1] = Step(netns, tool, (*steps[-1].lines, line))
            else:
                steps.append(Step(netns, tool, (line,)))
        return steps


def plan(rng: random.Random) -> Plan:
    """Think up a network around the namespace `node`."""
    made = Plan(rng, six=rng.random() < 0.75)
    made.space("node").devices.append("lo")
    _bridge(made, "br0", rng.choice((1, 2, 2, 3)))
    if made.chance(0.35):
        _bridge(made, "br1", 1)
    if made.chance(0.25):
        _routed_pod(made)
    _outside(made)
    if made.chance(0.4):
        _second_uplink(made)
    if made.chance(0.2):
        _macvlan(made)
    _settings(made)
    _policy_routing(made)
    _odd_routes(made)
    _listen(made)
    _proxy(made)
    _guard(made)
    return made


def _default(netns: str, gateways: dict[int, str], made: Plan, dev: str = "eth0") -> None:
    for family in made.families:
        made.route(netns, f"default via {gateways[family]} dev {dev}")


def _bridge(made: Plan, name: str, pods: int) -> None:
    made.do("node", "ip", f"link add {name} address 02:00:00:00:{len(name):02x}:{int(name[-1]):02x} type bridge")
    made.do("node", "ip", f"link set {name} up")
    made.space("node").devices.append(name)
    made.space("node").macs[name] = f"02:00:00:00:{len(name):02x}:{int(name[-1]):02x}"
    for family in made.families:
        made.assign("node", name, address(name, 1, family), 24 if family == V4 else 64)
    if made.chance(0.15):
        made.assign("node", name, address(name, 250, V4), 24)
    for number in range(pods):
        pod = f"{'pqr'[int(name[-1])]}{number + 1}"
        port = f"v{pod}"
        made.veth("node", port, pod, "eth0")
        made.space("node").devices.remove(port)
        made.space("node").ports.append(port)
        made.do("node", "ip", f"link set {port} master {name}")
        if made.chance(0.5):
            made.do("node", "bridge", f"link set dev {port} hairpin on")
        if made.chance(0.08):
            made.do("node", "bridge", f"link set dev {port} isolated on")
        for family in made.families:
            length = 24 if family == V4 else 64
            made.assign(pod, "eth0", address(name, number + 2, family), length)
        if made.chance(0.96):
            _default(pod, {family: address(name, 1, family) for family in made.families}, made)
        if made.chance(0.15):
            made.do(pod, "ip", f"link set eth0 mtu {made.rng.choice((1280, 1400))}")
    if made.chance(0.05):
        made.do("node", "bridge", f"link set dev {made.space('node').ports[-1]} learning off flood off")


def _routed_pod(made: Plan) -> None:
    """A pod behind a veth without a bridge, its gateway a proxy, as Calico has it."""
    made.labels.add("routed pod")
    made.veth("node", "cali1", "c1", "eth0")
    made.assign("c1", "eth0", address("routed", 2, V4), 32)
    made.do("c1", "ip", "route add 169.254.1.1 dev eth0 scope link")
    made.do("c1", "ip", "route add default via 169.254.1.1 dev eth0")
    made.set("node", "ipv4/conf/cali1/proxy_arp=1")
    made.do("node", "ip", f"route add {address('routed', 2, V4)} dev cali1 scope link")
    if made.six:
        made.assign("c1", "eth0", address("routed", 2, V6), 128)
        made.do("node", "ip", "address add fe80::1/64 dev cali1 nodad")
        made.route("c1", "default via fe80::1 dev eth0")
        made.route("node", f"{address('routed', 2, V6)} dev cali1")


def _outside(made: Plan) -> None:
    """The uplink: a wire to the gateway, or a LAN with a second host on it."""
    lan = made.chance(0.45)
    if lan:
        made.labels.add("second host")
        made.space("lan")
        made.do("lan", "ip", "link add sw type bridge")
        made.do("lan", "ip", "link set sw up")
        for host in ("node", "gw", "peer"):
            made.veth(host, "eth0", "lan", f"to-{host}")
            made.do("lan", "ip", f"link set to-{host} master sw")
    else:
        made.veth("node", "eth0", "gw", "eth0")
    hosts = {"node": 10, "gw": 1, **({"peer": 20} if lan else {})}
    for host, number in hosts.items():
        for family in made.families:
            made.assign(host, "eth0", address("lan", number, family), 24 if family == V4 else 64)
    for family in made.families:
        made.assign("gw", "lo", INTERNET[family][0], 32 if family == V4 else 128)
        if not lan:
            made.route("gw", f"default via {address('lan', 10, family)}")
        elif made.chance(0.9):
            for network in ("br0", "br1", "routed"):
                _back(made, "gw", network, address("lan", 10, family), family)
    _default("node", {family: address("lan", 1, family) for family in made.families}, made)
    if lan:
        made.set("gw", "ipv4/ip_forward=1", *(["ipv6/conf/all/forwarding=1"] if made.six else []))
        _second_host(made)
    elif made.chance(0.5):
        made.hidden.add("gw")
        made.uplinks["gw"] = "eth0"
        made.labels.add("hidden outside")


def _back(made: Plan, netns: str, network: str, via: str, family: int) -> None:
    four, six = NET[network]
    made.route(netns, f"{four}.0/24 via {via}" if family == V4 else f"{six}:/64 via {via}")


def _second_host(made: Plan) -> None:
    made.set("peer", "ipv4/ip_forward=1", *(["ipv6/conf/all/forwarding=1"] if made.six else []))
    made.do("peer", "ip", "link add br9 type bridge")
    made.do("peer", "ip", "link set br9 up")
    for family in made.families:
        made.assign("peer", "br9", address("far", 1, family), 24 if family == V4 else 64)
    made.veth("peer", "vs1", "s1", "eth0")
    made.do("peer", "ip", "link set vs1 master br9")
    for family in made.families:
        made.assign("s1", "eth0", address("far", 2, family), 24 if family == V4 else 64)
    _default("s1", {family: address("far", 1, family) for family in made.families}, made)
    _default("peer", {family: address("lan", 1, family) for family in made.families}, made)
    if made.chance(0.5):
        _vxlan(made)
        return
    for family in made.families:
        for network in ("br0", "br1", "routed"):
            _back(made, "peer", network, address("lan", 10, family), family)
        _back(made, "node", "far", address("lan", 20, family), family)


def _vxlan(made: Plan) -> None:
    """An overlay as flannel builds it: one VTEP a host, its neighbours and FDB entries written."""
    made.labels.add("vxlan")
    ends = {"node": ("10.0.1", "02:00:00:00:99:01", 10), "peer": ("10.0.9", "02:00:00:00:99:02", 20)}
    port = made.rng.choice((4789, 8472))
    learning = made.rng.choice(("learning", "nolearning"))
    for host, (_, mac, number) in ends.items():
        local = address("lan", number, V4)
        made.do(
            host, "ip", f"link add vx0 address {mac} type vxlan id 42 dev eth0 local {local} dstport {port} {learning}"
        )
        made.do(host, "ip", "link set vx0 up")
        made.space(host).devices.append("vx0")
    overlay = {"node": "10.0.250.1", "peer": "10.0.250.2"}
    for host in ends:
        made.assign(host, "vx0", overlay[host], 32)
    for here, there, networks in (("node", "peer", ("far",)), ("peer", "node", ("br0", "br1", "routed"))):
        _, mac, number = ends[there]
        made.do(here, "ip", f"neigh add {overlay[there]} lladdr {mac} dev vx0 nud permanent")
        made.do(here, "bridge", f"fdb add {mac} dev vx0 dst {address('lan', number, V4)}")
        for network in networks:
            made.route(here, f"{NET[network][0]}.0/24 via {overlay[there]} dev vx0 onlink")
    if made.six:
        for network in ("br0", "br1", "routed"):
            _back(made, "peer", network, address("lan", 10, V6), V6)
        _back(made, "node", "far", address("lan", 20, V6), V6)


def _second_uplink(made: Plan) -> None:
    made.labels.add("two uplinks")
    made.veth("node", "eth1", "gw2", "eth0")
    for family in made.families:
        length = 24 if family == V4 else 64
        made.assign("node", "eth1", address("wan2", 10, family), length)
        made.assign("gw2", "eth0", address("wan2", 1, family), length)
        made.assign("gw2", "lo", INTERNET[family][1], 32 if family == V4 else 128)
        if made.chance(0.95):
            made.route("gw2", f"default via {address('wan2', 10, family)}")
        if made.chance(0.5):
            made.route("node", f"{INTERNET[family][1]} via {address('wan2', 1, family)}")
    if made.chance(0.15):
        made.labels.add("multipath")
        weight = made.rng.choice((1, 2))
        ways = f"nexthop via {address('wan2', 1, V4)} weight {weight} nexthop via {address('lan', 1, V4)} weight 1"
        made.route("node", f"203.0.113.0/28 {ways}")
    elif made.chance(0.15):
        made.labels.add("nexthop object")
        made.do("node", "ip", f"nexthop add id 7 via {address('wan2', 1, V4)} dev eth1")
        made.do("node", "ip", "route add 203.0.113.0/28 nhid 7")


def _macvlan(made: Plan) -> None:
    made.labels.add("macvlan")
    mode = made.rng.choice(("bridge", "bridge", "private", "vepa"))
    for number in range(made.rng.choice((1, 2))):
        pod = f"m{number + 1}"
        made.space(pod)
        made.do("node", "ip", f"link add link eth0 name mv{number} netns {pod} type macvlan mode {mode}")
        made.do(pod, "ip", f"link set mv{number} name eth0")
        made.do(pod, "ip", "link set eth0 up")
        made.space(pod).devices.append("eth0")
        for family in made.families:
            made.assign(pod, "eth0", address("lan", 50 + number, family), 24 if family == V4 else 64)
        _default(pod, {family: address("lan", 1, family) for family in made.families}, made)


def _settings(made: Plan) -> None:
    """The sysctls that matter, mostly as a container host has them."""
    node = made.space("node")
    devices = [dev for dev in node.devices if dev != "lo"]
    if made.chance(0.97):
        made.set("node", "ipv4/ip_forward=1")
    if made.six and made.chance(0.96):
        made.set("node", "ipv6/conf/all/forwarding=1")
    made.set("node", f"bridge/bridge-nf-call-iptables={made.rng.choice((0, 1))}")
    made.set("node", f"bridge/bridge-nf-call-ip6tables={made.rng.choice((0, 1))}")
    made.set("node", f"ipv4/conf/all/rp_filter={made.rng.choice((0, 0, 0, 1, 2))}")
    rare = {
        "ipv4/conf/{}/rp_filter": (0, 1, 2), "ipv4/conf/{}/forwarding": (0,), "ipv4/conf/{}/route_localnet": (1,),
        "ipv4/conf/{}/accept_local": (1,), "ipv4/conf/{}/src_valid_mark": (1,), "ipv4/conf/{}/send_redirects": (0,),
        "ipv4/conf/{}/proxy_arp": (1,), "ipv4/conf/{}/arp_ignore": (1, 2), "ipv4/conf/{}/arp_filter": (1,),
        "ipv4/conf/{}/arp_announce": (1, 2), "ipv6/conf/{}/forwarding": (0,), "ipv6/conf/{}/hop_limit": (2, 100),
        "ipv4/conf/{}/ignore_routes_with_linkdown": (1,),
    }  # fmt: skip
    for name, values in rare.items():
        for dev in devices:
            if (made.six or not name.startswith("ipv6")) and made.chance(0.03):
                made.set("node", f"{name.format(dev)}={made.rng.choice(values)}")
    whole = {
        "ipv4/icmp_echo_ignore_all": (1,), "ipv4/fwmark_reflect": (1,),
        "ipv4/tcp_fwmark_accept": (1,), "netfilter/nf_conntrack_tcp_loose": (0,),
        "netfilter/nf_conntrack_tcp_be_liberal": (1,), "netfilter/nf_conntrack_acct": (1,),
        "ipv4/conf/all/route_localnet": (1,), "ipv4/conf/all/src_valid_mark": (1,), "ipv4/ip_nonlocal_bind": (1,),
        "ipv4/conf/all/accept_local": (1,), "ipv6/conf/all/hop_limit": (2, 100),
    }  # fmt: skip
    for name, values in whole.items():
        if (made.six or not name.startswith("ipv6")) and made.chance(0.04):
            made.set("node", f"{name}={made.rng.choice(values)}")
    if made.chance(0.12):
        made.set("node", f"ipv4/ip_default_ttl={made.rng.choice((3, 2, 63, 128))}")
    for pod in [name for name in made.spaces if name[0] in "pqcs" and name != "peer"]:
        if made.chance(0.05):
            made.set(pod, f"ipv4/conf/all/rp_filter={made.rng.choice((1, 2))}")


def _policy_routing(made: Plan) -> None:
    if not made.chance(0.35):
        return
    made.labels.add("policy routing")
    rng = made.rng
    two = "eth1" in made.space("node").devices
    for number in range(rng.choice((1, 1, 2))):
        family = rng.choice(made.families)
        table = 100 + number
        tool = "ip6" if family == V6 else "ip"
        pods = [one for one in NET if one in {"br0", "br1"}]
        source = address(rng.choice(pods), rng.choice((1, 2, 3)), family)
        mark, dev = rng.choice(("0x1", "0x1/0x1", "0x2/0x3")), rng.choice(made.space("node").devices)
        selectors = [
            f"from {source}", *(f"fwmark {mark}" for _ in range(5)), f"iif {dev}", f"to {rng.choice(INTERNET[family])}",
            f"not from {source}",
            "ipproto tcp dport 80", "ipproto udp", f"from {address('lan', 10, family)}", "uidrange 1000-2000",
            "tos 0x10", "oif eth0",
        ]  # fmt: skip
        action = rng.choices(
            (f"lookup {table}", "unreachable", "blackhole", "prohibit", "lookup main suppress_prefixlength 0"),
            (12, 1, 1, 1, 2),
        )[0]
        made.do("node", tool, f"rule add {rng.choice(selectors)} priority {1000 + number} {action}")
        if action.startswith("lookup 1"):
            gateway = address("wan2", 1, family) if two and made.chance(0.7) else address("lan", 1, family)
            content = rng.choices(
                (
                    f"default via {gateway}",
                    f"{INTERNET[family][0]} via {gateway}",
                    "throw default",
                    "unreachable default",
                    None,
                ),
                (10, 3, 1, 1, 2),
            )[0]
            if content is not None:
                made.do("node", tool, f"route add {content} table {table}")


def _odd_routes(made: Plan) -> None:
    rng = made.rng
    for family in made.families:
        if not made.chance(0.12):
            continue
        target = rng.choice((*INTERNET[family], address("br0", 2, family), address("far", 2, family)))
        kind = rng.choice(("blackhole", "unreachable", "prohibit", "throw"))
        if family == V6 and kind == "throw":
            kind = "blackhole"
        made.labels.add(f"{kind} route")
        made.do("node", "ip6" if family == V6 else "ip", f"route add {kind} {target}")
    if made.chance(0.1):
        made.do("node", "ip", f"route add {INTERNET[V4][0]} via {address('lan', 1, V4)} mtu lock 1300")
    if made.chance(0.06):
        made.do("node", "ip", f"link set eth0 mtu {made.rng.choice((1280, 1300))}")
    for pod in [name for name in made.spaces if name[0] in "pqc" and name != "peer"]:
        if made.chance(0.02):
            made.do(pod, "ip", "link set eth0 down")
    if made.chance(0.05):
        made.do("node", "ip", f"neigh replace {address('br0', 2, V4)} lladdr 02:aa:bb:cc:dd:ee dev br0 nud permanent")


def _listen(made: Plan) -> None:
    """Servers: most places listen on every address, some on one only."""
    for name, space in made.spaces.items():
        if name == "lan":
            continue
        for port in PORTS:
            for proto in ("tcp", "udp"):
                if not made.chance(0.75):
                    continue
                own = [one for one, _ in space.addresses if made.six or ":" not in one]
                choices = ["", "", "", "0.0.0.0", *own, "127.0.0.1"]
                where = made.rng.choice(choices if made.chance(0.3) else [""])
                made.servers.append(Server(name, proto, where, port))


def _proxy(made: Plan) -> None:
    """A transparent proxy on the node, with the rule and the route that bring it what TPROXY gave it."""
    if not made.chance(0.2):
        return
    made.labels.add("transparent proxy")
    made.space("node").proxied = True
    own = [one for one, _ in made.space("node").addresses if made.six or ":" not in one]
    where = made.rng.choice(("", "", "", made.rng.choice(own)))
    made.servers.append(Server("node", "tcp", where, PROXY, transparent=made.chance(0.9)))
    for family in made.families:
        tool, everything = ("ip6", "::/0") if family == V6 else ("ip", "0.0.0.0/0")
        if made.chance(0.9):
            made.do("node", tool, "rule add fwmark 0x1/0x1 priority 900 lookup 77")
            made.do("node", tool, f"route add local {everything} dev lo table 77")


def _guard(made: Plan) -> None:
    """A SYN proxy on the node, mostly with the strict conntrack that it needs."""
    if not made.chance(0.12):
        return
    made.labels.add("SYN proxy")
    made.space("node").guarded = True
    if made.chance(0.85):
        made.set("node", "netfilter/nf_conntrack_tcp_loose=0")
