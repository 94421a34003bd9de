"""Reads the one namespace that this process is in, all of it, and changes nothing: no module is loaded, no table
registered.

Knows nothing of other namespaces or of names; a section that cannot be read is noted with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from netdoctor.collect import conntrack, counters, iproute, ipvs, nftdevices, nsid, sockets, sysctl
from netdoctor.model.errors import NetdoctorError
from netdoctor.model.snapshot import (
    ConntrackEntry,
    Link,
    Namespace,
    Neighbour,
    NftText,
    PolicyRule,
    Route,
    RulesetText,
    Socket,
    Unread,
    VirtualServer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")
Default = TypeVar("Default")

PATH = os.defpath + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
TOOL_SECONDS = 20.0
# (family, backend, program, file that lists the tables of the legacy backend). Legacy ebtables has no such file:
# asking it registers a table, so it is not asked.
RULESETS = (
    ("ip", "nft", "iptables-nft-save", None),
    ("ip6", "nft", "ip6tables-nft-save", None),
    ("ip", "legacy", "iptables-legacy-save", "/proc/net/ip_tables_names"),
    ("ip6", "legacy", "ip6tables-legacy-save", "/proc/net/ip6_tables_names"),
    ("bridge", "nft", "ebtables-nft-save", None),
    ("arp", "nft", "arptables-nft-save", None),
)


@cache
def tool(name: str) -> str | None:
    """Return where a program is, None where it is not installed."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":" + PATH)


@cache
def loaded(module: str) -> bool:
    """Whether a kernel module is there, built in or loaded.

    Asking its netlink family would load it, so this is asked first.
    """
    if Path(f"/sys/module/{module}").is_dir():
        return True
    try:
        with open("/proc/modules", encoding="ascii", errors="replace") as stream:  # noqa: PTH123
            if any(line.partition(" ")[0] == module for line in stream):
                return True
    except OSError:
        return True  # a kernel without modules has everything built in
    builtin = Path(f"/lib/modules/{os.uname().release}/modules.builtin")
    try:
        return any(line.rstrip().endswith(f"/{module}.ko") for line in builtin.read_text().splitlines())
    except OSError:
        return True  # no list: nothing can be loaded from there either


