"""The node of a kube-proxy recording with pods on it: a pod behind every endpoint of this node, and one that calls.

The recordings were made without pods; what kube-proxy wrote does not hang on whether they run.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from msgspec.structs import replace

from netdoctor.collect import saved
from netdoctor.model.snapshot import (
    Address,
    BridgePort,
    Link,
    Namespace,
    Nexthop,
    PolicyRule,
    Route,
    Socket,
)
from netdoctor.topology.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kube_promises import KubeProxy


BRIDGE, UPLINK, ROUTED = "cni0", "eth0", "vethrouted"
CALLER = {4: "10.244.0.200", 6: "fd00:244::200"}
ROUTED_CALLER = "10.244.2.201"  # its veth is no port of the bridge
GATEWAY = {4: "10.244.0.1", 6: "fd00:244::1"}
_UP = ("BROADCAST", "MULTICAST", "UP", "LOWER_UP")
_LENGTH = {4: 24, 6: 64}
_KNOWN = ("links", "routes", "routes6", "policy_rules", "neighbours", "sockets", "sysctls", "conntrack")
_TABLES = {"iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy", "nft"}


def node(proxy: KubeProxy, rules: Callable[[str], str] = lambda text: text) -> World:
    """Return the recorded node with its pods. `rules` may change the text of what was recorded."""
    snapshot = saved.read(str(proxy.folder))[0]
    (host,) = snapshot.namespaces
    host = replace(
        host,
        rulesets=tuple(replace(one, text=rules(one.text)) for one in host.rulesets),
        nft=host.nft and replace(host.nft, json=rules(host.nft.json)),
        sockets=tuple(_sockets(proxy, on_node=True)),
        sections=tuple({*host.sections, *_KNOWN, *_TABLES}),
        routes=(*host.routes, _route(4, f"{ROUTED_CALLER}/32", ROUTED)),
        sysctls={**host.sysctls, f"net.ipv4.conf.{ROUTED}.proxy_arp": "1", f"net.ipv4.conf.{ROUTED}.forwarding": "1"},
    )
    pods, ends = [], []
    for number, address in enumerate(sorted({*CALLER.values(), *_pods(proxy)}), 10):
        pods.append(_pod(proxy, address, number))
        ends.append(_end(f"veth{number}", number, address, master=BRIDGE))
    pods.append(_pod(proxy, ROUTED_CALLER, 9))
    ends.append(_end(ROUTED, 9, ROUTED_CALLER))
    sysctls = host.sysctls | {f"net.ipv4.conf.{one.name}.forwarding": "1" for one in ends}
    host = replace(host, links=(*host.links, *ends), sysctls=sysctls)
    return World(replace(snapshot, namespaces=(host, *pods), unread=()))


def _pods(proxy: KubeProxy) -> Iterable[str]:
    """The addresses of the pods of this node behind services."""
    own = [ip_network(f"{GATEWAY[family]}/{_LENGTH[family]}", strict=False) for family in (4, 6)]
    for part in proxy.objects["endpointslices"]:
        for endpoint in part["endpoints"] or ():
            for address in endpoint["addresses"]:
                if any(ip_address(address) in network for network in own):
                    yield address


def _sockets(proxy: KubeProxy, address: str | None = None, *, on_node: bool = False) -> Iterable[Socket]:
    """Who listens: servers behind the endpoints of an address."""
    mine = {one["address"] for one in proxy.objects["nodes"][0]["status"]["addresses"]} if on_node else {address}
    for part in proxy.objects["endpointslices"]:
        if mine & {one for endpoint in part["endpoints"] or () for one in endpoint["addresses"]}:
            for port in part["ports"]:
                proto = port["protocol"].lower()
                state = "UNCONN" if proto == "udp" else "LISTEN"
                yield Socket(family="ip6", proto=proto, state=state, address="::", port=port["port"])


def _pod(proxy: KubeProxy, address: str, number: int) -> Namespace:
    family = ip_address(address).version
    network = ip_interface(f"{address}/{_LENGTH[family]}").network
    if address == ROUTED_CALLER:
        gateway, onlink = "169.254.1.1", "169.254.1.1/32"
    else:
        gateway, onlink = GATEWAY[family], str(network)
    word = "ip" if family == 4 else "ip6"
    length = 32 if address == ROUTED_CALLER else _LENGTH[family]
    eth0 = Link(
        ifindex=2, name="eth0", kind="veth", mac=f"02:00:00:00:01:{number:02x}", flags=_UP, operstate="UP",
        parent_index=number, parent_netns="host", addresses=(Address(word, address, length),),
    )  # fmt: skip
    lo = Link(
        ifindex=1, name="lo", link_type="loopback", mtu=65536, flags=("LOOPBACK", "UP", "LOWER_UP"),
        addresses=(Address("ip", "127.0.0.1", 8, scope="host"), Address("ip6", "::1", 128, scope="host")),
    )  # fmt: skip
    routes = (
        _route(family, onlink, "eth0"),
        _route(family, "0.0.0.0/0" if family == 4 else "::/0", "eth0", gateway),
        replace(_route(family, f"{address}/{32 if family == 4 else 128}", "eth0"), type="local", table=255),
        replace(_route(4, "127.0.0.0/8", "lo"), type="local", table=255),
        replace(_route(6, "::1/128", "lo"), type="local", table=255),
    )
    lookups = tuple(
        PolicyRule(family=word, priority=priority, table=table)
        for word in ("ip", "ip6")
        for priority, table in ((0, 255), (32766, 254))
    )
    return Namespace(
        name=address, links=(lo, eth0), routes=routes, policy_rules=lookups,
        sockets=tuple(_sockets(proxy, address)), sections=(*_KNOWN, *_TABLES),
    )  # fmt: skip


def _route(family: int, dst: str, dev: str, via: str | None = None) -> Route:
    scope = "link" if family == 4 and via is None else "global"
    return Route(family="ip" if family == 4 else "ip6", dst=dst, scope=scope, nexthops=(Nexthop(dev=dev, via=via),))


def _end(name: str, number: int, pod: str, master: str | None = None) -> Link:
    return Link(
        ifindex=number, name=name, kind="veth", mac=f"02:00:00:00:00:{number:02x}", flags=_UP, operstate="UP",
        master=master, port=BridgePort(hairpin=True) if master else None, parent_index=2, parent_netns=pod,
    )  # fmt: skip
