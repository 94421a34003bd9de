"""The rules that a trace names on a packet's way, beside those that the kernel itself names: the same, in that order.

Compared is, in each namespace and for each backend, every rule that matched, from the request over the answer to the
next packet (of TCP without that: the kernel sends a bare ACK before it); policies where they drop. The kernel goes on
where a trace ends (a second answer, the rest of a TCP connection): its list may be longer then, but only then. Of a
packet that leaves the snapshot only its way out is compared, for the trace assumes what answers.
"""

from __future__ import annotations

import json
import lzma
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kernel.fuzz import compare, generate
from tests.kernel.fuzz.network import Call, Network, Server, Step
from tests.kernel.test_once_differed import SERVERS, SPACES, STEPS, echo, nft, table, tcp, udp, veth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.model.snapshot import Snapshot
    from netdoctor.simulate import trace
    from netdoctor.simulate.trace import Outcome
    from tests.kernel.fuzz.compare import Kernel
    from tests.kernel.kernel_trace import Met

Chain = tuple[str, str, str, str]  # backend, family, table, chain
Key = tuple[str, str]  # namespace, backend
# What decides by chance, by the clock, or by what no flow tells: a trace shows one way of several, or leaves out a rule
# that only counts. TRACE has the kernel tell of packets too that are not the flow's own.
CHANCE = re.compile(
    r'statistic|numgen random mod (?!1 )|"mode": "random", "mod": (?!1,)|string|limit|recent|quota|gid|u32|-m time|'
    r'"time"|TRACE|nftrace'
)
SEEDS = range(501, 513)
FLOWS = 12  # of each


class Places:
    """Where the rules of a snapshot stand: what the kernel calls by handle or by the chain's end, a trace numbers."""

    def __init__(self, network: Network, snapshot: Snapshot) -> None:
        self._numbers: dict[tuple[str, Met], int] = {}
        self._lengths: dict[tuple[str, Chain], int] = {}
        self._drops: set[tuple[str, Chain]] = set()
        self._chance: set[tuple[str, Met]] = set()
        for one in snapshot.namespaces:
            netns = network.node if one.name == "host" else one.name
            self._read_nft(netns, one.nft.json if one.nft is not None else "")
            for rules in one.rulesets:
                self._read_saved(netns, rules.backend, rules.family, rules.text)

    def _read_nft(self, netns: str, text: str) -> None:
        for item in json.loads(text)["nftables"] if text else ():
            if "rule" in item:
                rule = item["rule"]
                chain = ("nft", rule["family"], rule["table"], rule["chain"])
                number = self._next(netns, chain)
                self._numbers[netns, (*chain, rule["handle"])] = number
                if CHANCE.search(json.dumps(rule["expr"])):
                    self._chance.add((netns, (*chain, number)))

    def _read_saved(self, netns: str, backend: str, family: str, text: str) -> None:
        table_ = ""
        for line in text.splitlines():
            rule = line.partition("-A ")[2]
            if line.startswith("*"):
                table_ = line[1:]
            elif line.startswith(":") and line.split()[1] == "DROP":
                self._drops.add((netns, (backend, family, table_, line[1:].split()[0])))
            elif rule and backend == "legacy":
                chain = (backend, family, table_, rule.split()[0])
                number = self._next(netns, chain)
                if CHANCE.search(rule):
                    self._chance.add((netns, (*chain, number)))

    def _next(self, netns: str, chain: Chain) -> int:
        self._lengths[netns, chain] = self._lengths.get((netns, chain), 0) + 1
        return self._lengths[netns, chain]

    def told(self, netns: str, met: Met) -> Met | None:
        """Return what the kernel told as a trace would number it, None for what a trace leaves out."""
        chain, number = met[:4], met[4]
        if chain[0] == "nft":
            return (*chain, self._numbers[netns, met] if number else 0)
        if number <= self._lengths.get((netns, chain), 0):
            return met
        return (*chain, 0) if (netns, chain) in self._drops else None

    def by_chance(self, heard: dict[Key, list[Met]]) -> bool:
        """Whether a rule matched that may or may not."""
        return any((netns, met) in self._chance for (netns, _), mets in heard.items() for met in mets)


