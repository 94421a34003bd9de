"""What kube-proxy promises of a packet, from the Kubernetes objects and its configuration alone.

Knows nothing of rules, chains or sets. Versions differ in what they promise; where they do, it says from when.
"""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODE = "node1"


@dataclass(frozen=True)
class Origin:
    """Where a packet comes from, as kube-proxy can tell it."""

    name: str
    address: str
    pod: bool = False  # of the cluster, on whatever node
    in_dev: str | None = None  # by which interface it comes into the node; None: the node itself sends it
    bridged: bool = False  # by a port of that bridge

    @property
    def is_node(self) -> bool:
        return self.in_dev is None

    @property
    def family(self) -> int:
        return ip_address(self.address).version


@dataclass(frozen=True)
class Endpoint:
    address: str
    port: int
    node: str | None


@dataclass(frozen=True)
class Destination:
    """One way to reach a port of a service."""

    service: str
    kind: Literal["cluster IP", "node port", "load balancer", "external IP", "unused port"]
    address: str
    port: int
    proto: str
    of: Port = field(repr=False)

    @property
    def family(self) -> int:
        return ip_address(self.address).version


@dataclass(frozen=True)
class Promise:
    """What becomes of a packet. `translated`: to one of the endpoints, evenly; else what is done with it as it is."""

    fate: Literal["translated", "rejected", "dropped", "left alone"]
    endpoints: tuple[Endpoint, ...] = ()
    masqueraded: bool = False  # an endpoint that would get its own packet back sees it masqueraded whatever this says
    sticky: bool = False  # the same client reaches the same endpoint again: which one it was last is not known


@dataclass(frozen=True)
class Port:
    """One port of a service, with the endpoints behind it in one family."""

    service: dict[str, Any]
    spec: dict[str, Any]
    endpoints: tuple[dict[str, Any], ...]
    number: int  # of the endpoints

    @property
    def title(self) -> str:
        return f"{self.service['metadata']['name']}:{self.spec.get('name') or self.spec['port']}"

    def option(self, name: str, default: Any = None) -> Any:
        return self.service["spec"].get(name, default)

    @property
    def sticky(self) -> bool:
        return self.option("sessionAffinity") == "ClientIP"

    def usable(self, *, terminating: bool, local: bool) -> tuple[Endpoint, ...]:
        """The ready endpoints; where none is, those that still serve while they end (from 1.26 on)."""
        near = [one for one in self.endpoints if not local or one.get("nodeName") == NODE]
        chosen = [one for one in near if one["conditions"].get("ready", True)]
        if not chosen and terminating:
            chosen = [one for one in near if one["conditions"]["serving"] and one["conditions"]["terminating"]]
        return tuple(Endpoint(one["addresses"][0], self.number, one.get("nodeName")) for one in chosen)


