"""What a throw-away network looks like: data only, read from `fixtures/topologies/*.json`.

Knows nothing of how it is built.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from netdoctor.model.errors import LabError


class Server(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An echo server: it answers each line or datagram with the address that it came from."""

    port: int
    proto: str = "tcp"
    address: str = ""  # every address of both families


class Pod(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A namespace behind a veth of its host, named `namespace/name` as a pod is."""

    name: str
    namespace: str = ""
    bridge: str | None = None  # None: a routed veth, as Calico's
    addresses: tuple[str, ...]  # with prefix lengths
    gateways: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()  # arguments of `ip route add`
    dev: str = "eth0"
    port: str  # the name of the host's end
    mac: str | None = None
    hairpin: bool = True
    sysctls: dict[str, str] = {}
    servers: tuple[Server, ...] = ()
    container: bool = False  # a Docker container instead of a pod: named from Docker's state


class Bridge(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A bridge of a host."""

    name: str
    addresses: tuple[str, ...] = ()
    mac: str | None = None


class Host(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A machine: its own network, UTS, mount and pid namespaces."""

    name: str
    bridges: tuple[Bridge, ...] = ()
    pods: tuple[Pod, ...] = ()
    loopback: tuple[str, ...] = ()  # addresses on lo
    routes: tuple[str, ...] = ()  # arguments of `ip route add`
    sysctls: dict[str, str] = {}
    rules: dict[str, str] = {}  # "ip" and "ip6": files of iptables-restore beside the topology
    commands: tuple[tuple[str, ...], ...] = ()  # what else there is to build, run last
    servers: tuple[Server, ...] = ()


class Wire(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A cable between two hosts: a veth pair with its addresses, or an end that is a port of a bridge there."""

    hosts: tuple[str, str]
    devs: tuple[str, str]
    addresses: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    bridges: tuple[str | None, str | None] = (None, None)


class Service(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A service's virtual address, so that clients can call `svc/NAMESPACE/NAME:PORTNAME`; the rules make it work."""

    name: str  # namespace/name:port name
    address: str
    port: int
    proto: str = "tcp"


class Topology(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Hosts and the wires between them."""

    about: str
    hosts: tuple[Host, ...]
    wires: tuple[Wire, ...] = ()
    services: tuple[Service, ...] = ()


def pod_name(pod: Pod) -> str:
    """Return what a pod is called: `shop/web`; a container, or a pod without a namespace, has its name alone."""
    return f"{pod.namespace}/{pod.name}" if pod.namespace else pod.name


def folder() -> Path:
    """Return where topologies lie: in a wheel beside the package, in a checkout in `fixtures/`. Raises: LabError."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "_topologies", package.parent / "fixtures" / "topologies"):
        if place.is_dir():
            return place
    raise LabError("no topologies are installed", "reinstall netdoctor")


def names() -> tuple[str, ...]:
    """Return the names of the topologies that are installed."""
    return tuple(sorted(one.stem for one in folder().glob("*.json")))


def load(name: str) -> Topology:
    """Read a topology by name. Raises: LabError."""
    if name not in names():
        raise LabError(f"no topology {name!r}", f"there are: {', '.join(names())}")
    return decode((folder() / f"{name}.json").read_bytes(), name)


def decode(document: bytes, name: str) -> Topology:
    """Return the topology that a JSON document describes. Raises: LabError, one line that says where it is wrong."""
    try:
        found = msgspec.json.decode(document, type=Topology)
    except msgspec.DecodeError as error:
        raise LabError(f"topology {name}: {error}", "fixtures/topologies/README.md describes them") from None
    hosts = [host.name for host in found.hosts]
    places = hosts + [pod_name(pod) for host in found.hosts for pod in host.pods]
    for place in {place for place in places if places.count(place) > 1}:
        raise LabError(f"topology {name}: two hosts or pods are called {place}", "give each a name of its own")
    for wire in found.wires:
        for end in wire.hosts:
            if end not in hosts:
                raise LabError(
                    f"topology {name}: a wire leads to {end}, which is no host", f"hosts: {', '.join(hosts)}"
                )
    return found
