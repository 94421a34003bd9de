"""Whatever kube-proxy promises of a packet, a trace over the rules that it wrote says: for every recorded version, mode
and scenario, from pods, from the node and from outside, to every address of every service.
"""

from __future__ import annotations

import itertools
import re
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from netdoctor.model.flow import Flow
from netdoctor.simulate.engine import Simulator

sys.path.insert(0, str(Path(__file__).parent))

from kube_node import BRIDGE, CALLER, GATEWAY, ROUTED, ROUTED_CALLER, UPLINK, node
from kube_promises import KubeProxy, Origin, Promise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kube_promises import Destination, Endpoint

    from netdoctor.simulate.trace import Outcome, Trace
    from netdoctor.topology.world import World

CHECKOUT = Path(__file__).resolve().parents[3]
RECORDINGS = CHECKOUT / "fixtures" / "recordings"
MORE = CHECKOUT.parent / "shared" / "recordings" / "kube-proxy"  # a larger collection may lie beside the checkout
OUTSIDE = {4: ("10.0.0.1", "198.18.0.9"), 6: ("fd00:10::1", "2001:db8:9::9")}
IN_A_RANGE = "192.0.2.9"  # of those that a load balancer's loadBalancerSourceRanges name
PODS = {4: ip_network("10.244.0.0/24"), 6: ip_network("fd00:244::/64")}
# Mode nftables of 1.30 cannot write `iif "veth*"`, so nft refused the IPv4 table: there are no rules to ask.
NOT_WRITTEN = {"kube-proxy-v1.30.5-nftables-g4-detect-prefix"}
OTHER_NODES_POD = {4: "10.244.1.200", 6: "fd00:244:1::200"}


def folders() -> list[Path]:
    inside = {path.parent.name: path.parent for path in RECORDINGS.glob("kube-proxy-*/services.json*")}
    beside = {
        f"kube-proxy-{path.parts[-3]}-{path.parts[-2]}": path.parent
        for path in MORE.glob("*/*/services.json")
        if "scale" not in str(path)
    }
    return [folder for one, folder in sorted((beside | inside).items()) if one not in NOT_WRITTEN]


def name(folder: Path) -> str:
    return folder.name if folder.parent == RECORDINGS else f"{folder.parent.name}/{folder.name}"


def origins(proxy: KubeProxy, to: Destination) -> Iterator[Origin]:
    family = to.family
    own = to.address if to.address in local_addresses(proxy, family) else proxy.node_address(family)
    yield Origin("node", own)
    if ip_address(to.address).is_loopback:
        return  # only the node itself can
    yield Origin("pod", CALLER[family], pod=True, in_dev=BRIDGE, bridged=True)
    if family == 4:
        yield Origin("routed pod", ROUTED_CALLER, pod=True, in_dev=ROUTED)
    yield Origin("pod of another node", OTHER_NODES_POD[family], pod=True, in_dev=UPLINK)
    for address in (*OUTSIDE[family], *([IN_A_RANGE] if to.of.option("loadBalancerSourceRanges") else ())):
        yield Origin("outside", address, in_dev=UPLINK)
    yield from own_endpoints(to)


def own_endpoints(to: Destination) -> Iterator[Origin]:
    """A pod that is behind the service calls it itself."""
    for one in to.of.usable(terminating=True, local=True):
        if ip_address(one.address) in PODS[to.family]:
            yield Origin("its own pod", one.address, pod=True, in_dev=BRIDGE, bridged=True)


def flow(origin: Origin, to: Destination) -> Flow:
    common = {"to": to.address, "proto": to.proto, "dport": to.port}
    if origin.is_node:
        return Flow(from_="host", **common)
    if origin.in_dev == UPLINK:
        return Flow(from_="outside", src=origin.address, in_=UPLINK, **common)
    return Flow(from_=origin.address, **common)


def local_addresses(proxy: KubeProxy, family: int) -> tuple[str, ...]:
    return (proxy.node_address(family), GATEWAY[family], "127.0.0.1" if family == 4 else "::1")


def asked(proxy: KubeProxy) -> Iterator[tuple[Origin, Destination]]:
    """Everybody calls every address."""
    for family in proxy.families():
        for to in proxy.destinations(family, local_addresses(proxy, family)):
            for origin in origins(proxy, to):
                yield origin, to


