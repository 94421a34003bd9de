"""One namespace from the files that hold its sections; what is missing or damaged is noted with the reason.

Knows nothing of other namespaces, of names, or of where the files come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from netdoctor.collect import conntrack, counters, iproute, iptext, ipvs, nftdevices, sockets, sysctl
from netdoctor.collect.saved.layout import SECTION_OF, SECTIONS
from netdoctor.model.errors import NetdoctorError
from netdoctor.model.snapshot import (
    ConntrackEntry,
    FdbEntry,
    Link,
    Namespace,
    Neighbour,
    NftText,
    PolicyRule,
    PortVlan,
    Route,
    RulesetText,
    Socket,
    Unread,
    VirtualServer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netdoctor.collect.saved.folder import Folder

T = TypeVar("T")

# What the snapshot calls a section, where that is not what its file is called.
_WHAT = {
    "ip-link": "links",
    "ip-addr": "addresses",
    "ip-route": "routes",
    "ip-6-route": "routes6",
    "ip-rule": "policy_rules",
    "ip-6-rule": "policy_rules6",
    "ip-neigh": "neighbours",
    "ip-6-neigh": "neighbours6",
    "ip-xfrm-policy": "xfrm_policy",
    "bridge-fdb": "fdb",
    "bridge-vlan": "port_vlans",
    "sysctl": "sysctls",
    "conntrack-6": "conntrack",
    "ss": "sockets",
    "ipset": "ipsets",
}
_RULESETS = (
    ("iptables-nft", "ip", "nft"),
    ("ip6tables-nft", "ip6", "nft"),
    ("iptables-legacy", "ip", "legacy"),
    ("ip6tables-legacy", "ip6", "legacy"),
    ("iptables", "ip", None),
    ("ip6tables", "ip6", None),
    ("ebtables", "bridge", "nft"),
    ("ebtables-legacy", "bridge", "legacy"),
    ("arptables", "arp", "nft"),
)


class Sections:
    """The files of one namespace."""

    def __init__(
        self, folder: Folder, paths: Mapping[str, str], name: str, backend: str | None, *, complete: bool = False
    ) -> None:
        """`complete`: the collector made the folder; a file that is neither there nor excused had nothing to hold."""
        self._folder = folder
        self._paths = paths
        self._name = name
        self._backend = backend  # of the host's `iptables`, where something tells
        self._complete = complete
        self.unread: list[Unread] = []
        self._sections: list[str] = []
        self._excused = self._excuses()

    def _excuses(self) -> frozenset[str]:
        """Note why the collector could not make a file (`FILE: WHY`); return the sections that those files hold."""
        try:
            lines = self._text("not-read").splitlines()
        except NetdoctorError as error:
            self._note("not-read", str(error))
            return frozenset()
        sections = set()
        for file, _, why in (line.partition(": ") for line in lines):
            section = _WHAT.get(SECTION_OF.get(file, ""), SECTION_OF.get(file, file))
            self._note(section, why)
            sections.add(section)
        return frozenset(sections)

    def read(self) -> Namespace:
        """Return everything that the files hold."""
        links, routes, policy_rules = self._links(), self._routes(), self._policy_rules()
        forwards = any(link.kind in {"bridge", "vxlan"} for link in links)
        return Namespace(
            name=self._name,
            links=links,
            routes=routes,
            policy_rules=policy_rules,
            neighbours=self._neighbours(),
            fdb=self._one("fdb", "bridge-fdb", iproute.fdb, tuple[FdbEntry, ...], (), quiet=not forwards),
            port_vlans=self._one("port_vlans", "bridge-vlan", iproute.port_vlans, tuple[PortVlan, ...], (), quiet=True),
            sysctls=self._one("sysctls", "sysctl", sysctl.parse, dict[str, str], {}),
            rulesets=self._rulesets(),
            nft=self._nft(),
            ipsets=self._one("ipsets", "ipset", str, str, None, quiet=True),
            ipvs=self._one("ipvs", "ipvs", ipvs.parse, tuple[VirtualServer, ...], (), quiet=True),
            xfrm_policy=self._one("xfrm_policy", "ip-xfrm-policy", str, str, None, quiet=True),
            conntrack=self._conntrack(),
            conntrack_stats=self._one(
                "conntrack_stats", "conntrack-stats", conntrack.stats, dict[str, int], {}, quiet=True
            ),
            counters=self._counters(),
            sockets=self._one("sockets", "ss", sockets.parse, tuple[Socket, ...], ()),
            sections=tuple(dict.fromkeys(self._sections)),
        )

    def _text(self, file: str) -> str:
        return self._folder.text(self._paths[file]) if file in self._paths else ""

    def _one(
        self, section: str, file: str, parse: Callable[[str], Any], kind: Any, otherwise: T, *, quiet: bool = False
    ) -> T:
        """Read the section that one file holds. `quiet`: most hosts have none, so its absence is not worth a note."""
        if file not in self._paths:
            if not quiet:
                self._missing(section, SECTIONS[file][0])
            return otherwise
        return self._section(section, lambda: parse(self._text(file)), kind, otherwise)

    def _section(self, section: str, read: Callable[[], Any], kind: Any, otherwise: T) -> T:
        """Read a section; where that fails, note why and go on. The structs are checked: the input is a stranger's."""
        try:
            value: T = msgspec.json.decode(msgspec.json.encode(read()), type=kind)
        except (NetdoctorError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            self._note(section, str(error) or type(error).__name__)
            return otherwise
        self._sections.append(section)
        return value

    def _missing(self, section: str, files: str) -> None:
        if not self._complete and section not in self._excused:
            self._note(section, f"no {files} among the files")

    def _note(self, section: str, why: str) -> None:
        self.unread.append(Unread(section, why, self._name))

    def _links(self) -> tuple[Link, ...]:
        if "ip-link" not in self._paths and "ip-addr" not in self._paths:
            self._missing("links", "ip-link.json, ip-addr.json or ip-addr.txt")
            return ()
        if "ip-addr" not in self._paths:
            self._missing("addresses", "ip-addr.json")
        found: tuple[Link, ...] = self._section("links", self._read_links, tuple[Link, ...], ())
        if len(found) > 1 and all(link.kind is None for link in found) and not self._has_details():
            self._note("link kinds", "the interfaces were saved without -d: no bridge, veth or tunnel can be told")
        return found

    def _addresses(self) -> str:
        """The output of `ip -j address`; what it prints without -j is turned into that."""
        text = self._text("ip-addr")
        return text if text.lstrip()[:1] in ("", "[") else iptext.as_json(text)

    def _read_links(self) -> tuple[Link, ...]:
        ports = iproute.ports(self._text("bridge-link"))
        return iproute.links(self._text("ip-link"), self._addresses(), ports)

    def _has_details(self) -> bool:
        return any('"promiscuity"' in text for text in (self._text("ip-link"), self._addresses()))

    def netnsids(self) -> dict[str, int]:
        """Return interface -> nsid of the namespace that its peer or lower device is in."""
        try:
            listed = iproute.decode(self._text("ip-link") or self._addresses(), "ip link")
        except (NetdoctorError, RecursionError):
            return {}  # the section's own note says why
        return {
            item["ifname"]: item["link_netnsid"]
            for item in listed
            if isinstance(item.get("ifname"), str) and isinstance(item.get("link_netnsid"), int)
        }

    def _routes(self) -> tuple[Route, ...]:
        if "ip-route" not in self._paths and "ip-6-route" not in self._paths:
            self._missing("routes", "ip-route.json")
            return ()
        found: list[Route] = []
        nexthops = self._text("ip-nexthop")
        for file in ("ip-route", "ip-6-route"):
            if file not in self._paths:
                continue
            for family, text in self._by_family(file, "ip6" if file == "ip-6-route" else None):
                section = "routes" if family == "ip" else "routes6"
                found += self._section(
                    section,
                    lambda text=text, family=family: iproute.routes(text, family, nexthops),  # type: ignore[misc]
                    tuple[Route, ...],
                    (),
                )
        if found and not any(route.table == iproute.TABLES["local"] for route in found):
            self._note("local routes", "not among the saved routes: `ip -d -j route show table all` has them")
        return tuple(found)

    def _by_family(self, file: str, family: str | None) -> list[tuple[str, str]]:
        """Split a listing that may hold both families (`ip -j route show table all`)."""
        text = self._text(file)
        if family is not None:
            return [(family, text)]
        try:
            listed = iproute.decode(text, file)
        except (NetdoctorError, RecursionError):
            return [("ip", text)]  # whoever parses it says what is wrong with it
        split: dict[str, list[Any]] = {"ip": [], "ip6": []}
        for item in listed:
            split["ip6" if _is_ip6(item) else "ip"].append(item)
        return [
            (family, msgspec.json.encode(items).decode()) for family, items in split.items() if items or family == "ip"
        ]

    def _policy_rules(self) -> tuple[PolicyRule, ...]:
        found: tuple[PolicyRule, ...] = self._one(
            "policy_rules", "ip-rule", lambda text: iproute.policy_rules(text, "ip"), tuple[PolicyRule, ...], ()
        )
        found += self._one(
            "policy_rules6",
            "ip-6-rule",
            lambda text: iproute.policy_rules(text, "ip6"),
            tuple[PolicyRule, ...],
            (),
            quiet=True,
        )
        return found

    def _neighbours(self) -> tuple[Neighbour, ...]:
        files = [file for file in ("ip-neigh", "ip-6-neigh", "ip-neigh-proxy") if file in self._paths]
        if not files:
            self._missing("neighbours", "ip-neigh.json")
            return ()
        found: tuple[Neighbour, ...] = ()
        for family, section in (("ip", "neighbours"), ("ip6", "neighbours6")):
            part: tuple[Neighbour, ...] = self._section(
                section,
                lambda family=family: [  # type: ignore[misc]
                    entry for file in files for entry in iproute.neighbours(self._text(file), family)
                ],
                tuple[Neighbour, ...],
                (),
            )
            found += part
        return found

    def _rulesets(self) -> tuple[RulesetText, ...]:
        found: dict[tuple[str, str], RulesetText] = {}
        for file, family, backend in _RULESETS:
            if file not in self._paths:
                continue
            text = self._section(file, lambda file=file: self._text(file), str, None)  # type: ignore[misc]
            if text is None:
                continue
            tool = _tool_line(text)
            kind = backend or _backend(tool) or self._backend or self._guess_backend()
            self._sections.remove(file)
            self._sections.append(f"{family}tables-{kind}")
            if text.strip() and (family, kind) not in found:
                found[family, kind] = RulesetText(family, kind, text, tool)
            if "-legacy tables present" in text and f"{file}-legacy" not in self._paths:
                self._note(f"{family}tables-legacy", f"the node has such tables, but no {file}-legacy-save.txt is here")
        if not {"nft", "iptables", "iptables-nft", "iptables-legacy"} & self._paths.keys():
            self._missing("iptables", "iptables-save.txt or nft-list-ruleset.json")
        if self._complete:
            known = {"iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"}
            self._sections += sorted(known - self._excused - set(self._sections))
        return tuple(found.values())

    def _guess_backend(self) -> str:
        """Without its header, a ruleset is nft's where nft lists a table of iptables' naming, else the legacy one's."""
        text = self._text("nft")
        return "nft" if any(f'"name":"{name}"' in text.replace(" ", "") for name in ("filter", "nat")) else "legacy"

    def _nft(self) -> NftText | None:
        if "nft" not in self._paths and "nft-hooks" not in self._paths:
            return None
        return self._section("nft", self._read_nft, NftText, None)

    def _read_nft(self) -> NftText:
        text = self._text("nft")
        text = text[max(text.find("{"), 0) :]
        if text.strip():
            msgspec.json.decode(text, type=dict[str, msgspec.Raw])  # is it JSON at all?
            text = nftdevices.completed(text, lambda: self._text("nft-chains"))
        return NftText(text or None, self._text("nft-hooks") or None)

    def _conntrack(self) -> tuple[ConntrackEntry, ...]:
        text = "\n".join(self._text(file) for file in ("conntrack", "conntrack-6") if file in self._paths)
        return self._one("conntrack", "conntrack", lambda _: conntrack.parse(text), tuple[ConntrackEntry, ...], ())

    def _counters(self) -> dict[str, int]:
        files = ("snmp", "netstat", "snmp6")
        if not any(file in self._paths for file in files):
            return {}
        return self._section(
            "counters", lambda: counters.parse(*(self._text(file) for file in files)), dict[str, int], {}
        )


def _is_ip6(item: dict[str, Any]) -> bool:
    """Whether a route is IPv6's. Where no address tells (`default dev wg0`), only IPv6 routes have a preference."""
    hops = item.get("nexthops")
    for one in (item, *(hops if isinstance(hops, list) else ())):
        if not isinstance(one, dict):
            continue
        via = one.get("via")
        texts = [one.get("dst"), one.get("from"), one.get("prefsrc"), one.get("gateway")]
        if isinstance(via, dict):  # an IPv4 route by an IPv6 gateway says its family here
            return via.get("family") != "inet6"
        for text in texts:
            if isinstance(text, str) and ":" in text:
                return True
            if isinstance(text, str) and "." in text:
                return False
    return "pref" in item


def _tool_line(text: str) -> str | None:
    """Return how the tool names itself: `# Generated by iptables-save v1.8.9 (nf_tables) on Sun …`."""
    first = text[:500].lstrip().partition("\n")[0]
    said = first.removeprefix("# Generated by ")
    return said.partition(" on ")[0] if said != first else None


def _backend(tool: str | None) -> str | None:
    if tool is None:
        return None
    return "nft" if "nf_tables" in tool else "legacy"
