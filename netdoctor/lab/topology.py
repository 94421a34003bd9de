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
    """A namespace on a bridge of its host, named `namespace/name` as a pod is."""

    name: str
    namespace: str
    bridge: str
    addresses: tuple[str, ...]  # with prefix lengths
    gateways: tuple[str, ...] = ()
    dev: str = "eth0"
    port: str  # the name of the bridge port
    mac: str | None = None
    hairpin: bool = True
    servers: tuple[Server, ...] = ()
    container: bool = False  # a Docker container instead of a pod: named from Docker's state


class Bridge(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A bridge of a host."""

    name: str
    addresses: tuple[str, ...]
    mac: str | None = None


class Host(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A machine: its own network, mount and pid namespaces."""

    name: str
    bridges: tuple[Bridge, ...] = ()
    pods: tuple[Pod, ...] = ()
    loopback: tuple[str, ...] = ()  # addresses on lo
    routes: tuple[str, ...] = ()  # arguments of `ip route add`
    sysctls: dict[str, str] = {}
    rules: dict[str, str] = {}  # "ip" and "ip6": files of iptables-restore beside the topology
    servers: tuple[Server, ...] = ()


class Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cable between two hosts: a veth pair with its addresses."""

    hosts: tuple[str, str]
    devs: tuple[str, str]
    addresses: tuple[tuple[str, ...], tuple[str, ...]]


class Topology(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hosts and the wires between them."""

    about: str
    hosts: tuple[Host, ...]
    wires: tuple[Wire, ...] = ()


def folder() -> Path:
    """Return where topologies lie: in the wheel beside the package, in a checkout under `fixtures/`."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "_topologies", package.parent / "fixtures" / "topologies"):
        if place.is_dir():
            return place
    raise LabError("no topologies are installed", "reinstall netdoctor")


def load(name: str) -> Topology:
    """Read a topology by name. Raises: LabError."""
    path = folder() / f"{name}.json"
    if "/" in name or not path.is_file():
        known = ", ".join(sorted(one.stem for one in folder().glob("*.json")))
        raise LabError(f"no topology {name!r}", f"there are: {known}")
    try:
        return msgspec.json.decode(path.read_bytes(), type=Topology)
    except msgspec.DecodeError as error:
        raise LabError(f"topology {name}: {error}") from None
