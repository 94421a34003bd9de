"""Containers and networks as `docker inspect` and `podman inspect` print them; Docker's state on disk looks the same.

Knows nothing of where the document lies. Environment, command lines and mounts are not decoded.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import msgspec

from netdoctor.collect.workloads.found import FoundWorkload, allowed, pod_owner
from netdoctor.model.errors import SnapshotError
from netdoctor.model.snapshot import Network, Port, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

# Options of drivers may hold anything (an overlay driver's password); these are known to be harmless and to matter.
_OPTIONS = frozenset({
    "bclim", "ipvlan_flag", "ipvlan_mode", "isolate", "macvlan_mode", "metric", "mode", "mtu", "no_default_route",
    "parent", "vlan", "vrf",
})  # fmt: skip
_OPTION_PREFIX = "com.docker.network."


class _State(msgspec.Struct, rename="pascal"):
    running: bool = False
    paused: bool = False
    pid: int = 0
    status: str | None = None


class _Config(msgspec.Struct, rename="pascal"):
    labels: dict[str, str] | None = None


class _HostConfig(msgspec.Struct, rename="pascal"):
    network_mode: str | None = None


class _Endpoint(msgspec.Struct, rename="pascal"):
    address: str = msgspec.field(name="IPAddress", default="")
    prefixlen: int = msgspec.field(name="IPPrefixLen", default=0)
    address6: str = msgspec.field(name="GlobalIPv6Address", default="")
    prefixlen6: int = msgspec.field(name="GlobalIPv6PrefixLen", default=0)
    gateway: str = ""
    gateway6: str = msgspec.field(name="IPv6Gateway", default="")
    network_id: str = msgspec.field(name="NetworkID", default="")


class _Binding(msgspec.Struct, rename="pascal"):
    host_port: str | int = ""
    host_ip: str = ""


class _Settings(msgspec.Struct, rename="pascal"):
    networks: dict[str, _Endpoint | None] | None = None
    ports: dict[str, list[_Binding] | None] | None = None
    sandbox_key: str = ""


class Container(msgspec.Struct, rename="pascal"):
    """The fields of a container that netdoctor reads."""

    id: str = ""
    name: str = ""
    state: _State = msgspec.field(default_factory=_State)
    config: _Config = msgspec.field(default_factory=_Config)
    host_config: _HostConfig = msgspec.field(default_factory=_HostConfig)
    settings: _Settings = msgspec.field(name="NetworkSettings", default_factory=_Settings)


class StoredContainer(Container, rename="pascal"):
    """Docker's `config.v2.json`, which spells the id otherwise."""

    id: str = msgspec.field(name="ID", default="")


class _IpamConfig(msgspec.Struct, rename="pascal"):
    subnet: str = ""
    gateway: str = ""


class _Ipam(msgspec.Struct, rename="pascal"):
    config: list[_IpamConfig] | None = None


class _DockerNetwork(msgspec.Struct, rename="pascal"):
    name: str = ""
    id: str | None = None
    driver: str | None = None
    internal: bool = False
    ipam: _Ipam = msgspec.field(name="IPAM", default_factory=_Ipam)
    options: dict[str, str] | None = None


class _Subnet(msgspec.Struct):
    subnet: str = ""
    gateway: str | None = None


class NetavarkNetwork(msgspec.Struct):
    """One of podman's networks: `podman network inspect`, and /etc/containers/networks/NAME.json."""

    name: str = ""
    id: str | None = None
    driver: str | None = None
    network_interface: str | None = None
    subnets: list[_Subnet] | None = None
    internal: bool = False
    options: dict[str, str] | None = None


def _decode(document: bytes, kind: Any, what: str) -> Any:
    if not document.strip():
        return []
    try:
        return msgspec.json.decode(document, type=kind)
    except (ValueError, RecursionError) as error:
        raise SnapshotError(f"{what} is not what the runtime prints: {error}", "save it again") from None


def containers(document: bytes, runtime: str) -> tuple[FoundWorkload, ...]:
    """Return the running containers of `docker inspect` or `podman inspect`. Raises: SnapshotError."""
    listed: list[Container] = _decode(document, list[Container], f"{runtime} inspect")
    return tuple(container(one, runtime) for one in listed if one.state.running)