def simulated(network: Network, call: Call, outcome: Outcome) -> dict[Key, list[Met]]:
    """The rules of an outcome, by namespace and backend, in order."""
    found: dict[Key, list[Met]] = {}
    parts = [outcome, outcome.reply, None if call.proto == "tcp" else outcome.next]
    known = [one for one in (parts[:1] if outcome.verdict == "left" else parts) if one is not None]
    for step in (step for part in known for step in part.steps if step.backend is not None):
        drops = step.rule is None and (step.action or "").upper() == "POLICY DROP"
        if step.rule is not None or drops:
            netns = network.node if step.netns == "host" else step.netns
            found.setdefault((netns, step.backend or ""), []).append(_met(step))
    return found


def _met(step: trace.Step) -> Met:
    return (step.backend or "", step.family or "", step.table or "", step.chain or "", step.rule or 0)


def goes_on(outcome: Outcome) -> bool:
    """Whether packets follow that no trace shows: another answer, a reset, an error in a tunnel, a flooded frame.

    Of what left, the outside's answers are not compared.
    """
    if outcome.verdict == "left":
        return True
    last = outcome if outcome.reply is None else outcome.reply
    rules = last.cause is not None and last.cause.kind in {"rule", "policy"}
    return last.verdict != "dropped" or not rules


def unlike(network: Network, call: Call, outcome: Outcome, heard: dict[Key, list[Met]]) -> list[str]:
    """In what an outcome's rules differ from those that the kernel told of."""
    own, said = simulated(network, call, outcome), []
    for key in {*own, *heard}:
        ours, kernels = own.get(key, []), heard.get(key, [])
        fits = kernels[: len(ours)] == ours if goes_on(outcome) else kernels == ours
        if not fits:
            said.append(f"{' '.join(key)}: the trace has {ours}, the kernel {kernels}")
    return said


def differences(kernel: Kernel, network: Network, *, refused: bool = False) -> Iterator[tuple[Call, int, list[str]]]:
    """Yield each flow, how many rules the kernel told of, and what every outcome of the trace says otherwise.

    `refused`: whether tools may refuse a step. Left out are flows that meet what no trace can tell, or a copy or a
    SYN proxy, whose rules stand among the packet's own.
    """
    try:
        snapshot, steps = compare.built(kernel, network)
        assert refused or not steps
        places = Places(network, snapshot)
        asked = compare.simulator(snapshot)
        kernel.ask("listen", places=[name for name in network.spaces if name not in network.hidden])
        for call in network.calls:
            observed = compare.observe(kernel, network, call)
            heard: dict[Key, list[Met]] = {}
            for netns, mets in kernel.ask("heard")["heard"].items():
                for met in (tuple(one) for one in mets):
                    told = places.told(netns, met)
                    if told is not None:
                        heard.setdefault((netns, met[0]), []).append(told)
            trace = asked.trace(compare.flow_of(network, call))
            if (
                compare.is_unknown(trace)
                or _untold(trace.outcomes)
                or places.by_chance(heard)
                or compare.unsent(network, call, observed)
            ):
                continue
            said = [unlike(network, call, outcome, heard) for outcome in trace.outcomes]
            yield call, sum(map(len, heard.values())), [] if [] in said else min(said, key=len)
    finally:
        kernel.ask("clear")


def _untold(outcomes: tuple[Outcome, ...]) -> bool:
    steps = [step for one in outcomes for part in (one, one.reply, one.next) if part is not None for step in part.steps]
    return any(step.action in {"TEE", "SYNPROXY"} or CHANCE.search(step.text or "") for step in steps)


