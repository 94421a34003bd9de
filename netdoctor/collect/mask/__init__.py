"""A snapshot that can be mailed: every address and name mapped consistently, comments gone, the same packets die.

Knows nothing of a packet's way. What decides it keeps its relations: prefixes, ranges, interface wildcards, references.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from netdoctor.collect.mask.addresses import Addresses
from netdoctor.collect.mask.names import Names, Renamer
from netdoctor.collect.mask.texts import Texts
from netdoctor.model.snapshot import (
    Address,
    Link,
    Namespace,
    Network,
    NftText,
    RulesetText,
    Snapshot,
    Socket,
    Unread,
    Workload,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["mask"]

_INTERFACES = frozenset({"dev", "master", "parent", "iif", "oif", "bridge"})
# Words of the kernel's and the tools' own, which hold no names: not looked at.
_PLAIN = frozenset({
    "action", "backend", "bus", "df", "driver", "family", "flags", "format", "forward", "ikey", "ipproto", "iptables",
    "kernel", "key", "kind", "link_type", "mode", "netdoctor", "offloads", "operstate", "pref", "proto", "protocol",
    "realm", "runtime", "scheduler", "scope", "sections", "source", "state", "status", "tool", "tools", "type",
    "via_family", "vlan_protocol", "what",
})  # fmt: skip


def mask(snapshot: Snapshot, key: bytes | None = None) -> Snapshot:
    """Return the snapshot with its addresses and names mapped and its comments dropped.

    The mapping is the same throughout a snapshot and differs from one to the next: `key` (16 to 64 bytes) is random
    where none is given, and is kept nowhere.
    """
    return _Masker(key or secrets.token_bytes(32), snapshot).snapshot()


class _Masker:
    def __init__(self, key: bytes, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._addresses = Addresses(key)
        self._names = Names(key)
        self._renamer = Renamer(self._names, self._changed())
        self._texts = Texts(self._addresses, self._names, self._renamer)
        self._keep_relations()

    def _keep_relations(self) -> None:
        """Tell the addresses' map what must keep its order, before anything is mapped."""
        for netns in self._snapshot.namespaces:
            for link in netns.links:
                for address in link.addresses:
                    self._addresses.keep_subnet(address.address, address.prefixlen)
            for ruleset in netns.rulesets:
                self._addresses.keep_ranges(ruleset.text)
            if netns.nft is not None and netns.nft.json is not None:
                self._texts.nft_ranges(netns.nft.json)
            self._addresses.keep_ranges(netns.ipsets or "")

    def _changed(self) -> dict[str, str]:
        """Every name that is mapped, for finding it inside chain names and messages."""
        names = self._names
        changed = {self._snapshot.host: names.host(self._snapshot.host)}
        for text in self._all_names():
            for part in (text, *text.split("/")):
                changed[part] = names.name(part)
        for netns in self._snapshot.namespaces:
            for link in netns.links:
                changed |= {text: names.interface(text) for text in (link.name, *link.altnames)}
        return changed

    def _all_names(self) -> Iterator[str]:
        for netns in self._snapshot.namespaces:
            yield from (text for text in (netns.name, *netns.aliases) if not _is_number(text))
        for one in self._snapshot.workloads:
            yield from (one.name, one.id, *one.networks, *one.labels.values())
            yield from (text for text in (one.pod, one.pod_namespace, one.owner) if text)
        for network in self._snapshot.networks:
            yield from (text for text in (network.name, network.id) if text)

    def snapshot(self) -> Snapshot:
        masked: Snapshot = self._struct(self._snapshot)
        return replace(masked, host=self._names.host(self._snapshot.host), masked=True)

    # Anything: each field by its struct, else by its name, else as text in which addresses and names may stand.

    def _struct(self, value: Any) -> Any:
        special = _SPECIAL.get(type(value))
        changes = {} if special is None else special(self, value)
        for field in value.__struct_fields__:
            if field not in changes and field not in _PLAIN:
                old = getattr(value, field)
                new = self._field(field, old)
                if new is not old:
                    changes[field] = new
        return replace(value, **changes) if changes else value

    def _field(self, field: str, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, str):
            if field in _INTERFACES:
                return self._names.interface(value)
            return self._netns(value) if field in {"netns", "parent_netns"} else self._text(value)
        if isinstance(value, tuple):
            return tuple(self._field(field, one) for one in value) if value else value
        if isinstance(value, dict):
            return {self._text(key): self._field(field, one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._field(field, one) for one in value]
        return self._struct(value) if isinstance(value, msgspec.Struct) else value

    def _text(self, text: str) -> str:
        mapped = self._addresses.text(text)
        return self._renamer.text(text) if mapped == text else mapped

    def _netns(self, name: str) -> str:
        return name if _is_number(name) or name == "?" else self._names.name(name)

    # The structs with names of their own

    def of_namespace(self, netns: Namespace) -> dict[str, Any]:
        return {
            "name": self._netns(netns.name),
            "aliases": tuple(self._netns(alias) for alias in netns.aliases),
            "sysctls": {self._sysctl(name): value for name, value in netns.sysctls.items()},
            "ipsets": None if netns.ipsets is None else self._texts.ipsets(netns.ipsets),
            "xfrm_policy": None if netns.xfrm_policy is None else self._texts.words(netns.xfrm_policy),
            "conntrack_stats": netns.conntrack_stats,
            "counters": netns.counters,
        }

    def _sysctl(self, name: str) -> str:
        """`net.ipv4.conf.veth1/5.rp_filter`: an interface's dots are written as slashes."""
        parts = name.split(".")
        if len(parts) > 4 and parts[2] in {"conf", "neigh"}:
            parts[3] = self._names.interface(parts[3].replace("/", ".")).replace(".", "/") if parts[3] not in {
                "all", "default",
            } else parts[3]  # fmt: skip
        return ".".join(parts)

    def of_link(self, link: Link) -> dict[str, Any]:
        return {
            "name": self._names.interface(link.name),
            "altnames": tuple(self._names.interface(text) for text in link.altnames),
            "alias": None,
        }

    def of_address(self, address: Address) -> dict[str, Any]:
        label = address.label
        if label is None:
            return {}
        name, colon, rest = label.partition(":")
        return {"label": self._names.interface(name) + colon + (rest if rest.isdecimal() else self._names.name(rest))}

    def of_ruleset(self, ruleset: RulesetText) -> dict[str, Any]:
        return {"text": self._texts.ruleset(ruleset.text)}

    def of_nft(self, nft: NftText) -> dict[str, Any]:
        return {
            "json": None if nft.json is None else self._texts.nft(nft.json),
            "hooks": None if nft.hooks is None else self._texts.words(nft.hooks),
        }

    def of_socket(self, socket: Socket) -> dict[str, Any]:
        return {"program": None if socket.program is None else self._renamer.text(socket.program)}

    def of_workload(self, one: Workload) -> dict[str, Any]:
        name = self._names.name
        mode = one.network_mode
        kind, colon, rest = (mode or "").partition(":")
        return {
            "id": name(one.id),
            "name": name(one.name),
            "netns": None if one.netns is None else self._netns(one.netns),
            "pod": None if one.pod is None else name(one.pod),
            "pod_namespace": None if one.pod_namespace is None else name(one.pod_namespace),
            "owner": None if one.owner is None else name(one.owner),
            "network_mode": mode if mode is None else f"{kind}:{name(rest)}" if colon else name(mode),
            "networks": tuple(name(network) for network in one.networks),
            "labels": {key: name(value) for key, value in one.labels.items()},
        }

    def of_network(self, network: Network) -> dict[str, Any]:
        interfaces = {"parent", "com.docker.network.bridge.name", "com.docker.network.container_iface_prefix"}
        return {
            "name": self._names.name(network.name),
            "id": None if network.id is None else self._names.name(network.id),
            "options": {
                key: self._names.interface(value) if key in interfaces else self._text(value)
                for key, value in network.options.items()
            },
        }

    def of_unread(self, gap: Unread) -> dict[str, Any]:
        return {"why": self._addresses.text(self._renamer.text(gap.why))}


_SPECIAL: dict[type, Any] = {
    Namespace: _Masker.of_namespace,
    Link: _Masker.of_link,
    Address: _Masker.of_address,
    RulesetText: _Masker.of_ruleset,
    NftText: _Masker.of_nft,
    Socket: _Masker.of_socket,
    Workload: _Masker.of_workload,
    Network: _Masker.of_network,
    Unread: _Masker.of_unread,
}


def _is_number(name: str) -> bool:
    """`pid:N`, `netns:INODE`: they name nothing of the user's."""
    kind, _, number = name.partition(":")
    return kind in {"pid", "netns"} and number.isdecimal()
