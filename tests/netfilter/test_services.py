"""Services and published ports out of real rulesets."""

# ruff: noqa: E501  # a rule is one line

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netdoctor.netfilter.iptables import save
from netdoctor.netfilter.services import Endpoint, PublishedPort, Service, published, services

TOP = Path(__file__).parents[2]
PLACES = (TOP / "fixtures", TOP.parent / "shared" / "recordings")

KUBE = """\
*filter
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-SERVICES - [0:0]
-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "shop/idle:http has no endpoints" -m addrtype --dst-type LOCAL -m tcp --dport 30082 -j REJECT --reject-with icmp-port-unreachable
-A KUBE-SERVICES -d 10.96.0.9/32 -p tcp -m comment --comment "shop/idle:http has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable
-A KUBE-SERVICES -d 10.96.0.8/32 -p udp -m comment --comment "shop/far has no local endpoints" -m udp --dport 53 -j DROP
COMMIT
*nat
:KUBE-NODEPORTS - [0:0]
:KUBE-SEP-AAA - [0:0]
:KUBE-SEP-BBB - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-CART - [0:0]
:KUBE-SVC-DNS - [0:0]
-A KUBE-NODEPORTS -p tcp -m comment --comment "shop/cart:http" -m tcp --dport 30080 -j KUBE-EXT-CART
-A KUBE-SEP-AAA -s 10.244.0.3/32 -m comment --comment "shop/cart:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-AAA -p tcp -m comment --comment "shop/cart:http" -m recent --set --name KUBE-SEP-AAA --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.244.0.3:8080
-A KUBE-SEP-BBB -p tcp -m comment --comment "shop/cart:http" -m tcp -j DNAT --to-destination 10.244.1.4:8080
-A KUBE-SERVICES ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m comment --comment "shop/cart:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m comment --comment "shop/cart:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-CART
-A KUBE-SERVICES -d 203.0.113.9/32 -p tcp -m comment --comment "shop/cart:http external IP" -m tcp --dport 80 -j KUBE-EXT-CART
-A KUBE-SERVICES -d 10.96.0.11/32 -p udp -m comment --comment "kube-system/dns: cluster IP" -m udp --dport 53 -j KUBE-SVC-DNS
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-CART -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-AAA --mask 255.255.255.255 --rsource -j KUBE-SEP-AAA
-A KUBE-SVC-CART -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-AAA
-A KUBE-SVC-CART -j KUBE-SEP-BBB
COMMIT
"""

HOST_PORTS = """\
*nat
:CNI-DN-5beb02e8ae7bd3bf89f15 - [0:0]
:DOCKER - [0:0]
:KUBE-HOSTPORTS - [0:0]
:KUBE-HP-AAA - [0:0]
:NETAVARK-DN-0B9724D220131 - [0:0]
:WEB - [0:0]
-A CNI-DN-5beb02e8ae7bd3bf89f15 -s 10.89.5.0/24 -p udp -m udp --dport 9053 -j CNI-HOSTPORT-SETMARK
-A CNI-DN-5beb02e8ae7bd3bf89f15 -p udp -m udp --dport 9053 -j DNAT --to-destination 10.89.5.4:53
-A DOCKER -i docker0 -j RETURN
-A DOCKER -d 127.0.0.1/32 ! -i docker0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.17.0.2:80
-A KUBE-HOSTPORTS -p tcp -m comment --comment "web_shop hostport 8443" -m tcp --dport 8443 -j KUBE-HP-AAA
-A KUBE-HP-AAA -s 10.244.0.9/32 -m comment --comment "web_shop hostport 8443" -j KUBE-MARK-MASQ
-A KUBE-HP-AAA -p tcp -m comment --comment "web_shop hostport 8443" -m tcp -j DNAT --to-destination 10.244.0.9:443
-A NETAVARK-DN-0B9724D220131 -d 127.0.0.1/32 -p tcp -m tcp --dport 8081 -j DNAT --to-destination 10.89.5.4:80
-A WEB -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1:8080
COMMIT
"""


def test_services_come_from_kube_proxys_comments_and_chains():
    cart = (Endpoint("10.244.0.3", 8080), Endpoint("10.244.1.4", 8080))
    assert (
        Service("shop", "cart", "http", "tcp", "10.96.0.10", 80, cart, "KUBE-SVC-CART", 30080),
        Service("kube-system", "dns", None, "udp", "10.96.0.11", 53, (), "KUBE-SVC-DNS"),
        Service("shop", "idle", "http", "tcp", "10.96.0.9", 80, (), None, 30082),
        Service("shop", "far", None, "udp", "10.96.0.8", 53),
    ) == services(save.parse(KUBE, 4, "nft"))


