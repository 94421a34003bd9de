"""Sysctls and flags of bridge ports. Knows nothing of how they reach the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from netdoctor.change.overlay import changed, namespace
from netdoctor.model.errors import PlanError
from netdoctor.model.snapshot import BridgePort

if TYPE_CHECKING:
    from netdoctor.change.plan import Operation
    from netdoctor.model.snapshot import Snapshot

_FORWARDING_4 = frozenset({"net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"})
_FORWARDING_6 = "net.ipv6.conf.all.forwarding"


class SetSysctl(msgspec.Struct, frozen=True, kw_only=True, tag="set-sysctl"):
    """Write a `net.*` sysctl of a namespace."""

    netns: str
    name: str
    value: str

    def describe(self) -> str:
        """One line for a person."""
        return f"sysctl {self.name}={self.value}"

    def present(self, snapshot: Snapshot) -> bool:
        """Whether it has the value."""
        return namespace(snapshot, self.netns).sysctls.get(self.name) == self.value

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the value, and with what the kernel sets along with it."""
        old = namespace(snapshot, self.netns).sysctls
        return changed(snapshot, self.netns, sysctls=written(old, self.name, self.value))

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Write the old value, then each that writing it back would not restore. Raises: PlanError where it is not known."""
        old = namespace(before, self.netns).sysctls
        if self.name not in old:
            raise PlanError(f"the old value of {self.name} in {self.netns} is not known", "take a snapshot as root")
        restored = written(written(old, self.name, self.value), self.name, old[self.name])
        rest = {name: value for name, value in old.items() if restored.get(name) != value}
        writes = {self.name: old[self.name], **rest}
        return tuple(SetSysctl(netns=self.netns, name=name, value=value) for name, value in writes.items())

    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The argument lists that do it."""
        return (("sysctl", "-qw", f"{self.name}={self.value}"),)

    @property
    def path(self) -> str:
        """The file below /proc/sys. A `/` in an interface's name stands for its dot."""
        return "/proc/sys/" + "/".join(part.replace("/", ".") for part in self.name.split("."))


def written(sysctls: dict[str, str], name: str, value: str) -> dict[str, str]:
    """Return the sysctls after one was written, with what the kernel changes along with it.

    Kernel: net/ipv4/devinet.c:inet_forward_change, net/ipv6/addrconf.c:addrconf_fixup_forwarding
    """
    new = {**sysctls, name: value}
    on = "0" if value == "0" else "1"
    if name in _FORWARDING_4 and sysctls.get(name) != value:
        for key in new:
            if key.startswith("net.ipv4.conf.") and key.endswith(".forwarding"):
                new[key] = on
        new["net.ipv4.ip_forward"] = on
        if "net.ipv4.conf.all.accept_redirects" in new:
            new["net.ipv4.conf.all.accept_redirects"] = "0" if on == "1" else "1"
    elif name == _FORWARDING_6 and sysctls.get(name) != value:
        for key in new:
            if key.startswith("net.ipv6.conf.") and key.endswith(".forwarding"):
                new[key] = on
    return new


class SetBridgePort(msgspec.Struct, frozen=True, kw_only=True, tag="set-bridge-port"):
    """Switch a flag of a bridge port on or off."""

    netns: str
    dev: str
    flag: Literal["hairpin", "isolated", "learning", "flood"]
    on: bool

    def describe(self) -> str:
        """One line for a person."""
        return f"bridge port {self.dev}: {self.flag} {'on' if self.on else 'off'}"

    def _port(self, snapshot: Snapshot) -> BridgePort:
        for link in namespace(snapshot, self.netns).links:
            if link.name == self.dev and link.master is not None:
                return link.port or BridgePort()
        raise PlanError(f"{self.dev} is no bridge port of {self.netns} (any more)", "make a new plan")

    def present(self, snapshot: Snapshot) -> bool:
        """Whether the flag has the value."""
        return bool(getattr(self._port(snapshot), self.flag)) is self.on

    def overlay(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the flag. Raises: PlanError where the port is not there."""
        port = replace(self._port(snapshot), **{self.flag: self.on})
        links = namespace(snapshot, self.netns).links
        return changed(
            snapshot, self.netns, links=tuple(replace(one, port=port) if one.name == self.dev else one for one in links)
        )

    def inverse(self, before: Snapshot) -> tuple[Operation, ...]:
        """Switch it back."""
        return (replace(self, on=bool(getattr(self._port(before), self.flag))),)

    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The argument lists that do it."""
        return (("bridge", "link", "set", "dev", self.dev, self.flag, "on" if self.on else "off"),)
