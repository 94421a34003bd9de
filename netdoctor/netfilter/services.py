"""Services and published ports, read back from the chains and comments that kube-proxy, Docker and CNI leave.

Knows nothing of an API server: what a node does is in its kernel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import unquote
from netdoctor.netfilter.iptables.prescan import jump_word, without_quoted
from netdoctor.netfilter.iptables.protocols import protocol_number
from netdoctor.netfilter.iptables.values import nat_range
from netdoctor.netfilter.packet import PROTOCOL_NAMES, format_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.netfilter.iptables.save import Chain, Rule, Ruleset, Table
    from netdoctor.netfilter.packet import Family

# "default/three:http cluster IP", "shop/web has no endpoints", "shop/web:http has no local endpoints"
_TITLE = r"(?P<namespace>[a-z0-9.-]+)/(?P<name>[a-z0-9.-]+)(?::(?P<port>[A-Za-z0-9.-]*))?"
_CLUSTER = re.compile(_TITLE + r" (?:cluster IP|has no (?:local )?endpoints)$")
_NODE_PORT = re.compile(_TITLE + r"(?: has no (?:local )?endpoints)?$")
_COMMENT = re.compile(r'--comment ("(?:[^"\\]|\\.)*"|\S+)')
_DESTINATION = re.compile(r"(?:^| )-d ([0-9a-f.:]+)(?:/(?:32|128))?(?= )")
_PROTOCOL = re.compile(r"(?:^| )-p (\S+)")
_DPORT = re.compile(r" --dports? (\d+)(?= |$)")
_TO = re.compile(r" -j DNAT --to-destination (\S+)")
_HOPS = 4  # KUBE-SVC > KUBE-SEP; another chain may stand between


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
    """Return the services of a ruleset with their endpoints, in the order of their rules. Empty without kube-proxy.

    What `internalTrafficPolicy: Local` keeps from this node, its rules do not show: those endpoints are missing.
    """
    known = ruleset.derived.get("services")
    if known is None:
        known = ruleset.derived["services"] = tuple(_services(ruleset))
    return known  # type: ignore[return-value]


def _services(ruleset: Ruleset) -> Iterator[Service]:
    nat = ruleset.tables.get("nat")
    found: dict[tuple[str, str, str | None, str, str, int], Service] = {}
    for table, rule in _cluster_rules(ruleset):
        service = _service(rule, table, nat)
        if service is None:
            continue
        key = (service.namespace, service.name, service.port_name, service.proto, service.address, service.port)
        known = found.get(key)
        if known is None or (known.chain is None and service.chain is not None):
            found[key] = service
    ports = _node_ports(ruleset)
    for service in found.values():
        yield replace(service, node_port=ports.get((service.title, service.proto)))


def _cluster_rules(ruleset: Ruleset) -> Iterator[tuple[Table, Rule]]:
    """Cluster addresses stand in nat KUBE-SERVICES; those without endpoints in filter's."""
    for name in ("nat", "filter"):
        table = ruleset.tables.get(name)
        chain = table.chains.get("KUBE-SERVICES") if table is not None else None
        if table is not None and chain is not None:
            for rule in chain.rules:
                yield table, rule


def _service(rule: Rule, table: Table, nat: Table | None) -> Service | None:
    named = _CLUSTER.match(_comment(rule))
    bare = without_quoted(rule.text)
    address, port = _DESTINATION.search(bare), _DPORT.search(bare)
    if named is None or address is None or port is None:
        return None
    chain = jump_word(rule.text) if table.name == "nat" else None
    if table.name == "nat" and (chain is None or not chain.startswith(("KUBE-SVC-", "KUBE-SVL-"))):
        return None
    endpoints = tuple(_endpoints(nat, chain, rule.family)) if nat is not None and chain is not None else ()
    return Service(
        named["namespace"], named["name"], named["port"] or None, _protocol(bare), address[1], int(port[1]),
        endpoints, chain,
    )  # fmt: skip


def _comment(rule: Rule) -> str:
    found = _COMMENT.search(rule.text)
    return unquote(found[1]) if found is not None else ""


