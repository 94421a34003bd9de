"""Links, addresses, routes, neighbours. Knows nothing of how they reach the kernel. Source: ip-link(8), ip-route(8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from netdoctor.change.operation import Argv, Operation, link_of, with_link
from netdoctor.change.overlay import changed, namespace
from netdoctor.model.errors import PlanError
from netdoctor.model.snapshot import Address, Neighbour, Nexthop, Route
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Snapshot

Family = Literal["ip", "ip6"]


class _RouteChange(Operation, frozen=True, kw_only=True):
    family: Family
    dst: str  # a prefix with its length; the default route is 0.0.0.0/0 or ::/0
    dev: str | None = None
    via: str | None = None
    table: int = 254
    metric: int = 0  # 0: the kernel's own choice, 1024 for IPv6

    def _words(self) -> tuple[str, ...]:
        words = [self.dst]
        words += ["via", self.via] if self.via else []
        words += ["dev", self.dev] if self.dev else []
        words += ["table", str(self.table)] if self.table != 254 else []
        return (*words, *(("metric", str(self.metric)) if self.metric else ()))

    def _tool(self) -> tuple[str, ...]:
        return ("ip", "-4" if self.family == "ip" else "-6", "route")

    def _is(self, route: Route) -> bool:
        hop = route.nexthops[0] if len(route.nexthops) == 1 else None
        same = (route.family, route.dst, route.table, route.type) == (self.family, self.dst, self.table, "unicast")
        return (
            same
            and hop is not None
            and (self.via is None or hop.via == self.via)
            and (self.dev is None or hop.dev == self.dev)
            and (not self.metric or route.metric == self.metric)
        )

    def _there(self, snapshot: Snapshot) -> bool:
        return any(self._is(route) for route in namespace(snapshot, self.netns).routes)

    def touches(self, snapshot: Snapshot) -> str:
        """Return the routes to the same destination in the same table."""
        routes = namespace(snapshot, self.netns).routes
        wanted = (self.family, self.dst, self.table)
        return "\n".join(str(route) for route in routes if (route.family, route.dst, route.table) == wanted)


class AddRoute(_RouteChange, frozen=True, kw_only=True, tag="add-route"):
    """Add a unicast route."""

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the route."""
        metric = self.metric or (1024 if self.family == "ip6" else 0)
        dev = self.dev or self._outgoing(snapshot)
        route = Route(
            family=self.family, dst=self.dst, table=self.table, metric=metric, nexthops=(Nexthop(dev, self.via),),
            scope="link" if self.via is None and self.family == "ip" else "global",
        )  # fmt: skip
        return changed(snapshot, self.netns, routes=(*namespace(snapshot, self.netns).routes, route))

    def _outgoing(self, snapshot: Snapshot) -> str | None:
        """The interface of the link route that holds the gateway, as the kernel finds it."""
        from ipaddress import ip_address, ip_network

        best: tuple[int, str | None] = (-1, None)
        for route in namespace(snapshot, self.netns).routes:
            if (
                self.via is None
                or route.family != self.family
                or not route.nexthops
                or route.nexthops[0].via is not None
            ):
                continue
            network = ip_network(route.dst, strict=False)
            if ip_address(self.via) in network and network.prefixlen > best[0]:
                best = (network.prefixlen, route.nexthops[0].dev)
        return best[1]

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Delete it; nothing where it was there before."""
        gone = DeleteRoute(
            netns=self.netns, family=self.family, dst=self.dst, dev=self.dev, via=self.via, table=self.table,
            metric=self.metric,
        )  # fmt: skip
        return () if self._there(before) else (gone,)

    def present(self, snapshot: Snapshot) -> bool:
        """Whether the route is there."""
        return self._there(snapshot)

    def commands(self) -> tuple[Argv, ...]:
        """`ip route add …`."""
        return ((*self._tool(), "add", *self._words()),)

    def describe(self) -> str:
        """One line for a person."""
        return printable(f"route {' '.join(self._words())}")


class DeleteRoute(_RouteChange, frozen=True, kw_only=True, tag="delete-route"):
    """Delete a unicast route."""

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot without the route."""
        routes = namespace(snapshot, self.netns).routes
        return changed(snapshot, self.netns, routes=tuple(route for route in routes if not self._is(route)))

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Add it again; nothing where it was not there. Raises: PlanError where it had more than is kept."""
        for route in namespace(before, self.netns).routes:
            if self._is(route):
                if route.prefsrc or route.mtu or route.src or route.tos or route.protocol not in {"boot", "static"}:
                    raise PlanError(
                        f"route {printable(self.dst)} has more to it than can be put back", "change it by hand"
                    )
                hop = route.nexthops[0]
                return (AddRoute(
                    netns=self.netns, family=self.family, dst=self.dst, dev=hop.dev, via=hop.via, table=self.table,
                    metric=route.metric,
                ),)  # fmt: skip
        return ()

    def present(self, snapshot: Snapshot) -> bool:
        """Whether the route is gone."""
        return not self._there(snapshot)

    def commands(self) -> tuple[Argv, ...]:
        """`ip route del …`."""
        return ((*self._tool(), "del", *self._words()),)

    def describe(self) -> str:
        """One line for a person."""
        return printable(f"no route {' '.join(self._words())}")


class SetLink(Operation, frozen=True, kw_only=True, tag="set-link"):
    """Set an interface up or down; with `master`, make it a port of that bridge ("": of none)."""

    dev: str
    up: bool | None = None
    master: str | None = None

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the flag. Raises: PlanError where the interface is not there."""
        link = link_of(snapshot, self.netns, self.dev)
        new = link
        if self.up is not None:
            kept = tuple(flag for flag in link.flags if flag not in {"UP", "LOWER_UP"})
            new = replace(new, flags=(*kept, "UP", "LOWER_UP") if self.up else kept)
        if self.master is not None:
            if self.master:
                link_of(snapshot, self.netns, self.master)
            new = replace(new, master=self.master or None)
        return with_link(snapshot, self.netns, link, new)

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Set it back. Setting an interface down loses routes; those that were static are added again."""
        link = link_of(before, self.netns, self.dev)
        if self.present(before):
            return ()
        old = replace(
            self, up=None if self.up is None else link.is_up, master=None if self.master is None else link.master or ""
        )
        return (old, *(self._lost_routes(before) if self.up is False else ()))

    def _lost_routes(self, before: Snapshot) -> tuple[Operation, ...]:
        """net/ipv4/fib_semantics.c:fib_sync_down_dev: IPv4 routes by an interface that goes down are deleted."""
        return tuple(
            AddRoute(
                netns=self.netns, family="ip", dst=route.dst, dev=self.dev, via=route.nexthops[0].via,
                table=route.table, metric=route.metric,
            )
            for route in namespace(before, self.netns).routes
            if route.family == "ip" and route.protocol in {"boot", "static"} and route.type == "unicast"
            and len(route.nexthops) == 1 and route.nexthops[0].dev == self.dev
        )  # fmt: skip

    def present(self, snapshot: Snapshot) -> bool:
        """Whether it is so."""
        link = link_of(snapshot, self.netns, self.dev)
        return (self.up is None or link.is_up is self.up) and (
            self.master is None or (link.master or "") == self.master
        )

    def touches(self, snapshot: Snapshot) -> str:
        """Return the interface's state and its master."""
        link = link_of(snapshot, self.netns, self.dev)
        return f"{link.is_up} {link.master}"

    def commands(self) -> tuple[Argv, ...]:
        """`ip link set dev DEV up`."""
        words: list[str] = []
        if self.master is not None:
            words += ["master", self.master] if self.master else ["nomaster"]
        if self.up is not None:
            words.append("up" if self.up else "down")
        return (("ip", "link", "set", "dev", self.dev, *words),)

    def describe(self) -> str:
        """One line for a person."""
        return printable(f"interface {' '.join(self.commands()[0][4:])}")