VIP = "10.96.0.10"
SERVICE = (
    f"-A PREROUTING -d {VIP}/32 -p tcp -m tcp --dport 80 -j SVC", f"-A OUTPUT -d {VIP}/32 -j SVC",
    "-A SVC -s 10.0.1.2/32 -j MARKED", "-A SVC -p tcp -g SEP", "-A SVC -j RETURN",
    "-A MARKED -j MARK --set-xmark 0x4000/0x4000",
    "-A SEP -m comment --comment first", "-A SEP -p tcp -j DNAT --to-destination 10.0.1.3:80",
    "-A POSTROUTING -j MASQ", "-A MASQ -m mark ! --mark 0x4000/0x4000 -j RETURN", "-A MASQ -j MASQUERADE",
)  # fmt: skip
FILTER = (
    "-A FORWARD -j ALLOW", "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A FORWARD -p udp -j DROP",
    "-A ALLOW -p tcp -m tcp --sport 1:79 -j DROP", "-A ALLOW -p icmp -j RETURN", "-A ALLOW -d 10.0.1.3/32 -p tcp",
)  # fmt: skip
REFUSING = (
    "-A INPUT -p tcp -j REJECT --reject-with tcp-reset",
    "-A INPUT -p udp -j REJECT",
    "-A OUTPUT -p icmp -j DROP",
)
BESIDE = nft(
    "table inet t {",
    "map ports { type inet_service : verdict; elements = { 53 : accept, 80 : goto web } }",
    "set pods { type ipv4_addr; flags interval; elements = { 10.0.1.0/24 } }",
    "chain web { ip saddr @pods ct mark set 7 counter", "jump marks", "return", "}",
    "chain marks { ct mark 7 continue", "meta l4proto vmap { tcp : return, udp : accept }", "drop", "}",
    "chain early { type filter hook prerouting priority -160; ip saddr @pods th dport vmap @ports", "counter", "}",
    "chain late { type filter hook forward priority 10; policy accept;", "ct mark 7 oifname br0 counter", "}",
    "chain out { type filter hook output priority 0; policy drop;", "ct state established accept",
    "ip daddr { 10.0.1.2, 10.96.0.0/16 } accept", "}",
    "}",
)  # fmt: skip
DROPPING = Step("node", "iptables-legacy-restore", ("*filter", ":FORWARD DROP [0:0]", "-A FORWARD -p icmp -j ACCEPT",
                                                    "COMMIT"))  # fmt: skip
NO_BRIDGE = Step("node", "sysctl", ("bridge/bridge-nf-call-iptables=0",))
CALLS = (
    tcp("p1", VIP), tcp("p2", VIP), tcp("gw", VIP), tcp("node", VIP), udp("p1", "10.0.1.3"), udp("p1", "192.0.2.1"),
    tcp("p1", "10.0.1.1"), udp("gw", "192.0.2.10"), echo("p1", "192.0.2.1"), echo("node", "10.0.1.2"),
    tcp("p1", "fd00:1::1"), udp("gw", "fd00:1::2"), echo("p2", "2001:db8:1::1"), udp("gw", "10.0.1.2"),
)  # fmt: skip
RULESETS = {
    "iptables-nft": (table("nat", *SERVICE, tool="iptables-nft"), table("filter", *FILTER, tool="iptables-nft")),
    "iptables-legacy": (table("nat", *SERVICE), table("filter", *FILTER)),
    "iptables-legacy without bridge netfilter": (table("nat", *SERVICE), table("filter", *FILTER), NO_BRIDGE),
    "refusing and dropping": (table("filter", *REFUSING, tool="iptables-nft"),),
    "refusing IPv6": (
        table("filter", "-A INPUT -p tcp -j REJECT --reject-with tcp-reset", "-A FORWARD -p udp -j DROP",
              "-A OUTPUT -j U", "-A U -p ipv6-icmp -g W", "-A U -j ACCEPT", "-A W -j RETURN", tool="ip6tables-nft"),
        table("mangle", "-A PREROUTING -p tcp -j MARK --set-mark 3", "-A FORWARD -m mark --mark 3 -j RETURN",
              tool="ip6tables-legacy"),
    ),
    "native beside iptables-nft": (table("nat", *SERVICE, tool="iptables-nft"), BESIDE),
    "native beside iptables-legacy": (table("nat", *SERVICE), table("filter", *FILTER), BESIDE),
    "a policy that drops": (DROPPING,),
}  # fmt: skip


@pytest.mark.parametrize("steps", RULESETS.values(), ids=RULESETS)
def test_a_ruleset_is_traced_as_the_kernel_traces_it(kernel: Kernel, steps: tuple[Step, ...]) -> None:
    calls = tuple(replace(call, sport=20001 + number) for number, call in enumerate(CALLS))
    network = Network(0, SPACES, (*STEPS, *steps), SERVERS, calls)
    found = list(differences(kernel, network))
    assert [(str(call), said) for call, _, said in found if said] == []
    assert len(found) >= len(calls) - 3  # a few hang on the order of chains of one priority
    assert sum(rules for _, rules, _ in found) >= 3


