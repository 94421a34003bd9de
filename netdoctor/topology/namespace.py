"""One network namespace, with questions about its interfaces answered fast.

Knows nothing of rules' meanings or routes.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from netdoctor.netfilter import ipset
from netdoctor.netfilter.iptables import save
from netdoctor.topology.addresses import address
from netdoctor.topology.shared import shared

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from netdoctor.model.snapshot import Address, Link, Namespace, Neighbour, RulesetText, Snapshot
    from netdoctor.netfilter.ipset import IpSet
    from netdoctor.netfilter.iptables.save import Ruleset
    from netdoctor.netfilter.packet import Family
    from netdoctor.topology.world import World

FAMILY_NUMBERS: dict[str, Family] = {"ip": 4, "ip6": 6}


class Netns:
    """A namespace of a world. `name` is unique in the world: `HOST:NAME` where there are several hosts."""

    def __init__(self, world: World, host: str, name: str, namespace: Namespace, source: Snapshot) -> None:
        self.world = world
        self.host = host
        self.name = name
        self.snapshot = namespace
        self.source = source
        self.cache: dict[Hashable, Any] = {}  # what rooms to the right compute once for this namespace

    def __repr__(self) -> str:
        return f"Netns({self.name})"

    @cached_property
    def links(self) -> dict[str, Link]:
        """Interfaces by name."""
        return {link.name: link for link in self.snapshot.links}

    def link(self, name: str | None) -> Link | None:
        """Return an interface by name or alternative name, None where there is none."""
        if name is None:
            return None
        found = self.links.get(name)
        return found if found is not None else self._alternatives.get(name)

    @cached_property
    def _alternatives(self) -> dict[str, Link]:
        return {alternative: link for link in self.snapshot.links for alternative in link.altnames}

    def peer(self, link: Link) -> tuple[Netns, Link] | None:
        """Return the other end of a veth pair and its namespace, None where it was not read."""
        if link.kind != "veth":
            return None
        return self.lower(link)

    def lower(self, link: Link) -> tuple[Netns, Link] | None:
        """Return what IFLA_LINK points to: a veth's peer, the parent of a VLAN, macvlan or ipvlan."""
        if link.parent_netns == "?":
            return None
        other = self if link.parent_netns is None else self.world.sibling(self, link.parent_netns)
        if other is None:
            return None
        found = other.link(link.parent)
        if found is None and link.parent_index is not None:
            found = other._by_index.get(link.parent_index)  # noqa: SLF001
        return None if found is None else (other, found)

    @cached_property
    def _by_index(self) -> dict[int, Link]:
        return {link.ifindex: link for link in self.snapshot.links}

    @cached_property
    def _ports(self) -> dict[str, tuple[Link, ...]]:
        ports: dict[str, list[Link]] = {}
        for link in self.snapshot.links:
            if link.master is not None:
                ports.setdefault(link.master, []).append(link)
        return {master: tuple(found) for master, found in ports.items()}

    def bridge_ports(self, bridge: str) -> tuple[Link, ...]:
        """Return the interfaces whose master is `bridge`, in the order of the snapshot."""
        return self._ports.get(bridge, ())

    def bridge_of(self, link: Link) -> Link | None:
        """Return the bridge whose port `link` is."""
        master = self.link(link.master)
        return master if master is not None and master.kind == "bridge" else None

    @cached_property
    def addresses(self) -> dict[tuple[Family, int], list[tuple[Link, Address]]]:
        """The addresses of every interface: (family, value) -> where they are."""
        found: dict[tuple[Family, int], list[tuple[Link, Address]]] = {}
        for link in self.snapshot.links:
            for entry in link.addresses:
                found.setdefault(address(entry.address), []).append((link, entry))
        return found

    def interface_addresses(self, link: Link, family: Family) -> list[tuple[int, Address]]:
        """Return (value, address) of one interface's addresses, in the kernel's order."""
        name = "ip" if family == 4 else "ip6"
        return [(address(entry.address)[1], entry) for entry in link.addresses if entry.family == name]

    def sysctl(self, name: str, default: str | None = None) -> str | None:
        """Return the text of one setting; dots of an interface name are written as slashes, as in sysctl.conf."""
        return self.snapshot.sysctls.get(name, default)

    def number(self, name: str, default: int) -> int:
        """Return a sysctl as a number; `default` where it is not in the snapshot or is not one."""
        text = self.snapshot.sysctls.get(name)
        try:
            return default if text is None else int(text)
        except ValueError:
            return default

    def conf(self, family: Family, dev: str, name: str, default: int) -> int:
        """Return `net.ipv4.conf.DEV.NAME` as a number."""
        return self.number(f"net.ipv{family}.conf.{dev.replace('.', '/')}.{name}", default)

    @property
    def knows_sysctls(self) -> bool:
        """Whether the snapshot holds settings, so that one which is missing has its default."""
        return bool(self.snapshot.sysctls) or self.was_read("sysctls")

    def was_read(self, section: str) -> bool:
        """Return whether a section of the snapshot was read, so that nothing in it means that there is nothing."""
        return section in self.snapshot.sections

    @cached_property
    def rulesets(self) -> Mapping[tuple[str, str], Ruleset]:
        """Rulesets by (family, backend): ("ip", "nft"). Parsed once, shared between worlds that share the text."""
        return {
            (text.family, text.backend): _parsed(text)
            for text in self.snapshot.rulesets
            if text.family in FAMILY_NUMBERS
        }

    @cached_property
    def ipsets(self) -> dict[str, IpSet]:
        """The ipsets by name."""
        text = self.snapshot.ipsets
        return {} if text is None else shared(text, "ipset", lambda: ipset.parse(text))

    @cached_property
    def neighbours(self) -> dict[tuple[str, Family, int], Neighbour]:
        """The ARP and ND caches: (interface, family, address) -> entry. Proxy entries are not among them."""
        return {
            (entry.dev, *address(entry.dst)): entry for entry in self.snapshot.neighbours if "proxy" not in entry.flags
        }

    @cached_property
    def proxies(self) -> set[tuple[str, Family, int]]:
        """`ip neigh add proxy`: (interface, family, address)."""
        return {(entry.dev, *address(entry.dst)) for entry in self.snapshot.neighbours if "proxy" in entry.flags}


def _parsed(text: RulesetText) -> Ruleset:
    return shared(text, "ruleset", lambda: save.parse(text.text, FAMILY_NUMBERS[text.family], text.backend))