class AddAddress(Operation, frozen=True, kw_only=True, tag="add-address"):
    """Add an address to an interface."""

    dev: str
    address: str
    prefixlen: int

    @property
    def family(self) -> Family:
        """The address's family."""
        return "ip6" if ":" in self.address else "ip"

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the address; the routes that come with it are the kernel's to add."""
        link = link_of(snapshot, self.netns, self.dev)
        new = Address(self.family, self.address, self.prefixlen)
        return with_link(snapshot, self.netns, link, replace(link, addresses=(*link.addresses, new)))

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Delete it; nothing where it was there before."""
        gone = DeleteAddress(netns=self.netns, dev=self.dev, address=self.address, prefixlen=self.prefixlen)
        return () if self.present(before) else (gone,)

    def present(self, snapshot: Snapshot) -> bool:
        """Whether the interface has it."""
        return _has_address(snapshot, self)

    def touches(self, snapshot: Snapshot) -> str:
        """Return the interface's addresses."""
        return "\n".join(one.address for one in link_of(snapshot, self.netns, self.dev).addresses)

    def commands(self) -> tuple[Argv, ...]:
        """`ip address add …`."""
        return (("ip", "address", "add", f"{self.address}/{self.prefixlen}", "dev", self.dev),)

    def describe(self) -> str:
        """One line for a person."""
        return printable(f"address {self.address}/{self.prefixlen} on {self.dev}")