def container(one: Container, runtime: str) -> FoundWorkload:
    """Return a container as a workload."""
    settings, endpoints = one.settings, one.settings.networks or {}
    labels = allowed(one.config.labels)
    pod = labels.get("io.kubernetes.pod.name")
    return FoundWorkload(
        Workload(
            runtime=runtime,
            id=one.id,
            name=one.name.removeprefix("/") or one.id[:12],
            pod=pod,
            pod_namespace=labels.get("io.kubernetes.pod.namespace"),
            owner=_owner(labels, pod),
            pid=one.state.pid or None,
            state="paused" if one.state.paused else "running",
            network_mode=one.host_config.network_mode,
            networks=tuple(endpoints),
            addresses=tuple(
                address
                for endpoint in endpoints.values()
                if endpoint is not None
                for address in (endpoint.address, endpoint.address6)
                if address
            ),
            ports=tuple(dict.fromkeys(_ports(settings))),
            labels=labels,
        ),
        settings.sandbox_key or None,
    )


def _owner(labels: dict[str, str], pod: str | None) -> str | None:
    if pod is not None:
        return pod_owner(pod, labels)
    names = ("com.docker.compose.service", "com.docker.swarm.service.name", "io.podman.compose.service")
    return next((labels[name] for name in names if name in labels), None)


def _ports(settings: _Settings) -> Iterator[Port]:
    for inside, bindings in (settings.ports or {}).items():
        number, _, proto = inside.partition("/")
        for binding in bindings or ():
            outside = str(binding.host_port)
            if _is_port(number) and _is_port(outside):
                yield Port(proto or "tcp", int(number), int(outside), binding.host_ip or None)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535


def endpoint_networks(one: Container) -> Iterator[Network]:
    """Yield the networks that a container is in, as far as its own state tells: no driver, no options."""
    for name, endpoint in (one.settings.networks or {}).items():
        if endpoint is None or name in {"host", "none"}:
            continue
        pairs = ((endpoint.address, endpoint.prefixlen), (endpoint.address6, endpoint.prefixlen6))
        yield Network(
            runtime="docker",
            name=name,
            id=endpoint.network_id or None,
            subnets=tuple(found for address, length in pairs if address and (found := _network(address, length))),
            gateways=tuple(gateway for gateway in (endpoint.gateway, endpoint.gateway6) if gateway),
        )


def _network(address: str, length: int) -> str | None:
    try:
        return str(ip_network(f"{address}/{length}", strict=False))
    except ValueError:
        return None


def networks(document: bytes, runtime: str) -> tuple[Network, ...]:
    """Return the networks of `docker network inspect` or `podman network inspect`. Raises: SnapshotError."""
    what = f"{runtime} network inspect"
    if runtime == "podman":
        listed: list[NetavarkNetwork] = _decode(document, list[NetavarkNetwork], what)
        return tuple(netavark(one) for one in listed)
    return tuple(_docker_network(one) for one in _decode(document, list[_DockerNetwork], what))


def netavark(one: NetavarkNetwork) -> Network:
    """Return one of podman's networks."""
    subnets = one.subnets or []
    return Network(
        runtime="podman",
        name=one.name,
        id=one.id,
        driver=one.driver,
        bridge=one.network_interface if one.driver == "bridge" else None,
        subnets=tuple(entry.subnet for entry in subnets if entry.subnet),
        gateways=tuple(entry.gateway for entry in subnets if entry.gateway),
        internal=one.internal,
        options=_options(one.options),
    )


def _docker_network(one: _DockerNetwork) -> Network:
    options = _options(one.options)
    entries = one.ipam.config or []
    bridge = options.get("com.docker.network.bridge.name")
    if bridge is None and one.driver == "bridge" and one.id:
        bridge = f"br-{one.id[:12]}"  # libnetwork drivers/bridge: the default name
    return Network(
        runtime="docker",
        name=one.name,
        id=one.id,
        driver=one.driver,
        bridge=bridge,
        subnets=tuple(entry.subnet for entry in entries if entry.subnet),
        gateways=tuple(entry.gateway.partition("/")[0] for entry in entries if entry.gateway),
        internal=one.internal,
        options=options,
    )


def _options(options: dict[str, str] | None) -> dict[str, str]:
    return {
        key: value
        for key, value in (options or {}).items()
        if key in _OPTIONS or key.startswith(_OPTION_PREFIX)
    }  # fmt: skip