def _protocol(bare: str) -> str:
    found = _PROTOCOL.search(bare)
    number = protocol_number(found[1]) if found is not None else None
    return PROTOCOL_NAMES.get(number, "tcp") if number else "tcp"


def _endpoints(nat: Table, chain: str, family: Family, hops: int = _HOPS) -> Iterator[Endpoint]:
    """Yield where the DNAT rules below a chain lead to, each once."""
    found = nat.chains.get(chain)
    if found is None or hops == 0:
        return
    seen: set[Endpoint] = set()
    for rule in found.rules:
        jump = jump_word(rule.text)
        endpoints: list[Endpoint] = []
        if jump == "DNAT":
            endpoint = _destination(rule.text, family)
            endpoints = [endpoint] if endpoint is not None else []
        elif jump is not None and jump.startswith(("KUBE-SEP-", "KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-")):
            endpoints = list(_endpoints(nat, jump, family, hops - 1))
        for endpoint in endpoints:
            if endpoint not in seen:
                seen.add(endpoint)
                yield endpoint


def _destination(text: str, family: Family) -> Endpoint | None:
    """The target of a DNAT rule with one address."""
    found = _TO.search(without_quoted(text))
    if found is None:
        return None
    try:
        address, _, port, _, _ = nat_range(found[1], family)
    except ValueError:
        return None
    return Endpoint(format_address(family, address), port) if address is not None else None


def _node_ports(ruleset: Ruleset) -> dict[tuple[str, str], int]:
    """Node ports stand in nat KUBE-NODEPORTS; those without endpoints in filter KUBE-EXTERNAL-SERVICES."""
    ports: dict[tuple[str, str], int] = {}
    for table, name in (("nat", "KUBE-NODEPORTS"), ("filter", "KUBE-EXTERNAL-SERVICES"), ("filter", "KUBE-SERVICES")):
        found = ruleset.tables.get(table)
        chain = found.chains.get(name) if found is not None else None
        for rule in chain.rules if chain is not None else ():
            bare = without_quoted(rule.text)
            named, port = _NODE_PORT.match(_comment(rule)), _DPORT.search(bare)
            if named is not None and port is not None and _DESTINATION.search(bare) is None:
                title = f"{named['namespace']}/{named['name']}" + (f":{named['port']}" if named["port"] else "")
                ports.setdefault((title, _protocol(bare)), int(port[1]))
    return ports


def published(ruleset: Ruleset) -> tuple[PublishedPort, ...]:
    """Return the ports that Docker, podman, CNI's portmap or a kubelet's host ports translate to containers."""
    known = ruleset.derived.get("published")
    if known is None:
        nat = ruleset.tables.get("nat")
        chains = nat.chains.values() if nat is not None else ()
        known = ruleset.derived["published"] = tuple(port for chain in chains for port in _published_in(chain))
    return known  # type: ignore[return-value]


def _published_in(chain: Chain) -> Iterator[PublishedPort]:
    if chain.name.startswith(("DOCKER", "CNI-DN-", "NETAVARK-DN-")):
        for rule in chain.rules:
            yield from _published_by(rule, rule, chain)
    elif chain.name.startswith("KUBE-HP-"):  # the port stands in KUBE-HOSTPORTS, the DNAT here
        for rule in chain.rules:
            for caller in chain.references:
                yield from _published_by(rule, caller, chain)


def _published_by(rule: Rule, caller: Rule, chain: Chain) -> Iterator[PublishedPort]:
    if jump_word(rule.text) != "DNAT":
        return
    endpoint, port = _destination(rule.text, rule.family), _DPORT.search(without_quoted(caller.text))
    header = caller.header
    if endpoint is None or port is None or header is None:
        return
    address = None
    if header.destination is not None and not header.destination[2]:
        address = format_address(rule.family, header.destination[0])
    proto = PROTOCOL_NAMES.get(header.protocol[0], "tcp") if header.protocol else "tcp"
    excluded = next((name for side, name, negated in header.devices if side == "-i" and negated), None)
    yield PublishedPort(proto, int(port[1]), address, endpoint, chain.name, excluded)