class Seen(NamedTuple):
    """How a first packet ends, as kube-proxy decides it."""

    verdict: str
    dst: str
    dport: int
    src: str
    masqueraded: bool = False
    probability: float | None = 1.0
    learned: str | None = None  # the ICMP error that reaches the sender
    answered: bool = (
        False  # and the answer finds its way; what leaves with a pod's address, other nodes know how to answer
    )


def promised(proxy: KubeProxy, origin: Origin, to: Destination) -> set[Seen]:
    """What the outcomes of the trace must be."""
    promise = proxy.promise(origin, to)
    if promise.fate == "left alone":
        return {untouched(proxy, promise, origin, to)}
    if promise.fate != "translated":
        refusal = "icmp-port-unreachable" if to.family == 4 else "icmp6-port-unreachable"
        learned = refusal if promise.fate == "rejected" else None
        return {Seen(promise.fate, to.address, to.port, origin.address, learned=learned)}
    return {translated(proxy, promise, origin, to, one) for one in promise.endpoints}


def untouched(proxy: KubeProxy, promise: Promise, origin: Origin, to: Destination) -> Seen:
    """It goes where it would without kube-proxy: to the node where the address is its own, else by the uplink."""
    if to.address in local_addresses(proxy, to.family):
        return Seen("refused", to.address, to.port, origin.address)
    source = proxy.node_address(to.family) if promise.masqueraded else origin.address
    answered = promise.masqueraded or origin.is_node
    return Seen("left", to.address, to.port, source, promise.masqueraded, answered=answered)


def translated(proxy: KubeProxy, promise: Promise, origin: Origin, to: Destination, endpoint: Endpoint) -> Seen:
    on_node = endpoint.address == proxy.node_address(to.family)
    in_pod = ip_address(endpoint.address) in PODS[to.family]
    masqueraded = promise.masqueraded or endpoint.address == origin.address
    if on_node and not origin.is_node:
        masqueraded = False  # it never passes POSTROUTING
    source = origin.address
    if masqueraded:
        source = GATEWAY[to.family] if in_pod else proxy.node_address(to.family)
    # Whom a client got before stands in /proc/net/xt_recent, which no snapshot holds; nftables' sets are read.
    unknown = promise.sticky and not proxy.nftables and len(promise.endpoints) > 1
    return Seen(
        verdict="delivered" if on_node or in_pod else "left",
        dst=endpoint.address,
        dport=endpoint.port,
        src=source,
        masqueraded=masqueraded,
        probability=None if unknown else round(1 / len(promise.endpoints), 6),
        answered=on_node or in_pod or masqueraded or origin.is_node,
    )


def traced(trace: Trace) -> set[Seen]:
    return {seen(outcome) for outcome in trace.outcomes}


def seen(outcome: Outcome) -> Seen:
    final, error = outcome.final, outcome.error
    assert final is not None
    assert final.dport is not None
    return Seen(
        verdict=outcome.verdict,
        dst=final.dst,
        dport=final.dport,
        src=final.src,
        masqueraded=final.sport is None,  # kube-proxy masquerades to a random port
        probability=None if outcome.probability is None else round(outcome.probability, 6),
        learned=error.icmp if error is not None and error.reaches_sender and outcome.verdict == "rejected" else None,
        answered=outcome.connects == "yes",
    )


def broken_promises(proxy: KubeProxy, world: World) -> list[tuple[object, ...]]:
    simulator = Simulator(world, outside_answers=True, steps=False)
    wrong = []
    for origin, to in asked(proxy):
        expected, got = promised(proxy, origin, to), traced(simulator.trace(flow(origin, to)))
        if expected != got:
            wrong.append((origin.name, origin.address, to.kind, to, expected, got))
    return wrong


@pytest.mark.parametrize("folder", folders(), ids=name)
def test_endpoints_masquerading_and_rejections_are_those_that_kube_proxy_promises(folder: Path) -> None:
    proxy = KubeProxy(folder)
    assert broken_promises(proxy, node(proxy)) == []


C = RECORDINGS / "kube-proxy-v1.30.5-iptables-legacy-c-nodeport-lb-external"
NATIVE = RECORDINGS / "kube-proxy-v1.30.5-nftables-c-nodeport-lb-external"
OLD = RECORDINGS / "kube-proxy-v1.19.0-iptables-legacy-c-nodeport-lb-external+kubelet-chains"