class KubeProxy:
    """One recorded kube-proxy: its version, mode and configuration, and what the API served it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._meta = json.loads((folder / "meta.json").read_text())
        self.nftables = self._meta["mode"] == "nftables"
        self.version = int(self._meta["kube_proxy"].split(".")[1])
        self.config = self._meta["config"]
        self.kubelet = "kubelet-chains" in folder.name

    @cached_property
    def objects(self) -> dict[str, list[dict[str, Any]]]:
        packed = self.folder / "services.json.xz"
        text = lzma.decompress(packed.read_bytes()) if packed.exists() else (self.folder / "services.json").read_bytes()
        return json.loads(text)

    def families(self) -> tuple[int, ...]:
        return (4, 6) if "dual-stack" in self.folder.name else (4,)

    def ports(self, family: int) -> Iterator[tuple[Port, str]]:
        """Each port of each service that has a cluster IP of a family, with that address."""
        for service in self.objects["services"]:
            for address in service["spec"].get("clusterIPs") or ():
                if address == "None" or ip_address(address).version != family:
                    continue
                for spec in service["spec"].get("ports") or ():
                    yield self._port(service, spec, family), address

    def _port(self, service: dict[str, Any], spec: dict[str, Any], family: int) -> Port:
        endpoints: list[dict[str, Any]] = []
        number = 0
        for part in self.objects["endpointslices"]:
            owner = (part["metadata"]["namespace"], part["metadata"]["labels"]["kubernetes.io/service-name"])
            if owner != (service["metadata"]["namespace"], service["metadata"]["name"]):
                continue
            if part["addressType"] != f"IPv{family}":
                continue
            for port in part["ports"]:
                if (port.get("name") or "") == (spec.get("name") or ""):
                    endpoints += part["endpoints"] or ()
                    number = port["port"]
        return Port(service, spec, tuple(endpoints), number)

    def destinations(self, family: int, local_addresses: tuple[str, ...]) -> Iterator[Destination]:
        """Every way to every service; node ports by each of the node's own addresses."""
        unused: set[str] = set()
        for port, cluster_ip in self.ports(family):
            proto, number = port.spec["protocol"].lower(), port.spec["port"]
            yield Destination(port.title, "cluster IP", cluster_ip, number, proto, port)
            if cluster_ip not in unused:
                unused.add(cluster_ip)
                yield Destination(port.title, "unused port", cluster_ip, 9, "tcp", port)
            if port.spec.get("nodePort"):
                for address in local_addresses:
                    yield Destination(port.title, "node port", address, port.spec["nodePort"], proto, port)
            for address in port.option("externalIPs", ()):
                if ip_address(address).version == family:
                    yield Destination(port.title, "external IP", address, number, proto, port)
            for one in port.service["status"]["loadBalancer"].get("ingress") or ():
                if "ip" in one and ip_address(one["ip"]).version == family:
                    yield Destination(port.title, "load balancer", one["ip"], number, proto, port)

    def promise(self, origin: Origin, to: Destination) -> Promise:
        """Say what becomes of the first packet of a flow."""
        if to.kind == "unused port":
            # nftables mode refuses what is for a cluster IP but for no port of it; iptables modes do not know of it.
            return Promise("rejected" if self.nftables else "left alone")
        if to.kind == "cluster IP":
            return self._internal(origin, to.of)
        if to.kind == "node port" and not self._takes_node_ports(to.address):
            return self._refused_everywhere(to)
        if to.kind == "load balancer" and self._is_for_the_balancer(to):
            return Promise("left alone")
        everywhere = to.of.usable(terminating=self.version >= 26, local=False)
        if not everywhere:
            # From the node itself iptables modes ask only for what arrives there.
            unasked = origin.is_node and not self.nftables and to.kind != "node port"
            return Promise("left alone" if unasked else "rejected")
        if to.kind == "load balancer" and not self._may_come(origin, to):
            return self._marked_for_dropping(to)
        return self._external(origin, to, everywhere)

    def _internal(self, origin: Origin, port: Port) -> Promise:
        everywhere = port.usable(terminating=self.version >= 26, local=False)
        chosen = everywhere
        if self.version >= 22 and port.option("internalTrafficPolicy") == "Local":
            chosen = port.usable(terminating=self.version >= 26, local=True)
        if not chosen:
            return Promise("dropped" if everywhere else "rejected")
        masqueraded = self._masquerades_all() or (self._can_detect() and not self._is_local_traffic(origin))
        return Promise("translated", chosen, masqueraded, port.sticky)

    def _external(self, origin: Origin, to: Destination, everywhere: tuple[Endpoint, ...]) -> Promise:
        port = to.of
        local_only = port.option("externalTrafficPolicy") == "Local"
        if self.version < 22 and to.kind == "external IP":
            # ExternalPolicyForExternalIP was off before 1.22, and such addresses were served to the outside only,
            # unless they are the node's own; what was not served had been marked for masquerading already.
            if (origin.is_node or origin.bridged) and to.address != self.node_address(to.family):
                return Promise("left alone", masqueraded=True)
            local_only = False
        if not local_only:
            return Promise("translated", everywhere, masqueraded=True, sticky=port.sticky)
        if self._can_detect() and self._is_local_traffic(origin):
            return Promise("translated", everywhere, sticky=port.sticky)
        here = port.usable(terminating=self.version >= 26, local=True)
        if origin.is_node:
            if self.nftables and not here and to.kind != "node port":
                return Promise("dropped")  # up to 1.30 at least: what the node sends is asked before it is translated
            return Promise("translated", everywhere, masqueraded=True, sticky=port.sticky)
        if not here:
            return self._marked_for_dropping(to)
        return Promise("translated", here, sticky=port.sticky)

    def _marked_for_dropping(self, to: Destination) -> Promise:
        """From 1.25 on, kube-proxy drops by itself. Before, it marked, and kubelet's rules dropped what had the mark,
        in INPUT and OUTPUT only: what is for no address of the node was forwarded.
        """
        if self.version >= 25 or (self.kubelet and to.kind == "node port"):
            return Promise("dropped")
        masqueraded = to.of.option("externalTrafficPolicy") != "Local"
        return Promise("left alone", masqueraded=masqueraded)

    def _refused_everywhere(self, to: Destination) -> Promise:
        """What iptables modes refuse and drop for want of endpoints, they do on all addresses, chosen or not."""
        fate: Literal["left alone", "rejected", "dropped"] = "left alone"
        if not self.nftables and not to.of.usable(terminating=self.version >= 26, local=False):
            fate = "rejected"
        elif (
            not self.nftables
            and to.of.option("externalTrafficPolicy") == "Local"
            and not to.of.usable(terminating=self.version >= 26, local=True)
        ):
            fate = "dropped"
        return Promise(fate)

    def _takes_node_ports(self, address: str) -> bool:
        chosen = self.config.get("nodePortAddresses")
        if chosen:
            return any(ip_address(address) in ip_network(one) for one in chosen if (":" in one) == (":" in address))
        if self.nftables:  # the primary address of the node
            return address == self.node_address(ip_address(address).version)
        return address != "::1"

    def _is_for_the_balancer(self, to: Destination) -> bool:
        """`ipMode: Proxy`: from 1.30 on, kube-proxy leaves such an address to the load balancer."""
        entries = to.of.service["status"]["loadBalancer"]["ingress"]
        return self.version >= 30 and any(
            one.get("ip") == to.address and one.get("ipMode") == "Proxy" for one in entries
        )

    def _may_come(self, origin: Origin, to: Destination) -> bool:
        ranges = to.of.option("loadBalancerSourceRanges")
        return not ranges or any(ip_address(origin.address) in ip_network(one) for one in ranges)

    def _masquerades_all(self) -> bool:
        return bool((self.config.get("nftables") or self.config["iptables"])["masqueradeAll"])

    def _can_detect(self) -> bool:
        """Whether it was told how to know the pods' traffic."""
        return bool(self.config.get("clusterCIDR")) or "detectLocalMode" in self.config

    def _is_local_traffic(self, origin: Origin) -> bool:
        mode = self.config.get("detectLocalMode", "ClusterCIDR")
        if mode == "BridgeInterface":
            return origin.in_dev == self.config["detectLocal"]["bridgeInterface"]
        if mode == "InterfaceNamePrefix":
            return (origin.in_dev or "").startswith(self.config["detectLocal"]["interfaceNamePrefix"])
        ranges = self.config["clusterCIDR"].split(",")
        if mode == "NodeCIDR":
            ranges = next(one for one in self.objects["nodes"] if one["metadata"]["name"] == NODE)["spec"]["podCIDRs"]
        return any(
            ip_address(origin.address) in ip_network(one) for one in ranges if (":" in one) == (origin.family == 6)
        )

    def node_address(self, family: int) -> str:
        """The node's primary address."""
        node = next(one for one in self.objects["nodes"] if one["metadata"]["name"] == NODE)
        return next(
            one["address"]
            for one in node["status"]["addresses"]
            if one["type"] == "InternalIP" and ip_address(one["address"]).version == family
        )
