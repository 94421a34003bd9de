"""Which flows matter on this node, read from the node itself: services, published ports, containers and their
neighbours.

Knows nothing of what becomes of a flow. One representative stands for many that the node treats alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from netdoctor.model.flow import Flow
from netdoctor.netfilter.services import Endpoint, PublishedPort, Service, published, services
from netdoctor.topology import addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.model.snapshot import Link
    from netdoctor.topology.namespace import Netns
    from netdoctor.topology.world import World

Kind = Literal["service", "own-service", "published", "gateway", "outside", "neighbour", "host", "listener", "given"]
OUTSIDE = {"ip": "203.0.113.1", "ip6": "2001:db8:ffff::1"}  # RFC 5737, RFC 3849
MOST_SERVICES = 200  # services beyond are alike: each is a DNAT of the same chains
MOST_CLIENTS = 3  # containers of one bridge that stand for the others of it
MOST_LISTENERS = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """A flow of the census, and what it is to a person."""

    kind: Kind
    flow: Flow
    title: str
    family: str
    service: Service | None = None
    published: PublishedPort | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Container:
    """A namespace that hangs on a bridge of the host, or on a veth of its own."""

    netns: Netns
    dev: Link  # inside
    port: Link  # outside
    bridge: Link | None
    addresses: tuple[tuple[str, str], ...]  # (family, address)

    @property
    def name(self) -> str:
        """Its namespace's name."""
        return self.netns.name


def brief(name: str) -> str:
    """Return a name as one says it: without the Kubernetes namespace."""
    return name.rpartition("/")[2]


def containers(world: World, host: Netns) -> tuple[Container, ...]:
    """Return the namespaces that veth pairs join to the host, in the order of their names."""
    found = []
    for netns in world.namespaces.values():
        if netns is host:
            continue
        for link in netns.snapshot.links:
            peer = netns.peer(link)
            if peer is None or peer[0] is not host or not link.addresses:
                continue
            own = tuple((one.family, one.address) for one in link.addresses if _is_global(one.address))
            found.append(Container(netns, link, peer[1], host.bridge_of(peer[1]), own))
    return tuple(sorted(found, key=lambda one: one.name))


def _is_global(text: str) -> bool:
    family, value = addresses.address(text)
    return not addresses.is_link_local(family, value) and not addresses.is_loopback(family, value)


def _is_loopback(text: str) -> bool:
    return addresses.is_loopback(*addresses.address(text))


def with_port(address: str, port: int | None) -> str:
    """Return `10.0.0.1:80` or `[fd00::1]:80`."""
    return addresses.with_port(*addresses.address(address), port)