@pytest.mark.parametrize(
    ("folder", "right", "wrong"),
    [
        (C, "! -s 10.244.0.0/16 ", ""),
        (C, "--src-type LOCAL -j KUBE-MARK-MASQ", "! --src-type LOCAL -j KUBE-MARK-MASQ"),
        (C, "MARK-MASQ -j MARK --set-xmark 0x4000/0x4000", "MARK-MASQ -j MARK --set-xmark 0x8000/0x8000"),
        (C, "--probability 0.33333333349", "--probability 0.5"),
        (C, "--dport 30102 -j DROP", "--dport 30102 -j ACCEPT"),
        (C, "-d 203.0.113.7/32 -p tcp", "-d 203.0.113.7/32 -p udp"),
        (C, "-s 10.244.0.107/32 -m comment", "-s 10.244.0.108/32 -m comment"),
        (C, "--to-destination 10.244.1.102:8080", "--to-destination 10.244.1.102:80"),
        (NATIVE, '"op": "!="', '"op": "=="'),
        (NATIVE, '{"fib": {"result": "type", "flags": ["saddr"]}}', '{"fib": {"result": "type", "flags": ["daddr"]}}'),
        (NATIVE, '"mod": 3', '"mod": 4'),
        (NATIVE, 'http"}}, {"drop": null}', 'http"}}, {"accept": null}'),
        (NATIVE, '"203.0.113.7", "tcp"', '"203.0.113.7", "udp"'),
        (NATIVE, '"right": "10.244.0.107"', '"right": "10.244.0.108"'),
        (NATIVE, '"addr": "10.244.1.102", "port": 8080', '"addr": "10.244.1.102", "port": 80'),
        (NATIVE, '{"reject": {"type": "icmp", "expr": "port-unreachable"}}', '{"accept": null}'),
    ],
)
def test_a_fault_in_the_rules_breaks_a_promise(folder: Path, right: str, wrong: str) -> None:
    proxy = KubeProxy(folder)
    found = []

    def fault(text: str) -> str:
        found.append(right in text)
        return text.replace(right, wrong)

    assert broken_promises(proxy, node(proxy, fault)) != []
    assert any(found)


def test_every_kind_of_promise_is_made_to_every_kind_of_destination_that_can_have_it() -> None:
    made = {
        (proxy.promise(origin, to).fate, to.kind) for proxy in map(KubeProxy, folders()) for origin, to in asked(proxy)
    }
    assert made == {
        *itertools.product(("translated", "dropped", "rejected"), ("cluster IP", "node port", "load balancer")),
        *itertools.product(("left alone",), ("node port", "load balancer", "external IP", "unused port")),
        ("rejected", "unused port"),
        ("translated", "external IP"),
        ("rejected", "external IP"),
    }


def test_without_the_rules_of_a_kubelet_an_old_kube_proxy_drops_nothing() -> None:
    proxy = KubeProxy(OLD)

    def without_kubelet(text: str) -> str:
        return re.sub(r".*-A (KUBE-MARK-DROP|KUBE-FIREWALL) .*\n", "", text)

    call = Flow(from_="outside", src="198.18.0.9", in_=UPLINK, to="10.0.0.10:30102/tcp")
    verdicts = [
        {one.verdict for one in Simulator(world).trace(call).outcomes}
        for world in (node(proxy), node(proxy, without_kubelet))
    ]
    assert verdicts == [{"dropped"}, {"refused"}]


@pytest.mark.parametrize(("folder", "verdict"), [(C, "refused"), (OLD, "dropped")], ids=["1.30", "1.19"])
def test_the_health_check_port_of_a_load_balancer_is_open_under_a_firewall(folder: Path, verdict: str) -> None:
    """`refused`: it gets through to where kube-proxy would listen. Before 1.20 there was no rule for it."""
    proxy = KubeProxy(folder)

    def firewall(text: str) -> str:
        return text.replace("*filter\n:INPUT ACCEPT", "*filter\n:INPUT DROP")

    simulator = Simulator(node(proxy, firewall))
    ports = (31005, 31006, 31007)
    calls = [Flow(from_="outside", src="10.0.0.1", in_=UPLINK, to="10.0.0.10", proto="tcp", dport=one) for one in ports]
    assert [simulator.trace(one).outcomes[0].verdict for one in calls] == [verdict, verdict, "dropped"]