def test_published_ports_come_from_the_runtimes_chains():
    assert (
        PublishedPort("udp", 9053, None, Endpoint("10.89.5.4", 53), "CNI-DN-5beb02e8ae7bd3bf89f15"),
        PublishedPort("tcp", 8081, "127.0.0.1", Endpoint("172.17.0.2", 80), "DOCKER", "docker0"),
        PublishedPort("tcp", 8443, None, Endpoint("10.244.0.9", 443), "KUBE-HP-AAA"),
        PublishedPort("tcp", 8081, "127.0.0.1", Endpoint("10.89.5.4", 80), "NETAVARK-DN-0B9724D220131"),
    ) == published(save.parse(HOST_PORTS, 4, "nft"))


def test_a_ruleset_without_kube_proxy_has_no_services():
    assert (services(save.parse("", 4, "nft")), services(save.parse(HOST_PORTS, 4, "nft"))) == ((), ())


def test_titles_are_written_as_kubernetes_does():
    assert [service.title for service in services(save.parse(KUBE, 4, "nft"))] == [
        "shop/cart:http",
        "kube-system/dns",
        "shop/idle:http",
        "shop/far",
    ]


def served(folder, family):
    """What the API served: title, protocol, address, port -> node port and the ready endpoints of this family."""
    state = json.loads((folder / "services.json").read_text())
    slices = {}
    for one in state["endpointslices"]:
        if (one["addressType"] == "IPv6") is (family == 6):
            name = (one["metadata"]["namespace"], one["metadata"]["labels"]["kubernetes.io/service-name"])
            for port in one["ports"] or ():
                found = slices.setdefault((*name, port.get("name") or None), set())
                for endpoint in one["endpoints"] or ():
                    if endpoint["conditions"].get("ready", True):
                        found |= {(address, port["port"]) for address in endpoint["addresses"]}
    for service in state["services"]:
        meta, spec = service["metadata"], service["spec"]
        local = spec.get("internalTrafficPolicy") == "Local"
        for address in spec.get("clusterIPs") or [spec.get("clusterIP", "None")]:
            if address == "None" or (":" in address) is not (family == 6):
                continue
            for port in spec.get("ports") or ():
                key = (
                    meta["namespace"],
                    meta["name"],
                    port.get("name") or None,
                    port["protocol"].lower(),
                    address,
                    port["port"],
                )
                ready = slices.get((meta["namespace"], meta["name"], key[2]), set())
                yield key, port.get("nodePort"), ready, local


def recordings():
    for place in PLACES:
        for path in sorted(place.rglob("ip*tables-save.txt")):
            if (path.parent / "services.json").exists():
                yield path


def test_every_recorded_kube_proxy_version_gives_the_services_that_the_api_served():
    wrong = []
    for path in recordings():
        family = 6 if path.name.startswith("ip6") else 4
        found = {
            (s.namespace, s.name, s.port_name, s.proto, s.address, s.port): s
            for s in services(save.parse(path.read_text(), family, "nft"))
        }
        expected = {key: rest for key, *rest in served(path.parent, family)}
        if expected.keys() != found.keys():
            wrong.append((path, expected.keys() ^ found.keys()))
        for key in expected.keys() & found.keys():
            node_port, ready, local = expected[key]
            endpoints = {(endpoint.address, endpoint.port) for endpoint in found[key].endpoints}
            # From 1.26 on, Local services show this node's endpoints only, and terminating ones serve where none is ready.
            same = endpoints <= ready if local else endpoints == ready or key[1] == "terminating"
            if not same or node_port != found[key].node_port:
                wrong.append((path, key, node_port, ready, found[key]))
    assert wrong == []


@pytest.mark.parametrize("name", ["DOCKER", "CNI-DN-5beb02e8ae7bd3bf89f15", "NETAVARK-DN-0B9724D220131"])
def test_a_rule_that_is_cut_off_or_strange_publishes_nothing(name):
    text = f"*nat\n:{name} - [0:0]\n-A {name} -p tcp -m tcp --dport 80 -j DNAT\n-A {name} -j DNAT --to-destination x:1\nCOMMIT\n"
    assert published(save.parse(text, 4, "nft")) == ()
