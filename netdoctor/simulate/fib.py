"""The routing tables of one namespace, compiled: policy rules in order, tables as hashes by prefix length.

Knows nothing of packets that arrive or of source addresses. Kernel: net/ipv4/fib_trie.c:fib_table_lookup,
fib_rules.c, net/core/fib_rules.c:fib_rules_lookup, net/ipv6/fib6_rules.c, ip6_fib.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from netdoctor.model.snapshot import Nexthop, PolicyRule, Route
from netdoctor.netfilter.packet import PROTOCOL_NAMES, format_address
from netdoctor.netfilter.ternary import Unknown
from netdoctor.topology.addresses import BITS, contains, prefix
from netdoctor.topology.shared import shared

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netdoctor.netfilter.packet import Family
    from netdoctor.netfilter.ternary import Answer
    from netdoctor.simulate.run import Run
    from netdoctor.topology.namespace import Netns

LOCAL, MAIN, DEFAULT = 255, 254, 253

ERRORS = {
    "unreachable": "EHOSTUNREACH",
    "prohibit": "EACCES",
    "blackhole": "EINVAL",
    "throw": "EAGAIN",
    "nat": "EINVAL",
}
SCOPES = {"global": 0, "universe": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}


@dataclass(frozen=True, slots=True)
class Key:
    """What is looked up: struct flowi4, flowi6."""

    family: Family
    dst: int
    src: int = 0  # 0: not chosen yet
    iif: str | None = "lo"  # "lo": made here
    oif: str | None = None
    preferred: str | None = None  # a device that `oif` of a rule sees, and that routes need not go by
    mark: int = 0
    tos: int = 0
    proto: int = 0
    sport: int | None = None
    dport: int | None = None
    uid: int | None = 0  # root's also where no process sent it, forwarded too (sock_net_uid); None: not known whose


@dataclass(frozen=True, slots=True)
class Entry:
    """A route, its prefix read."""

    route: Route
    network: tuple[int, int, int]
    source: tuple[int, int, int] | None
    ways: tuple[Nexthop, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """The answer: a route, or an error with the route that gave it."""

    errno: str | None
    entry: Entry | None = None
    ways: tuple[Nexthop, ...] = ()
    rule: PolicyRule | None = None

    @property
    def kind(self) -> str:
        """The route's type; "" without a route."""
        return "" if self.entry is None else self.entry.route.type

    def text(self) -> str:
        """Return the route as iproute2 prints it, in short."""
        if self.entry is None:
            return "no route"
        return route_text(self.entry.route, self.ways[0] if len(self.ways) == 1 else None)


NO_ROUTE = Found("ENETUNREACH")


def route_text(route: Route, way: Nexthop | None = None) -> str:
    """Return a route as `ip route` prints it, without what decides nothing here."""
    dst = (
        "default"
        if route.dst in ("0.0.0.0/0", "::/0")
        else route.dst.removesuffix("/32" if ":" not in route.dst else "/128")
    )
    words = [dst] if route.type == "unicast" else [route.type, dst]
    for hop in route.nexthops if way is None else (way,):
        if len(route.nexthops) > 1 and way is None:
            words.append("nexthop")
        if hop.via is not None:
            words += ["via", hop.via]
        if hop.dev is not None:
            words += ["dev", hop.dev]
    if route.table not in (MAIN, LOCAL):
        words += ["table", str(route.table)]
    return " ".join(words)


class Table:
    """One routing table: prefix length -> network -> routes, best first."""

    def __init__(self, family: Family, entries: Iterable[Entry]) -> None:
        self.bits = BITS[family]
        self._lengths: dict[int, dict[int, list[Entry]]] = {}
        for entry in entries:
            networks = self._lengths.setdefault(entry.network[2], {})
            networks.setdefault(entry.network[1], []).append(entry)
        for networks in self._lengths.values():
            for routes in networks.values():
                # Stable: of equal metric, the one that the kernel lists first is used.
                routes.sort(key=lambda entry: (-entry.route.tos, entry.route.metric))
        self._order = sorted(self._lengths, reverse=True)

    def candidates(self, value: int) -> Iterable[Entry]:
        """Yield the routes to an address, the most specific first (fib_table_lookup, fib6_node_lookup)."""
        for length in self._order:
            shift = self.bits - length
            routes = self._lengths[length].get((value >> shift) << shift)
            if routes is not None:
                yield from routes


