"""Sysctls, with everything that the kernel rewrites when one is written, and flags of bridge ports.

Knows nothing of /proc or netlink. Source: net/ipv4/devinet.c:inet_forward_change, devinet_copy_dflt_conf;
net/ipv6/addrconf.c:addrconf_fixup_forwarding, addrconf_disable_ipv6.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from netdoctor.change.operation import Argv, Operation, link_of, with_link
from netdoctor.change.overlay import changed, namespace
from netdoctor.model.errors import PlanError
from netdoctor.model.snapshot import BridgePort
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Namespace, Snapshot

_CONF4 = "net.ipv4.conf."
_CONF6 = "net.ipv6.conf."
_FORWARDING_4 = frozenset({"net.ipv4.ip_forward", f"{_CONF4}all.forwarding"})
_SPREAD_6 = frozenset(f"{_CONF6}all.{name}" for name in ("forwarding", "disable_ipv6", "ignore_routes_with_linkdown"))
_NAME = re.compile(r"net(\.[A-Za-z0-9_@:/-]+)+\Z")


class SetSysctl(Operation, frozen=True, kw_only=True, tag="set-sysctl"):
    """Write a `net.*` sysctl. A dot in an interface's name is written as a slash, as sysctl(8) does."""

    name: str
    value: str

    def __post_init__(self) -> None:
        """Raise ValueError for a name that is not below /proc/sys/net, or a value of several lines."""
        if not _NAME.match(self.name) or any(part.strip("/") == "" for part in self.name.split(".")):
            raise ValueError(f"not a sysctl of a network namespace: {self.name!r}")
        if "\n" in self.value or "\0" in self.value:
            raise ValueError("a sysctl's value is one line")

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the value, and with what the kernel changes along with it."""
        old = namespace(snapshot, self.netns)
        if self.name not in old.sysctls:
            raise PlanError(
                f"{printable(self.name)} is not known in {printable(self.netns)}", "is its kernel module loaded?"
            )
        sysctls = written(old.sysctls, self.name, self.value, followers(old))
        if sysctls is old.sysctls:
            return snapshot
        fields = {"routes": _without_advertised(old)} if _turns_router(self.name, self.value) else {}
        return changed(snapshot, self.netns, sysctls=sysctls, **fields)

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Write the old value, then what that does not restore. Raises: PlanError where it is not known."""
        namespace_before = namespace(before, self.netns)
        old, follow = namespace_before.sysctls, followers(namespace_before)
        if self.name not in old:
            raise PlanError(
                f"the old value of {printable(self.name)} in {printable(self.netns)} is not known", "read it as root"
            )
        new = written(old, self.name, self.value, follow)
        if new is old:
            return ()
        restored = written(new, self.name, old[self.name], follow)
        rest = {name: value for name, value in old.items() if restored.get(name) != value}
        writes = {self.name: old[self.name], **rest}
        return tuple(SetSysctl(netns=self.netns, name=name, value=value) for name, value in writes.items())

    def present(self, snapshot: Snapshot) -> bool:
        """Whether it has the value."""
        return namespace(snapshot, self.netns).sysctls.get(self.name) == self.value

    def touches(self, snapshot: Snapshot) -> str:
        """Return the value that is there."""
        return namespace(snapshot, self.netns).sysctls.get(self.name, "absent")

    def commands(self) -> tuple[Argv, ...]:
        """`sysctl -qw NAME=VALUE`."""
        return (("sysctl", "-qw", f"{self.name}={self.value}"),)

    def describe(self) -> str:
        """`sysctl NAME=VALUE`."""
        return f"sysctl {printable(self.name)}={printable(self.value)}"

    @property
    def path(self) -> str:
        """The file below /proc/sys. A `/` in an interface's name stands for its dot."""
        return path_of(self.name)


def path_of(name: str) -> str:
    """Return the file of a sysctl; in an interface's name, `/` stands for a dot."""
    return "/proc/sys/" + "/".join(part.replace("/", ".") for part in name.split("."))


