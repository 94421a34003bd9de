"""One or several snapshots as one network: namespaces by name, the graph of interfaces. Knows nothing of packets."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from netdoctor.model.errors import UnknownNamespaceError
from netdoctor.model.snapshot import Snapshot
from netdoctor.model.text import printable
from netdoctor.topology.namespace import Netns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netdoctor.netfilter.packet import Family

_SHOWN = 8
# What a controller appends to its own name: a hash without vowels or look-alikes, twice where a ReplicaSet stands
# between, or an ordinal. Source: apimachinery/pkg/util/rand/rand.go:SafeEncodeString.
_GENERATED = re.compile(r"(-[bcdfghjklmnpqrstvwxz2456789]{1,10}){1,2}|-\d+")
_ID_PREFIX = 4  # shorter beginnings of a container id fit by accident


class World:
    """The network of one host, or of several."""

    def __init__(self, snapshots: Mapping[str, Snapshot] | Snapshot) -> None:
        """`snapshots`: one, or several by host name."""
        single = isinstance(snapshots, Snapshot)
        self.snapshots: dict[str, Snapshot] = (
            {snapshots.host: snapshots} if isinstance(snapshots, Snapshot) else dict(snapshots)
        )
        self.namespaces: dict[str, Netns] = {}
        self.cache: dict[str, Any] = {}  # what rooms to the right compute once for this world
        self._by_host: dict[str, dict[str, Netns]] = {}
        for host, snapshot in self.snapshots.items():
            own = self._by_host.setdefault(host, {})
            for namespace in snapshot.namespaces:
                name = namespace.name if single or len(self.snapshots) == 1 else f"{host}:{namespace.name}"
                netns = Netns(self, host, name, namespace, snapshot)
                self.namespaces[name] = own[namespace.name] = netns

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the hosts."""
        return tuple(self.snapshots)

    def sibling(self, netns: Netns, name: str) -> Netns | None:
        """Return the namespace of the same host that its snapshot calls `name`."""
        return self._by_host[netns.host].get(name)

    def first(self, host: str | None = None) -> Netns:
        """Return the namespace where a host's snapshot was taken. Raises: UnknownNamespaceError where it holds none."""
        own = self._by_host.get(host if host is not None else next(iter(self.snapshots), ""), {})
        found = own.get("host") or next(iter(own.values()), None)
        if found is None:
            raise UnknownNamespaceError("the snapshot holds no namespace", "take it again as root")
        return found

    def namespace(self, name: str) -> Netns:
        """Return a namespace by its name, an alias, a tail that fits one only, the beginning of a container id,
        or, of a pod, the name of the Deployment, DaemonSet, StatefulSet or Job that made it.

        Raises: UnknownNamespaceError, with the list of those that fit, or of those there are.
        """
        found = self.find(name)
        if found is not None:
            return found
        shown = ", ".join(printable(known) for known in list(self.namespaces)[:_SHOWN])
        more = f" and {len(self.namespaces) - _SHOWN} more" if len(self.namespaces) > _SHOWN else ""
        raise UnknownNamespaceError(
            f"no namespace {printable(name)!r}: the snapshot holds {shown}{more}",
            "`netdoctor snapshot --list` prints all",
        )

    def find(self, name: str) -> Netns | None:
        """As `namespace`, but None where nothing fits. Raises: UnknownNamespaceError where several fit."""
        exact = self.namespaces.get(name)
        if exact is not None:
            return exact
        for fitting in (self._aliased(name), self._tailed(name), self._begun(name), self._made_by(name)):
            if len(fitting) == 1:
                return fitting[0]
            if fitting:
                listed = ", ".join(printable(netns.name) for netns in fitting[:_SHOWN])
                raise UnknownNamespaceError(
                    f"namespace {printable(name)!r} fits several: {listed}", "write one of them"
                )
        return None

    def _aliased(self, name: str) -> list[Netns]:
        return [netns for netns in self.namespaces.values() if name in netns.snapshot.aliases]

    def _tailed(self, name: str) -> list[Netns]:
        tails = (f"/{name}", f":{name}")
        return [
            netns
            for netns in self.namespaces.values()
            if any(known.endswith(tails) for known in (netns.name, *netns.snapshot.aliases))
        ] or [netns for netns in self.namespaces.values() if name and netns.name.endswith(name)]

    def _begun(self, name: str) -> list[Netns]:
        if len(name) < _ID_PREFIX:
            return []
        ids = {
            (host, workload.netns)
            for host, snapshot in self.snapshots.items()
            for workload in snapshot.workloads
            if workload.netns is not None and workload.id.startswith(name)
        }
        return [
            netns
            for netns in self.namespaces.values()
            if (netns.host, netns.snapshot.name) in ids
            or any(len(alias) > 11 and alias.startswith(name) for alias in netns.snapshot.aliases)
        ]

    def _made_by(self, name: str) -> list[Netns]:
        """Pods by the name of what made them: `shop/web` for shop/web-6c8 or shop/web-0."""
        return [
            netns
            for netns in self.namespaces.values()
            if "/" in netns.name and netns.name.startswith(f"{name}-") and _GENERATED.fullmatch(netns.name[len(name) :])
        ]

    def owners(self, family: Family, value: int) -> list[Netns]:
        """Return the namespaces that have an address, the host's own first."""
        found = self._owners.get((family, value), [])
        return sorted(found, key=lambda netns: netns.snapshot.name != "host")

    @cached_property
    def _owners(self) -> dict[tuple[Family, int], list[Netns]]:
        owners: dict[tuple[Family, int], list[Netns]] = {}
        for netns in self.namespaces.values():
            for known in netns.addresses:
                owners.setdefault(known, []).append(netns)
        return owners

    @cached_property
    def graph(self) -> Any:
        """The networkx.MultiDiGraph of `topology.graph.build`."""
        from netdoctor.topology.graph import build  # networkx takes 0.1 s to import, and a trace needs no graph

        return build(self)
