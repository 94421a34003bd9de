"""Routes, and links up or down. Knows nothing of how they reach the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from netdoctor.change.overlay import changed, namespace
from netdoctor.model.errors import PlanError
from netdoctor.model.snapshot import Nexthop, Route

if TYPE_CHECKING:
    from netdoctor.change.plan import Operation
    from netdoctor.model.snapshot import Link, Snapshot


class _RouteChange(msgspec.Struct, frozen=True, kw_only=True):
    netns: str
    family: str
    dst: str
    dev: str | None = None
    via: str | None = None
    table: int = 254
    metric: int = 0

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
        same = (route.family, route.dst, route.table) == (self.family, self.dst, self.table)
        return (
            same
            and hop is not None
            and (self.via is None or hop.via == self.via)
            and (self.dev is None or hop.dev == self.dev)
            and (not self.metric or route.metric == self.metric)
        )

    def _there(self, snapshot: Snapshot) -> bool:
        return any(self._is(route) for route in namespace(snapshot, self.netns).routes)

    def _fields(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in ("netns", "family", "dst", "dev", "via", "table", "metric")}


class AddRoute(_RouteChange, frozen=True, kw_only=True, tag="add-route"):
    """Add a unicast route."""

    def describe(self) -> str:
        """One line for a person."""
        return f"route {' '.join(self._words())}"

    def present(self, snapshot: Snapshot) -> bool:
        """Whether the route is there."""
        return self._there(snapshot)

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the route."""
        route = Route(
            family=self.family,
            dst=self.dst,
            table=self.table,
            metric=self.metric,
            nexthops=(Nexthop(self.dev, self.via),),
        )
        return changed(snapshot, self.netns, routes=(*namespace(snapshot, self.netns).routes, route))

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Delete it; nothing where it was there before."""
        return () if self._there(before) else (DeleteRoute(**self._fields()),)  # type: ignore[arg-type]

    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The argument lists that do it."""
        return ((*self._tool(), "add", *self._words()),)


class DeleteRoute(_RouteChange, frozen=True, kw_only=True, tag="delete-route"):
    """Delete a unicast route."""

    def describe(self) -> str:
        """One line for a person."""
        return f"no route {' '.join(self._words())}"

    def present(self, snapshot: Snapshot) -> bool:
        """Whether the route is gone."""
        return not self._there(snapshot)

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot without the route."""
        routes = namespace(snapshot, self.netns).routes
        return changed(snapshot, self.netns, routes=tuple(route for route in routes if not self._is(route)))

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Add it again; nothing where it was not there."""
        return (AddRoute(**self._fields()),) if self._there(before) else ()  # type: ignore[arg-type]

    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The argument lists that do it."""
        return ((*self._tool(), "del", *self._words()),)


class SetLink(msgspec.Struct, frozen=True, kw_only=True, tag="set-link"):
    """Set an interface up or down."""

    netns: str
    dev: str
    up: bool

    def describe(self) -> str:
        """One line for a person."""
        return f"interface {self.dev} {'up' if self.up else 'down'}"

    def _link(self, snapshot: Snapshot) -> Link:
        for link in namespace(snapshot, self.netns).links:
            if link.name == self.dev:
                return link
        raise PlanError(f"there is no interface {self.dev} in {self.netns} (any more)", "make a new plan")

    def present(self, snapshot: Snapshot) -> bool:
        """Whether it is so."""
        return self._link(snapshot).is_up is self.up

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the flag. Raises: PlanError where the interface is not there."""
        link = self._link(snapshot)
        flags = tuple(flag for flag in link.flags if flag not in {"UP", "LOWER_UP"}) + (
            ("UP", "LOWER_UP") if self.up else ()
        )
        links = namespace(snapshot, self.netns).links
        return changed(
            snapshot, self.netns, links=tuple(replace(one, flags=flags) if one is link else one for one in links)
        )

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Set it back."""
        return (replace(self, up=self._link(before).is_up),)

    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The argument lists that do it."""
        return (("ip", "link", "set", "dev", self.dev, "up" if self.up else "down"),)