class DeleteAddress(Operation, frozen=True, kw_only=True, tag="delete-address"):
    """Delete an address of an interface."""

    dev: str
    address: str
    prefixlen: int

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot without the address."""
        link = link_of(snapshot, self.netns, self.dev)
        kept = tuple(one for one in link.addresses if (one.address, one.prefixlen) != (self.address, self.prefixlen))
        return with_link(snapshot, self.netns, link, replace(link, addresses=kept))

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Add it again; nothing where it was not there."""
        again = AddAddress(netns=self.netns, dev=self.dev, address=self.address, prefixlen=self.prefixlen)
        return () if self.present(before) else (again,)

    def present(self, snapshot: Snapshot) -> bool:
        """Whether the interface does not have it."""
        return not _has_address(snapshot, self)

    def touches(self, snapshot: Snapshot) -> str:
        """Return the interface's addresses."""
        return "\n".join(one.address for one in link_of(snapshot, self.netns, self.dev).addresses)

    def commands(self) -> tuple[Argv, ...]:
        """`ip address del …`."""
        return (("ip", "address", "del", f"{self.address}/{self.prefixlen}", "dev", self.dev),)

    def describe(self) -> str:
        """One line for a person."""
        return printable(f"no address {self.address}/{self.prefixlen} on {self.dev}")


def _has_address(snapshot: Snapshot, wanted: AddAddress | DeleteAddress) -> bool:
    link = link_of(snapshot, wanted.netns, wanted.dev)
    return any((one.address, one.prefixlen) == (wanted.address, wanted.prefixlen) for one in link.addresses)


class AddNeighbour(Operation, frozen=True, kw_only=True, tag="add-neighbour"):
    """Write a permanent neighbour entry."""

    dev: str
    dst: str
    mac: str

    def _old(self, snapshot: Snapshot) -> Neighbour | None:
        entries = namespace(snapshot, self.netns).neighbours
        return next(
            (one for one in entries if (one.dev, one.dst) == (self.dev, self.dst) and "proxy" not in one.flags), None
        )

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the entry in place of the old one."""
        old = self._old(snapshot)
        new = Neighbour("ip6" if ":" in self.dst else "ip", self.dev, self.dst, self.mac, ("PERMANENT",))
        kept = tuple(one for one in namespace(snapshot, self.netns).neighbours if one is not old)
        return changed(snapshot, self.netns, neighbours=(*kept, new))

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Write the permanent entry that was there, else delete it: the kernel learns the others again."""
        old = self._old(before)
        if old is not None and "PERMANENT" in old.state and old.mac is not None:
            return () if old.mac == self.mac else (replace(self, mac=old.mac),)
        return (DeleteNeighbour(netns=self.netns, dev=self.dev, dst=self.dst),)

    def present(self, snapshot: Snapshot) -> bool:
        """Whether the entry is there."""
        old = self._old(snapshot)
        return old is not None and "PERMANENT" in old.state and old.mac == self.mac

    def touches(self, snapshot: Snapshot) -> str:
        """Return the permanent entry of the same address."""
        old = self._old(snapshot)
        return str(old) if old is not None and "PERMANENT" in old.state else ""

    def commands(self) -> tuple[Argv, ...]:
        """`ip neigh replace …`."""
        return (("ip", "neigh", "replace", self.dst, "lladdr", self.mac, "dev", self.dev, "nud", "permanent"),)

    def describe(self) -> str:
        """One line for a person."""
        return printable(f"neighbour {self.dst} is {self.mac} on {self.dev}")


class DeleteNeighbour(Operation, frozen=True, kw_only=True, tag="delete-neighbour"):
    """Delete a permanent neighbour entry."""

    dev: str
    dst: str

    def _old(self, snapshot: Snapshot) -> Neighbour | None:
        entries = namespace(snapshot, self.netns).neighbours
        return next(
            (one for one in entries if (one.dev, one.dst) == (self.dev, self.dst) and "PERMANENT" in one.state), None
        )

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot without the entry."""
        old = self._old(snapshot)
        kept = tuple(one for one in namespace(snapshot, self.netns).neighbours if one is not old)
        return changed(snapshot, self.netns, neighbours=kept)

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Write it again."""
        old = self._old(before)
        if old is None or old.mac is None:
            return ()
        return (AddNeighbour(netns=self.netns, dev=self.dev, dst=self.dst, mac=old.mac),)

    def present(self, snapshot: Snapshot) -> bool:
        """Whether no permanent entry is there."""
        return self._old(snapshot) is None

    def touches(self, snapshot: Snapshot) -> str:
        """Return the entry."""
        return str(self._old(snapshot) or "")

    def commands(self) -> tuple[Argv, ...]:
        """`ip neigh del …`."""
        return (("ip", "neigh", "del", self.dst, "dev", self.dev),)

    def describe(self) -> str:
        """One line for a person."""
        return printable(f"no neighbour entry {self.dst} on {self.dev}")
