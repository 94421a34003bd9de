"""Services and published ports, read back from the chains and comments that kube-proxy, Docker and CNI leave.

Knows nothing of an API server: what a node does is in its kernel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import Nat
from netdoctor.netfilter.iptables.header import Header
from netdoctor.netfilter.packet import PROTOCOL_NAMES, format_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.netfilter.iptables.save import Chain, Rule, Ruleset, Table

# "default/three:http cluster IP", "default/three:http loadbalancer IP", "shop/web has no endpoints"
_SERVICE = re.compile(r"(?P<namespace>[a-z0-9.-]+)/(?P<name>[a-z0-9.-]+)(?::(?P<port>[A-Za-z0-9.-]+))?")
_DPORT = re.compile(r"--dports? (\d+)")
_HOPS = 4  # KUBE-SERVICES > KUBE-SVC > KUBE-SEP; KUBE-EXT and KUBE-FW stand between


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service or a published port sends a connection."""

    address: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Service:
    """A port of a Kubernetes service, as this node's rules have it."""

    namespace: str
    name: str
    port_name: str | None
    proto: str
    address: str  # the cluster address
    port: int
    endpoints: tuple[Endpoint, ...] = ()
    chain: str | None = None  # KUBE-SVC-…, None where there is no endpoint
    node_port: int | None = None

    @property
    def title(self) -> str:
        """`shop/cart:http`."""
        return f"{self.namespace}/{self.name}" + (f":{self.port_name}" if self.port_name else "")


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of the host that a runtime translates to a container's."""

    proto: str
    port: int
    address: str | None  # None: every address of the host
    endpoint: Endpoint
    owner_chain: str
    excluded_interface: str | None = None  # `! -i docker0`


def services(ruleset: Ruleset) -> tuple[Service, ...]:
    """Return the services of a ruleset with their endpoints, in the order of their rules. Empty without kube-proxy."""
    nat = ruleset.tables.get("nat")
    found: dict[tuple[str, str, str | None, str, str, int], Service] = {}
    for table, rule in _service_rules(ruleset):
        service = _service(rule, table, nat)
        if service is None:
            continue
        key = (service.namespace, service.name, service.port_name, service.proto, service.address, service.port)
        known = found.get(key)
        if known is None or (known.chain is None and service.chain is not None):
            found[key] = service
    ports = _node_ports(nat) if nat is not None else {}
    return tuple(replace(one, node_port=ports.get((one.title, one.proto))) for one in found.values())


def _service_rules(ruleset: Ruleset) -> Iterator[tuple[Table, Rule]]:
    """Cluster addresses stand in nat KUBE-SERVICES; those without endpoints in filter's."""
    for name in ("nat", "filter"):
        table = ruleset.tables.get(name)
        chain = table.chains.get("KUBE-SERVICES") if table is not None else None
        if table is not None and chain is not None:
            for rule in chain.rules:
                if "-d " in rule.text and "--comment" in rule.text:
                    yield table, rule


def _service(rule: Rule, table: Table, nat: Table | None) -> Service | None:
    comment = rule.comment or ""
    named = _SERVICE.match(comment)
    header = next((match for match in rule.matches if isinstance(match, Header)), None)
    port = _DPORT.search(rule.text)
    if named is None or header is None or port is None or header.destination is None:
        return None
    if "cluster IP" not in comment and "has no endpoints" not in comment:
        return None
    target = rule.jump
    if table.name == "nat" and (target is None or not target.startswith(("KUBE-SVC-", "KUBE-SVL-"))):
        return None
    proto = PROTOCOL_NAMES.get(header.protocol[0], "tcp") if header.protocol else "tcp"
    address = format_address(rule.family, header.destination[0])
    endpoints = tuple(_endpoints(nat, target)) if nat is not None and table.name == "nat" and target else ()
    return Service(
        named["namespace"], named["name"], named["port"] or None, proto, address, int(port[1]), endpoints,
        target if table.name == "nat" else None,
    )  # fmt: skip


def _endpoints(nat: Table, chain: str, hops: int = _HOPS) -> Iterator[Endpoint]:
    """Yield where the DNAT rules below a chain lead to."""
    found = nat.chains.get(chain)
    if found is None or hops == 0:
        return
    seen: set[Endpoint] = set()
    for rule in found.rules:
        endpoint = _destination(rule)
        targets = [endpoint] if endpoint is not None else []
        jump = rule.jump
        if jump is not None and jump.startswith(("KUBE-SEP-", "KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-")):
            targets.extend(_endpoints(nat, jump, hops - 1))
        for target in targets:
            if target not in seen:
                seen.add(target)
                yield target


def _destination(rule: Rule) -> Endpoint | None:
    """The target of a DNAT rule with one address."""
    nat = getattr(rule.target, "nat", None) if "-j DNAT" in rule.text else None
    if not isinstance(nat, Nat) or nat.first_address is None:
        return None
    return Endpoint(format_address(rule.family, nat.first_address), nat.first_port)


def _node_ports(nat: Table) -> dict[tuple[str, str], int]:
    chain = nat.chains.get("KUBE-NODEPORTS")
    ports: dict[tuple[str, str], int] = {}
    for rule in chain.rules if chain is not None else ():
        named, port = _SERVICE.match(rule.comment or ""), _DPORT.search(rule.text)
        if named is not None and port is not None:
            title = f"{named['namespace']}/{named['name']}" + (f":{named['port']}" if named["port"] else "")
            proto = "udp" if "-p udp" in rule.text else "sctp" if "-p sctp" in rule.text else "tcp"
            ports.setdefault((title, proto), int(port[1]))
    return ports


def published(ruleset: Ruleset) -> tuple[PublishedPort, ...]:
    """Return the ports that Docker, podman or CNI's portmap translate to containers."""
    nat = ruleset.tables.get("nat")
    if nat is None:
        return ()
    return tuple(
        port
        for chain in nat.chains.values()
        if chain.name.startswith(("DOCKER", "CNI-DN-", "NETAVARK-DN-"))
        for port in _published_in(chain)
    )


def _published_in(chain: Chain) -> Iterator[PublishedPort]:
    for rule in chain.rules:
        endpoint, port = _destination(rule), _DPORT.search(rule.text)
        header = next((match for match in rule.matches if isinstance(match, Header)), None)
        if endpoint is None or port is None or header is None:
            continue
        address = None
        if header.destination is not None and not header.destination[2]:
            address = format_address(rule.family, header.destination[0])
        proto = PROTOCOL_NAMES.get(header.protocol[0], "tcp") if header.protocol else "tcp"
        excluded = next((name for side, name, negated in header.devices if side == "-i" and negated), None)
        yield PublishedPort(proto, int(port[1]), address, endpoint, chain.name, excluded)