class Census:
    """Makes the flows of one host."""

    def __init__(self, world: World, host: Netns) -> None:
        self.world = world
        self.host = host
        self.containers = containers(world, host)
        self.by_address = {address: one for one in self.containers for _, address in one.addresses}
        self.services: dict[str, tuple[Service, ...]] = {}
        self.published: dict[str, tuple[PublishedPort, ...]] = {}
        for (family, _), ruleset in host.rulesets.items():
            self.services[family] = self.services.get(family, ()) + services(ruleset)
            self.published[family] = self.published.get(family, ()) + published(ruleset)

    def flows(self) -> Iterator[Asked]:
        """Yield each flow once, the most telling first."""
        seen: set[tuple[str, str, str | None]] = set()
        for asked in self._all():
            key = (asked.flow.from_, asked.flow.to, asked.flow.proto)
            if key not in seen:
                seen.add(key)
                yield asked

    def _all(self) -> Iterator[Asked]:
        for family in ("ip", "ip6"):
            for service in self.services.get(family, ())[:MOST_SERVICES]:
                yield from self._service(service, family)
        for family in ("ip", "ip6"):
            for port in dict.fromkeys(self.published.get(family, ())):
                yield from self._published(port, family)
            yield from self._ways_out(family)
            yield from self._neighbours(family)
            yield from self._from_host(family)
            yield from self._listeners(family)

    def clients(self, family: str) -> tuple[Container, ...]:
        """Return a few containers of each bridge, which stand for the others."""
        per_bridge: dict[str | None, int] = {}
        chosen = []
        for one in self.containers:
            if not any(of == family for of, _ in one.addresses):
                continue
            bridge = one.bridge.name if one.bridge else None
            per_bridge[bridge] = per_bridge.get(bridge, 0) + 1
            if per_bridge[bridge] <= MOST_CLIENTS:
                chosen.append(one)
        return tuple(chosen)

    def _service(self, service: Service, family: str) -> Iterator[Asked]:
        if not service.endpoints:
            return
        to = f"{with_port(service.address, service.port)}/{service.proto}"
        local = [self.by_address[one.address] for one in service.endpoints if one.address in self.by_address]
        clients = dict.fromkeys((*self._beside(local, family), *self.clients(family), *local))
        for client in clients:
            own = client in local
            title = f"{client.name} -> svc/{service.title}" + (" (its own)" if own else "")
            yield Asked("own-service" if own else "service", _flow(client.name, to), title, family, service)
        yield Asked("service", _flow(self.host.name, to), f"{self.host.name} -> svc/{service.title}", family, service)

    def _beside(self, endpoints: list[Container], family: str) -> Iterator[Container]:
        """A container on the same bridge as a local endpoint, for each such bridge."""
        bridges = {one.bridge.name for one in endpoints if one.bridge is not None}
        for bridge in sorted(bridges):
            for one in self.containers:
                fits = one.bridge is not None and one.bridge.name == bridge and one not in endpoints
                if fits and any(of == family for of, _ in one.addresses):
                    yield one
                    break

    def _published(self, port: PublishedPort, family: str) -> Iterator[Asked]:
        address = port.address or self._host_address(family)
        if address is None or _is_loopback(address):
            return
        to = f"{with_port(address, port.port)}/{port.proto}"
        name = self._called(port.endpoint)
        title = f"published port {port.port}/{port.proto} of {name}"
        yield Asked("published", _flow("outside", to), f"outside -> {title}", family, published=port)
        yield Asked("published", _flow(self.host.name, to), f"{self.host.name} -> {title}", family, published=port)
        for client in self.clients(family):
            yield Asked("published", _flow(client.name, to), f"{client.name} -> {title}", family, published=port)

    def _called(self, endpoint: Endpoint) -> str:
        found = self.by_address.get(endpoint.address)
        return found.name if found is not None else with_port(endpoint.address, endpoint.port)

    def _host_address(self, family: str) -> str | None:
        """An address of the host that the outside knows: one of an interface that is neither a bridge nor loopback."""
        for link in self.host.snapshot.links:
            if link.kind == "bridge" or link.name == "lo" or link.master is not None:
                continue
            for one in link.addresses:
                if one.family == family and _is_global(one.address):
                    return one.address
        return None

    def _ways_out(self, family: str) -> Iterator[Asked]:
        for client in self.clients(family):
            routes = client.netns.snapshot.routes
            default = next((one for one in routes if one.family == family and one.dst in {"0.0.0.0/0", "::/0"}), None)
            if default is None or not default.nexthops:
                continue
            if (via := default.nexthops[0].via) is not None:
                yield Asked("gateway", _flow(client.name, via), f"{client.name} -> its gateway {via}", family)
            if self._has_way_out(family):
                to = with_port(OUTSIDE[family], 443)
                yield Asked("outside", _flow(client.name, to), f"{client.name} -> the outside", family)

    def _has_way_out(self, family: str) -> bool:
        default = {"ip": "0.0.0.0/0", "ip6": "::/0"}[family]
        return any(one.family == family and one.dst == default for one in self.host.snapshot.routes)

    def _neighbours(self, family: str) -> Iterator[Asked]:
        clients = self.clients(family)
        for one, other in zip(clients, (*clients[1:], *clients[:1]), strict=True):
            address = next(address for of, address in other.addresses if of == family)
            if one is other or one.bridge is None or other.bridge is None or one.bridge.name != other.bridge.name:
                continue
            yield Asked("neighbour", _flow(one.name, address), f"{one.name} -> {other.name}", family)

    def _from_host(self, family: str) -> Iterator[Asked]:
        for client in self.clients(family):
            address = next(address for of, address in client.addresses if of == family)
            yield Asked("host", _flow(self.host.name, address), f"{self.host.name} -> {client.name}", family)

    def _listeners(self, family: str) -> Iterator[Asked]:
        """What listens on the host for the outside: nobody may break it, though a firewall may mean to close it."""
        address = self._host_address(family)
        if address is None or not self._has_way_out(family):
            return
        listening = [
            one for one in self.host.snapshot.sockets
            if one.state == "LISTEN" and one.proto == "tcp" and one.address in {"0.0.0.0", "::", address}  # noqa: S104
        ]  # fmt: skip
        for port in list(dict.fromkeys(one.port for one in listening))[:MOST_LISTENERS]:
            title = f"outside -> port {port} of {self.host.name}"
            yield Asked("listener", _flow("outside", with_port(address, port)), title, family)


def _flow(from_: str, to: str) -> Flow:
    return Flow(from_=from_, to=to)