class Reader:
    """Collects the sections of one namespace."""

    def __init__(self, name: str, holders: Mapping[int, tuple[str, int]], siblings: Sequence[tuple[str, int]]) -> None:
        self.name = name
        self.holders = holders
        self.siblings = siblings  # (name, open descriptor) of the other namespaces
        self.unread: list[Unread] = []
        self.sections: list[str] = []

    def read(self) -> Namespace:
        """Return everything that could be read."""
        routes, rules, neighbours = self._by_family()
        return Namespace(
            name=self.name,
            links=self._section("links", self._links, ()),
            routes=routes,
            policy_rules=rules,
            neighbours=neighbours,
            fdb=self._section("fdb", lambda: iproute.fdb(self._run("bridge", "-j", "fdb")), ()),
            port_vlans=self._section("port_vlans", lambda: iproute.port_vlans(self._run("bridge", "-j", "vlan")), ()),
            sysctls=self._section("sysctls", self._sysctls, {}),
            rulesets=self._rulesets(),
            nft=self._section("nft", self._nft, None) if self._has_nft() else None,
            ipsets=self._section("ipsets", lambda: self._run("ipset", "save"), None) if self._has_ipsets() else None,
            ipvs=self._section("ipvs", self._ipvs, ()),
            xfrm_policy=self._section("xfrm_policy", self._xfrm, None),
            conntrack=self._section("conntrack", self._conntrack, ()) if self._tracks() else (),
            conntrack_stats=self._section("conntrack_stats", self._conntrack_stats, {}) if self._tracks() else {},
            counters=self._section("counters", self._counters, {}),
            sockets=self._section("sockets", self._sockets, ()),
            sections=tuple(self.sections),
        )

    def _section(self, name: str, read: Callable[[], T], otherwise: Default) -> T | Default:
        """Read one section; where it cannot be read, say why and go on."""
        try:
            value = read()
        except (NetdoctorError, OSError, ValueError, KeyError, TypeError) as error:
            self.unread.append(Unread(name, str(error) or type(error).__name__, self.name))
            return otherwise
        self.sections.append(name)
        return value

    def _run(self, program: str, *arguments: str) -> str:
        """Return what a tool printed. Raises: NetdoctorError where it is missing, fails or takes too long."""
        path = tool(program)
        if path is None:
            raise NetdoctorError(f"{program} is not installed")
        try:
            done = subprocess.run(
                [path, *arguments], capture_output=True, timeout=TOOL_SECONDS, check=False, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            raise NetdoctorError(f"{program} did not answer within {TOOL_SECONDS:.0f} s") from None
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise NetdoctorError(f"{program} failed: {said[-1] if said else f'status {done.returncode}'}")
        return done.stdout.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()

    def _links(self) -> tuple[Link, ...]:
        ports = iproute.ports(self._run("bridge", "-d", "-j", "link")) if tool("bridge") else {}
        link_text, address_text = self._run("ip", "-d", "-j", "link"), self._run("ip", "-d", "-j", "address")
        found = iproute.links(link_text, address_text, ports)
        wanted = {
            item["ifname"]: item["link_netnsid"]
            for item in iproute.decode(link_text, "ip link")
            if "link_netnsid" in item
        }
        names = nsid.resolve(set(wanted.values()), self.siblings)
        return tuple(
            _with_peer(link, names.get(wanted[link.name], "?"), self.name) if link.name in wanted else link
            for link in found
        )

    def _by_family(self) -> tuple[tuple[Route, ...], tuple[PolicyRule, ...], tuple[Neighbour, ...]]:
        routes: tuple[Route, ...] = ()
        rules: tuple[PolicyRule, ...] = ()
        neighbours: tuple[Neighbour, ...] = ()
        for family, option in (("ip", "-4"), ("ip6", "-6")):
            if family == "ip6" and not Path("/proc/net/if_inet6").exists():
                continue
            suffix = "" if family == "ip" else "6"
            routes += self._section(f"routes{suffix}", partial(self._routes, family, option), ())
            rules += self._section(f"policy_rules{suffix}", partial(self._policy_rules, family, option), ())
            neighbours += self._section(f"neighbours{suffix}", partial(self._neighbours, family, option), ())
        return routes, rules, neighbours

    def _routes(self, family: str, option: str) -> tuple[Route, ...]:
        text = self._run("ip", option, "-d", "-j", "route", "show", "table", "all")
        objects = self._run("ip", "-j", "nexthop") if '"nhid"' in text else ""
        return iproute.routes(text, family, objects)

    def _policy_rules(self, family: str, option: str) -> tuple[PolicyRule, ...]:
        return iproute.policy_rules(self._run("ip", option, "-d", "-j", "rule"), family)

    def _neighbours(self, family: str, option: str) -> tuple[Neighbour, ...]:
        cached = self._run("ip", option, "-j", "neigh", "show", "nud", "all")
        proxies = self._run("ip", option, "-j", "neigh", "show", "proxy")
        return (*iproute.neighbours(cached, family), *iproute.neighbours(proxies, family))

    def _sysctls(self) -> dict[str, str]:
        found = sysctl.read()
        if not found:
            raise NetdoctorError("/proc/sys/net is not readable")
        return found

    def _rulesets(self) -> tuple[RulesetText, ...]:
        found = []
        for family, backend, program, tables in RULESETS:
            section = f"{family}tables-{backend}"
            if not self._may_hold_rules(backend, tables, program):
                if family in {"ip", "ip6"}:
                    self.sections.append(section)  # known to be empty
                continue
            text = self._section(section, lambda p=program: self._run(p, *(() if "arp" in p else ("-c",))), None)  # type: ignore[misc]
            if text:
                found.append(RulesetText(family, backend, text, _tool_line(text)))
        return tuple(found)

    def _may_hold_rules(self, backend: str, tables: str | None, program: str) -> bool:
        if backend == "nft":
            return loaded("nf_tables") and (program.startswith(("ip", "ip6")) or tool(program) is not None)
        if tables is None:
            return False
        try:
            return bool(Path(tables).read_text().strip())
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def _has_nft(self) -> bool:
        return loaded("nf_tables") and tool("nft") is not None

    def _nft(self) -> NftText:
        text = self._run("nft", "-j", "list", "ruleset")
        begin = text.find("{")
        text = nftdevices.completed(text[max(begin, 0) :], lambda: self._run("nft", "list", "chains"))
        try:
            hooks = self._run("nft", "list", "hooks")
        except NetdoctorError:
            hooks = None  # older tools do not know the command
        return NftText(text, hooks)

    def _has_ipsets(self) -> bool:
        return loaded("ip_set") and tool("ipset") is not None

    def _ipvs(self) -> tuple[VirtualServer, ...]:
        """Without the module the file is not there, and nothing is balanced."""
        try:
            return ipvs.parse(Path("/proc/net/ip_vs").read_text())
        except FileNotFoundError:
            return ()

    def _xfrm(self) -> str:
        """Without the module that lists policies nobody can have made one, but by PF_KEY."""
        if loaded("xfrm_user"):
            return self._run("ip", "xfrm", "policy")
        if loaded("af_key"):
            raise NetdoctorError("listing policies would load the module xfrm_user")
        return ""

    def _tracks(self) -> bool:
        return Path("/proc/sys/net/netfilter/nf_conntrack_max").exists()

    def _conntrack(self) -> tuple[ConntrackEntry, ...]:
        try:
            return conntrack.parse(Path("/proc/net/nf_conntrack").read_text(errors="replace"))
        except FileNotFoundError:
            return conntrack.parse(self._run("conntrack", "-L", "-o", "extended")) + self._conntrack6()

    def _conntrack6(self) -> tuple[ConntrackEntry, ...]:
        return conntrack.parse(self._run("conntrack", "-L", "-f", "ipv6", "-o", "extended"))

    def _conntrack_stats(self) -> dict[str, int]:
        return conntrack.stats(Path("/proc/net/stat/nf_conntrack").read_text())

    def _counters(self) -> dict[str, int]:
        return counters.parse(_text("/proc/net/snmp"), _text("/proc/net/netstat"), _text("/proc/net/snmp6"))

    def _sockets(self) -> tuple[Socket, ...]:
        """Listeners, and unconnected sockets that receive: UDP and raw ones that are connected get only their
        peer's. PROC_ROOT makes ss read /proc: its netlink family would load a module for each protocol.
        """
        words = ["ss", "-H", "-O", "-l", "-n", "-e", "-t", "-u", "-w"]
        if not all(loaded(module) for module in ("tcp_diag", "udp_diag", "raw_diag")):
            words = ["env", "PROC_ROOT=/proc", tool("ss") or "ss", *words[1:]]
        try:
            text = self._run(*words, "--inet-sockopt")
        except NetdoctorError:  # iproute2 before 5.9 does not know it
            text = self._run(*words)
        return sockets.parse(text, self.holders)


def _with_peer(link: Link, netns: str, own: str) -> Link:
    from msgspec.structs import replace

    return replace(link, parent_netns=None if netns == own else netns)


def _tool_line(text: str) -> str | None:
    """`# Generated by iptables-nft-save v1.8.9 (nf_tables) on …`."""
    first = text.partition("\n")[0]
    return first.removeprefix("# Generated by ").partition(" on ")[0] if first.startswith("# Generated by ") else None


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