def followers(namespace_: Namespace) -> frozenset[str]:
    """Return the interfaces that never had an IPv4 address, as far as one can see: they still follow `conf.default`."""
    return frozenset(
        link.name for link in namespace_.links if not any(address.family == "ip" for address in link.addresses)
    )


def written(sysctls: dict[str, str], name: str, value: str, follow: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return the sysctls after one was written, with what the kernel changes with it; the same object if nothing."""
    if sysctls.get(name) == value:
        return sysctls
    new = {**sysctls, name: value}
    leaf = name.rpartition(".")[2]
    if name in _FORWARDING_4:
        for key in new:
            if key.startswith(_CONF4) and key.endswith(".forwarding"):
                new[key] = value
        new["net.ipv4.ip_forward"] = value
        if f"{_CONF4}all.accept_redirects" in new:  # hosts obey redirects, routers do not
            new[f"{_CONF4}all.accept_redirects"] = "1" if value == "0" else "0"
    elif name in _SPREAD_6:
        for key in new:
            if key.startswith(_CONF6) and key.endswith(f".{leaf}"):
                new[key] = value
    elif name.startswith(f"{_CONF4}default.") and leaf != "forwarding":
        for dev in follow:
            key = f"{_CONF4}{dev.replace('.', '/')}.{leaf}"
            if sysctls.get(key) == sysctls.get(name):
                new[key] = value
    return new


def _turns_router(name: str, value: str) -> bool:
    return name.startswith(_CONF6) and name.endswith(".forwarding") and ".default." not in name and value != "0"


def _without_advertised(namespace_: Namespace) -> tuple[object, ...]:
    """net/ipv6/route.c:rt6_purge_dflt_routers: a router forgets advertised default routes, but for accept_ra 2."""

    def stays(dev: str | None) -> bool:
        return namespace_.sysctls.get(f"{_CONF6}{(dev or '').replace('.', '/')}.accept_ra") == "2"

    return tuple(
        route
        for route in namespace_.routes
        if (route.family, route.dst, route.protocol) != ("ip6", "::/0", "ra")
        or any(stays(hop.dev) for hop in route.nexthops)
    )


PortFlag = Literal["hairpin", "isolated", "learning", "flood", "mcast_flood", "bcast_flood", "neigh_suppress", "guard"]


class SetBridgePort(Operation, frozen=True, kw_only=True, tag="set-bridge-port"):
    """Switch a flag of a bridge port on or off (`bridge link set`)."""

    dev: str
    flag: PortFlag
    on: bool

    def _port(self, snapshot: Snapshot) -> BridgePort:
        link = link_of(snapshot, self.netns, self.dev)
        if link.master is None:
            raise PlanError(
                f"{printable(self.dev)} is no bridge port of {printable(self.netns)} (any more)", "make a new plan"
            )
        return link.port or BridgePort()

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the flag. Raises: PlanError where the port is not there."""
        port = replace(self._port(snapshot), **{self.flag: self.on})
        link = link_of(snapshot, self.netns, self.dev)
        return with_link(snapshot, self.netns, link, replace(link, port=port))

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Switch it back."""
        return () if self.present(before) else (replace(self, on=not self.on),)

    def present(self, snapshot: Snapshot) -> bool:
        """Whether the flag has the value."""
        return bool(getattr(self._port(snapshot), self.flag)) is self.on

    def touches(self, snapshot: Snapshot) -> str:
        """Return the bridge and the flag."""
        return f"{link_of(snapshot, self.netns, self.dev).master} {getattr(self._port(snapshot), self.flag)}"

    def commands(self) -> tuple[Argv, ...]:
        """`bridge link set dev PORT FLAG on`."""
        return (("bridge", "link", "set", "dev", self.dev, self.flag, "on" if self.on else "off"),)

    def describe(self) -> str:
        """Say which port, and the flag."""
        return f"bridge port {printable(self.dev)}: {self.flag} {'on' if self.on else 'off'}"