class Fib:
    """Everything about routing in one namespace and family."""

    def __init__(self, netns: Netns, family: Family) -> None:
        self.netns = netns
        self.family = family
        name = "ip" if family == 4 else "ip6"
        routes = [route for route in netns.snapshot.routes if route.family == name]
        self.complete = bool(routes) or netns.was_read("routes")  # else only what the kernel adds for addresses
        self.synthesised = not any(route.table == LOCAL for route in routes)
        if self.synthesised:
            routes += list(_local_routes(netns, family))
            if not self.complete:
                routes += list(_connected_routes(netns, family))
        tables: dict[int, list[Entry]] = {}
        for route in routes:
            entry = _entry(route)
            if entry is not None:
                tables.setdefault(route.table, []).append(entry)
        self.tables = {number: Table(family, entries) for number, entries in tables.items()}
        rules = [rule for rule in netns.snapshot.policy_rules if rule.family == name]
        self.rules = tuple(sorted(rules, key=lambda rule: rule.priority)) or _default_rules(family)
        self.custom_rules = [(rule.priority, rule.table, rule.src) for rule in self.rules] != [
            (rule.priority, rule.table, rule.src) for rule in _default_rules(family)
        ]
        # fib_frontend.c:inet_rtm_newroute sets fib_has_custom_local_routes for every local route that a person adds.
        self.custom_local_routes = any(route.type == "local" and route.protocol != "kernel" for route in routes)

    def lookup(self, run: Run | None, key: Key, *, ignore_linkdown: bool = False) -> Found:
        """Return the route for a key (fib_lookup, fib6_rule_lookup).

        `run` decides what the snapshot does not say; without one, an undecided rule counts as not matching.
        """
        priority_wanted: int | None = None
        for rule in self.rules:
            if priority_wanted is not None:
                if rule.priority != priority_wanted:
                    continue
                priority_wanted = None
            answer = _rule_matches(self.netns, rule, key)
            if isinstance(answer, Unknown):
                if run is None:
                    continue
                why = answer.why
                answer = run.choose([f"{why}: assumed to match", f"{why}: assumed not to match"]) == 0
            if not answer:
                continue
            if rule.action == "goto":
                priority_wanted = rule.goto
                continue
            if rule.action == "nop":
                continue
            if rule.action != "lookup":
                return Found(ERRORS.get(rule.action, "EINVAL"), rule=rule)
            found = self._in_table(self._table_of(rule, key), key, ignore_linkdown=ignore_linkdown)
            if found is None or found.errno == "EAGAIN" or self._suppressed(rule, found):
                continue
            return Found(found.errno, found.entry, found.ways, rule)
        return NO_ROUTE

    def in_table(self, number: int, key: Key) -> Found | None:
        """Return what one table says (fib_table_lookup, fib6_table_lookup)."""
        return self._in_table(number, key, ignore_linkdown=True)

    def _table_of(self, rule: PolicyRule, key: Key) -> int:
        if rule.l3mdev:
            for name in (key.oif, key.iif):
                link = self.netns.link(name)
                master = None if link is None else link if link.vrf_table is not None else self.netns.link(link.master)
                if master is not None and master.vrf_table is not None:
                    return master.vrf_table
            return 0
        return rule.table if rule.table is not None else MAIN

    def _in_table(self, number: int, key: Key, *, ignore_linkdown: bool) -> Found | None:
        """What one table says (fib_table_lookup, fib6_table_lookup)."""
        table = self.tables.get(number)
        if table is None:
            return None
        for entry in table.candidates(key.dst):
            route = entry.route
            if route.tos and route.tos & 0xFC != key.tos & 0xFC:
                continue
            if entry.source is not None and not contains(entry.source, key.family, key.src):
                continue
            if route.type in ERRORS:
                return Found(ERRORS[route.type], entry)
            ways = tuple(way for way in entry.ways if self._usable(way, key.oif, ignore_linkdown=ignore_linkdown))
            if ways:
                return Found(None, entry, ways)
        return None

    def _usable(self, way: Nexthop, oif: str | None, *, ignore_linkdown: bool) -> bool:
        """Whether a next hop may be taken (fib_lookup_good_nhc, rt6_score_route)."""
        if "dead" in way.flags:
            return False
        if oif is not None and way.dev != oif:
            return False
        if "linkdown" in way.flags and not ignore_linkdown and way.dev is not None:
            conf = "ignore_routes_with_linkdown"
            if self.netns.conf(self.family, way.dev, conf, 0) or (
                self.family == 4 and self.netns.conf(4, "all", conf, 0)
            ):
                return False
        return True

    def _suppressed(self, rule: PolicyRule, found: Found) -> bool:
        """Whether `suppress_prefixlength` or `suppress_ifgroup` makes the rule go on (fib4_rule_suppress)."""
        if found.entry is None or found.errno is not None:
            return False
        if rule.suppress_prefixlength is not None and found.entry.network[2] <= rule.suppress_prefixlength:
            return True
        if rule.suppress_ifgroup is not None and found.ways:
            link = self.netns.link(found.ways[0].dev)
            return link is not None and link.group == rule.suppress_ifgroup
        return False


