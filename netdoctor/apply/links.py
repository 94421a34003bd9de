"""Links, bridge ports, addresses, routes and neighbours in the namespace that this process is in, by rtnetlink.

Knows nothing of plans. pyroute2 is imported here only. Source: rtnetlink(7).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from netdoctor.change.network import (
    AddAddress,
    AddNeighbour,
    AddRoute,
    DeleteAddress,
    DeleteNeighbour,
    DeleteRoute,
    SetLink,
)
from netdoctor.change.settings import SetBridgePort
from netdoctor.model.errors import NetdoctorError

if TYPE_CHECKING:
    from netdoctor.change.plan import Operation

_FAMILY = {"ip": 2, "ip6": 10}
_PERMANENT = 0x80
_GONE = {errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV}
# IFLA_BRPORT_*: include/uapi/linux/if_link.h
_PORT_FLAGS = {
    "hairpin": "IFLA_BRPORT_MODE",
    "guard": "IFLA_BRPORT_GUARD",
    "learning": "IFLA_BRPORT_LEARNING",
    "flood": "IFLA_BRPORT_UNICAST_FLOOD",
    "mcast_flood": "IFLA_BRPORT_MCAST_FLOOD",
    "bcast_flood": "IFLA_BRPORT_BCAST_FLOOD",
    "neigh_suppress": "IFLA_BRPORT_NEIGH_SUPPRESS",
    "isolated": "IFLA_BRPORT_ISOLATED",
}


class Doing:
    """One operation on interfaces, addresses, routes or neighbours."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.netlink = IPRoute()

    def look(self) -> dict[str, Any]:
        """Note the state of the interface or the flag."""
        operation = self.operation
        if isinstance(operation, SetBridgePort):
            return {"on": self._flag(operation), "index": self._index(operation.dev)}
        if isinstance(operation, SetLink):
            link = self.netlink.link("get", index=self._index(operation.dev))[0]
            master = link.get_attr("IFLA_MASTER") or 0
            return {"up": bool(link["flags"] & 1), "master": master, "index": link["index"]}
        if isinstance(operation, AddNeighbour):
            return {"mac": self._permanent(operation)}
        return {}

    def do(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Change it."""
        operation = self.operation
        try:
            if isinstance(operation, SetBridgePort):
                self._set_flag(operation, on=operation.on)
            elif isinstance(operation, SetLink):
                self._set_link(operation)
            elif isinstance(operation, (AddRoute, DeleteRoute)):
                self._route("add" if isinstance(operation, AddRoute) else "del", operation)
            elif isinstance(operation, (AddAddress, DeleteAddress)):
                self._address("add" if isinstance(operation, AddAddress) else "del", operation)
            elif isinstance(operation, AddNeighbour):
                self._neighbour(operation, operation.mac)
            elif isinstance(operation, DeleteNeighbour):
                facts = {"mac": self._permanent(operation)}
                self._neighbour(operation, None)
        except NetlinkError as error:
            raise NetdoctorError(
                f"the kernel refused {operation.describe()}: {error}", "this step changed nothing"
            ) from None
        return facts

    def undo(self, facts: dict[str, Any]) -> tuple[str, ...]:
        """Take it back; what is gone already is no error."""
        operation = self.operation
        try:
            if isinstance(operation, SetBridgePort):
                return self._undo_flag(operation, facts)
            if isinstance(operation, SetLink):
                return self._undo_link(operation, facts)
            if isinstance(operation, (AddRoute, DeleteRoute)):
                self._route("del" if isinstance(operation, AddRoute) else "add", operation)
            elif isinstance(operation, (AddAddress, DeleteAddress)):
                self._address("del" if isinstance(operation, AddAddress) else "add", operation)
            elif isinstance(operation, (AddNeighbour, DeleteNeighbour)):
                self._neighbour(operation, facts.get("mac"))
        except NetlinkError as error:
            if error.code not in _GONE | {errno.EEXIST}:
                raise NetdoctorError(f"cannot take back {operation.describe()}: {error}", "do it by hand") from None
        return ()

    def _index(self, dev: str) -> int:
        found = self.netlink.link_lookup(ifname=dev)
        if not found:
            raise NetdoctorError(f"there is no interface {dev} (any more)", "check again")
        return int(found[0])

    def _known(self, dev: str, facts: dict[str, Any]) -> bool:
        """Whether an interface is still the one that was changed, not a new one of the same name."""
        found = self.netlink.link_lookup(ifname=dev)
        return bool(found) and found[0] == facts.get("index", found[0])

    # --- bridge ports

    def _flag(self, operation: SetBridgePort) -> bool:
        link = self.netlink.link("get", index=self._index(operation.dev))[0]
        info = link.get_attr("IFLA_LINKINFO")
        data = info.get_attr("IFLA_INFO_SLAVE_DATA") if info is not None else None
        value = data.get_attr(_PORT_FLAGS[operation.flag]) if data is not None else None
        if value is None:
            raise NetdoctorError(f"{operation.dev} is no bridge port (any more)", "check again")
        return bool(value)

    def _set_flag(self, operation: SetBridgePort, *, on: bool) -> None:
        self.netlink.brport("set", index=self._index(operation.dev), **{_PORT_FLAGS[operation.flag]: int(on)})
        if self._flag(operation) is not on:
            raise NetdoctorError(f"the kernel did not take {operation.describe()}", "this step changed nothing")

    def _undo_flag(self, operation: SetBridgePort, facts: dict[str, Any]) -> tuple[str, ...]:
        if not self._known(operation.dev, facts):
            return ()
        if self._flag(operation) is not facts["on"]:
            self._set_flag(operation, on=facts["on"])
        return ()

    # --- links

    def _set_link(self, operation: SetLink) -> None:
        index = self._index(operation.dev)
        if operation.master is not None:
            self.netlink.link("set", index=index, master=self._index(operation.master) if operation.master else 0)
        if operation.up is not None:
            self.netlink.link("set", index=index, state="up" if operation.up else "down")

    def _undo_link(self, operation: SetLink, facts: dict[str, Any]) -> tuple[str, ...]:
        if not self._known(operation.dev, facts):
            return ()
        index = self._index(operation.dev)
        if operation.master is not None:
            self.netlink.link("set", index=index, master=facts["master"])
        if operation.up is not None:
            self.netlink.link("set", index=index, state="up" if facts["up"] else "down")
        return ()

    # --- routes, addresses, neighbours

    def _route(self, how: str, operation: AddRoute | DeleteRoute) -> None:
        words: dict[str, Any] = {"dst": operation.dst, "family": _FAMILY[operation.family], "table": operation.table}
        if operation.via is not None:
            words["gateway"] = operation.via
        elif operation.family == "ip":
            words["scope"] = 253  # RT_SCOPE_LINK, as `ip route add PREFIX dev DEV` asks for
        if operation.dev is not None:
            words["oif"] = self._index(operation.dev)
        if operation.metric:
            words["priority"] = operation.metric
        if how == "add":
            words["proto"] = 3  # RTPROT_BOOT, as ip-route(8)
        self.netlink.route(how, **words)

    def _address(self, how: str, operation: AddAddress | DeleteAddress) -> None:
        self.netlink.addr(
            how, index=self._index(operation.dev), address=operation.address, prefixlen=operation.prefixlen,
            family=_FAMILY["ip6" if ":" in operation.address else "ip"],
        )  # fmt: skip

    def _permanent(self, operation: AddNeighbour | DeleteNeighbour) -> str | None:
        family = 10 if ":" in operation.dst else 2
        for entry in self.netlink.neigh("dump", family=family, ifindex=self._index(operation.dev)):
            same = entry["ifindex"] == self._index(operation.dev) and entry.get_attr("NDA_DST") == operation.dst
            if same and entry["state"] & _PERMANENT:
                return str(entry.get_attr("NDA_LLADDR"))
        return None

    def _neighbour(self, operation: AddNeighbour | DeleteNeighbour, mac: str | None) -> None:
        family = 10 if ":" in operation.dst else 2
        words: dict[str, Any] = {"dst": operation.dst, "ifindex": self._index(operation.dev), "family": family}
        if mac is None:
            self.netlink.neigh("del", **words)
        else:
            self.netlink.neigh("replace", lladdr=mac, state=_PERMANENT, **words)
