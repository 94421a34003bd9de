"""Where a flow of INTERFACE "Commands" goes in a topology: TO as an address that a real client can be given.

Knows nothing of rulesets: services and pods are looked up in the topology's data.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netdoctor.lab.topology import pod_name
from netdoctor.model.errors import FlowError

if TYPE_CHECKING:
    from netdoctor.lab.topology import Topology
    from netdoctor.model.flow import Flow


@dataclass(frozen=True, slots=True)
class Target:
    """What a client calls."""

    address: str
    proto: str
    port: int | None  # None: an echo request


def resolve(topology: Topology, flow: Flow) -> Target:
    """Return the target of a flow: `flow.proto` and `flow.dport` win over what TO says. Raises: FlowError."""
    host, port, proto = _split(flow.to)
    if host.startswith("svc/"):
        return _service(topology, flow, host, port)
    number = flow.dport if flow.dport is not None else _number(port, flow.to)
    address = _address(topology, host, flow.to)
    default = "tcp" if number is not None else ("icmpv6" if ":" in address else "icmp")
    return Target(address, flow.proto or proto or default, number)


def _split(to: str) -> tuple[str, str | None, str | None]:
    """HOST[:PORT][/PROTO] with [IP6]:PORT; a service's and a pod's name hold slashes of their own."""
    proto = None
    head, slash, tail = to.rpartition("/")
    if slash and tail in {"tcp", "udp", "icmp", "icmpv6", "sctp"}:
        to, proto = head, tail
    if to.startswith("["):
        host, _, rest = to[1:].partition("]")
        return host, rest.removeprefix(":") or None, proto
    if to.count(":") > 1:
        return to, None, proto
    host, _, port = to.partition(":")
    return host, port or None, proto


def _service(topology: Topology, flow: Flow, host: str, port: str | None) -> Target:
    for service in topology.services:
        name, _, port_name = service.name.partition(":")
        wanted = port in {None, port_name, str(service.port)} and flow.dport in {None, service.port}
        if f"svc/{name}" == host and wanted and flow.proto in {None, service.proto}:
            return Target(service.address, service.proto, service.port)
    known = ", ".join(f"svc/{one.name}" for one in topology.services)
    raise FlowError(f"no service {flow.to!r} in this topology", f"there are: {known or 'none'}")


def _address(topology: Topology, host: str, to: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    for machine in topology.hosts:
        for pod in machine.pods:
            if host in {pod_name(pod), pod.name}:
                return pod.addresses[0].partition("/")[0]
    raise FlowError(f"{to!r} is no address, pod or service of this topology", "name an address")


def _number(port: str | None, to: str) -> int | None:
    if port is None:
        return None
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise FlowError(f"{to!r}: {port!r} is no port", "a port is a number from 1 to 65535")
    return int(port)