def fib(netns: Netns, family: Family) -> Fib:
    """Return the compiled tables of a namespace."""
    name = f"fib{family}"
    if name not in netns.cache:
        netns.cache[name] = shared(netns.snapshot, name, lambda: Fib(netns, family))
    found = cast("Fib", netns.cache[name])
    found.netns = netns
    return found


def _rule_matches(netns: Netns, rule: PolicyRule, key: Key) -> Answer:
    """Whether a rule applies (fib_rule_match, fib4_rule_match, fib6_rule_match)."""
    if rule.l3mdev and not any(
        (link := netns.link(name)) is not None
        and (link.vrf_table is not None or ((up := netns.link(link.master)) is not None and up.vrf_table is not None))
        for name in (key.iif, key.oif)
    ):
        return rule.inverted
    answer = _selects(rule, key)
    if isinstance(answer, bool):
        return answer is not rule.inverted
    return answer


def _selects(rule: PolicyRule, key: Key) -> Answer:
    """Whether the selectors of a rule fit (fib_rule_match, fib4_rule_match, fib6_rule_match)."""
    if rule.iif is not None and rule.iif != key.iif:
        return False
    if rule.oif is not None and rule.oif not in (key.oif, key.preferred):
        return False
    if rule.fwmark is not None and (rule.fwmark ^ key.mark) & rule.fwmask:
        return False
    if rule.src is not None and not contains(prefix(rule.src), key.family, key.src):
        return False
    if rule.dst is not None and not contains(prefix(rule.dst), key.family, key.dst):
        return False
    if rule.tos is not None and rule.tos & 0xFC != key.tos & 0xFC:
        return False
    if rule.ipproto is not None and rule.ipproto not in (str(key.proto), PROTOCOL_NAMES.get(key.proto)):
        return False
    for ports, port in ((rule.sport, key.sport), (rule.dport, key.dport)):
        if ports is not None and (port is None or not ports[0] <= port <= ports[1]):
            return False
    if rule.uidrange is not None:
        if key.uid is None:
            return Unknown(f"ip rule {rule.priority}: uidrange of a process whose user is not known")
        if not rule.uidrange[0] <= key.uid <= rule.uidrange[1]:
            return False
    if rule.unmodelled:
        return Unknown(f"ip rule {rule.priority}: {' '.join(rule.unmodelled)}")
    return True


def _entry(route: Route) -> Entry | None:
    try:
        network = prefix(route.dst)
        source = None if route.src is None or route.src in ("default", "::/0") else prefix(route.src)
    except ValueError:
        return None
    return Entry(route, network, source, route.nexthops or (Nexthop(),))


def _default_rules(family: Family) -> tuple[PolicyRule, ...]:
    name = "ip" if family == 4 else "ip6"
    own = PolicyRule(family=name, priority=0, table=LOCAL)
    main = PolicyRule(family=name, priority=32766, table=MAIN)
    return (own, main, PolicyRule(family=name, priority=32767, table=DEFAULT)) if family == 4 else (own, main)


def _local_routes(netns: Netns, family: Family) -> Iterable[Route]:
    """The local table as the kernel fills it (fib_add_ifaddr), for snapshots that hold none."""
    name = "ip" if family == 4 else "ip6"
    for link in netns.snapshot.links:
        if not link.is_up:
            continue
        made = partial(Route, family=name, table=LOCAL, protocol="kernel", nexthops=(Nexthop(dev=link.name),))
        for value, entry in netns.interface_addresses(link, family):
            own = format_address(family, value)
            source = own if family == 4 else None
            yield made(dst=f"{own}/{BITS[family]}", type="local", prefsrc=source, scope="host")
            if family == 4 and link.link_type == "loopback":
                yield made(dst=f"{own}/{entry.prefixlen}", type="local", prefsrc=own, scope="host")
            elif entry.broadcast is not None:
                yield made(dst=f"{entry.broadcast}/32", type="broadcast", prefsrc=own, scope="link")
        if family == 6 and link.link_type != "loopback":
            yield made(dst="ff00::/8", type="multicast", metric=256)


def _connected_routes(netns: Netns, family: Family) -> Iterable[Route]:
    """The routes to the subnets of addresses (fib_add_ifaddr, addrconf_prefix_route)."""
    name = "ip" if family == 4 else "ip6"
    for link in netns.snapshot.links:
        if not link.is_up or link.link_type == "loopback":
            continue
        for entry in link.addresses:
            if entry.family == name and "noprefixroute" not in entry.flags:
                network = prefix(f"{entry.peer or entry.address}/{entry.prefixlen}")
                yield Route(
                    family=name,
                    dst=f"{format_address(family, network[1])}/{network[2]}",
                    prefsrc=entry.address if family == 4 else None,
                    scope="link",
                    protocol="kernel",
                    metric=256 if family == 6 else 0,
                    nexthops=(Nexthop(dev=link.name),),
                )