RECORDINGS = Path(__file__).parents[2] / "fixtures" / "recordings"
CLUSTER = (
    Step("node", "ip", (
        "link add cni0 address 02:00:00:00:00:01 type bridge", "link set cni0 up",
        veth("vp1", 0x11, "p1", 0x12), "link set vp1 master cni0 up",
        veth("vp2", 0x21, "p2", 0x22), "link set vp2 master cni0 up",
        veth("eth0", 0x31, "gw", 0x32), "link set eth0 up",
        "address add 10.244.0.1/24 dev cni0", "address add 10.0.0.10/24 dev eth0",
    )),
    Step("p1", "ip", ("link set eth0 up", "address add 10.244.0.200/24 dev eth0", "route add default via 10.244.0.1")),
    Step("p2", "ip", ("link set eth0 up", *(f"address add 10.244.0.{host}/24 dev eth0" for host in (103, 109, 125)),
                      "route add default via 10.244.0.1")),
    Step("gw", "ip", ("link set eth0 up", "address add 10.0.0.11/24 dev eth0", "route add default via 10.0.0.10")),
    Step("node", "sysctl", ("ipv4/ip_forward=1",)),
)  # fmt: skip
ENDPOINTS = (Server("p2", "tcp", "", 8080), Server("gw", "tcp", "", 6443))
INTERNAL, LOCAL_ONLY, NOWHERE_HERE, API, NODE_PORT = (
    ("10.96.30.13", 80), ("10.96.30.2", 80), ("10.96.30.14", 80), ("10.96.0.1", 443), ("10.0.0.10", 30101),
)  # fmt: skip
ASKED = (
    ("p1", INTERNAL), ("p2", INTERNAL), ("node", INTERNAL), ("gw", INTERNAL), ("p1", API), ("node", API),
    ("p1", NOWHERE_HERE), ("gw", NODE_PORT), ("p1", NODE_PORT), ("gw", ("10.0.0.10", 30102)), ("gw", LOCAL_ONLY),
)  # fmt: skip


@pytest.mark.parametrize(
    ("recording", "file", "tool"),
    [
        ("v1.19.0-iptables-legacy-c-nodeport-lb-external+kubelet-chains", "iptables-save-c.txt.xz", "iptables-legacy"),
        ("v1.26.1-iptables-nft-c-nodeport-lb-external", "iptables-save-c.txt.xz", "iptables-nft"),
        ("v1.30.5-iptables-nft-c-nodeport-lb-external", "iptables-save-c.txt.xz", "iptables-nft"),
        ("v1.30.5-nftables-c-nodeport-lb-external", "nft-list-ruleset.json.xz", "nft -j"),
    ],
)
def test_kube_proxys_rules_are_traced_as_the_kernel_traces_them(kernel: Kernel, recording: str, file: str, tool: str):
    text = lzma.decompress((RECORDINGS / f"kube-proxy-{recording}" / file).read_bytes()).decode()
    if tool == "nft -j":
        rules = Step("node", "nft -j -f -", (_loadable(text),))
    else:
        rules = Step("node", f"{tool}-restore", tuple(text.splitlines()))
    calls = tuple(Call(who, dst, "tcp", port, 20001 + n) for n, (who, (dst, port)) in enumerate(ASKED))
    found = list(differences(kernel, Network(0, SPACES, (*CLUSTER, rules), ENDPOINTS, calls)))
    assert [(str(call), said) for call, _, said in found if said] == []
    assert len(found) >= 5  # the rest is dealt out at random
    assert sum(rules for _, rules, _ in found) > 50


def _loadable(listed: str) -> str:
    """What `nft -j list ruleset` printed, in an order in which nft takes it: maps name chains that it prints later."""
    kinds = ("table", "chain", "set", "map", "rule")
    items = [item for item in json.loads(listed)["nftables"] if next(iter(item)) in kinds]
    for item in items:
        next(iter(item.values())).pop("handle")
    return json.dumps({"nftables": sorted(items, key=lambda item: kinds.index(next(iter(item))))})


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_network_is_traced_as_the_kernel_traces_it(kernel: Kernel, seed: int) -> None:
    network = generate.network(seed, FLOWS)
    found = list(differences(kernel, network, refused=True))
    assert [(str(call), said) for call, _, said in found if said] == []
