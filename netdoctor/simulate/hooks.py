"""The order of everything that sees a packet at a hook, as a table; and the walk through it.

Knows nothing of what a table's rules mean, or of where the packet goes afterwards.
Kernel: net/netfilter/core.c:nf_hook_slow, nf_hook_entries_grow.

    PREROUTING --> route --> FORWARD --> POSTROUTING
                     |                       ^
                   INPUT --> process --> OUTPUT
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import UDP, family_name
from netdoctor.simulate import ipvs, nat, native, tables
from netdoctor.simulate.conntrack import Conntrack
from netdoctor.simulate.order import Asked, in_order
from netdoctor.simulate.run import Fate
from netdoctor.simulate.surroundings import Here

if TYPE_CHECKING:
    from collections.abc import Callable

    from netdoctor.netfilter.effect import CtTemplate
    from netdoctor.netfilter.packet import Family, Hook, Packet
    from netdoctor.simulate.routing import Route
    from netdoctor.simulate.run import Run
    from netdoctor.topology.namespace import Netns

TABLES = ("raw", "mangle", "filter", "security")
# include/uapi/linux/netfilter_ipv4.h:nf_ip_hook_priorities; iptables-nft (iptables/nft.c:xtables_ipv4) has its own
# number for `security`.
PRIORITY = {
    "legacy": {"raw": -300, "mangle": -150, "filter": 0, "security": 50},
    "nft": {"raw": -300, "mangle": -150, "filter": 0, "security": 150},
}
# What the kernel itself does there, and when: net/netfilter/nf_conntrack_proto.c:ipv4_conntrack_ops,
# nf_nat_proto.c:nf_nat_ipv4_ops.
OWN: dict[str, tuple[Asked, ...]] = {
    "PREROUTING": (Asked(-200, "conntrack", "conntrack"), Asked(-100, "nat", "nat")),
    "INPUT": (Asked(100, "nat", "nat"), Asked(2147483647, "confirm", "confirm")),
    "FORWARD": (),
    "OUTPUT": (Asked(-200, "conntrack", "conntrack"), Asked(-100, "nat", "nat")),
    "POSTROUTING": (Asked(100, "nat", "nat"), Asked(2147483647, "confirm", "confirm")),
}


@dataclass(slots=True)
class At:
    """A packet at a hook."""

    run: Run
    netns: Netns
    hook: Hook
    packet: Packet
    route: Route | None = None  # where it goes, once that is decided
    template: CtTemplate | None = None  # what CT has attached to it before its connection is looked for

    def untrack(self) -> None:
        """Keep conntrack off it, unless that has seen it or CT has prepared it (notrack_tg, nft_notrack_eval)."""
        if self.packet.connection is None and self.template is None:
            self.packet.ctstate = "UNTRACKED"

    def prepare(self, template: CtTemplate) -> None:
        """Attach what its connection is to be made with: the first counts, and until then it seems NEW (nf_ct_set)."""
        if self.template is None:
            self.template = template
            self.packet.ctstate = "NEW"

    def here(self, table: str) -> Here:
        """Return what matches may ask."""
        return Here(self.run, self.netns, self.hook, table)


def pass_hook(at: At, after: Callable[[At, str, Packet], Fate | None] | None = None) -> Fate | None:
    """Take a packet through one hook (nf_hook_slow). Returns how it ended there, None where it goes on.

    `after` is called with the packet as it was before each table: in OUTPUT a change makes the kernel route again.
    """
    for one in in_order(at, _asked(at)):
        before = at.packet.clone() if after is not None else at.packet
        fate: Fate | None = None
        if one.place is not None:
            result = one.place.walk(at)
            fate = tables.carry_out(at, result)
        elif one.what == "conntrack":
            fate = _conntrack(at)
        elif one.what == "nat":
            fate = nat.pass_nat(at)
        elif one.what in ipvs.STEPS:
            fate = ipvs.pass_ipvs(at, one.what)
        else:
            fate = _confirm(at)
        if fate is None and after is not None:
            fate = after(at, one.what, before)
        if fate is not None:
            return fate
    return None


def _asked(at: At) -> tuple[Asked, ...]:
    """All that see a packet of a family at a hook: tables of both backends, native chains, the kernel's own steps."""
    netns, family, hook = at.netns, at.packet.family, at.hook
    key = f"asked {family} {hook}"
    found: tuple[Asked, ...] | None = netns.cache.get(key)
    if found is None:
        asked = [*OWN[hook], *ipvs.asked(netns, hook)]
        asked += [
            Asked(PRIORITY[place.backend][name], name, place.label, place)
            for name in TABLES
            for place in tables.places(netns, family, name, hook)
        ]
        asked += [
            Asked(one.chain.priority, "mangle" if one.chain.type == "route" else "filter", one.label, one)
            for one in native.base_chains(netns, family, hook)
            if one.chain.type != "nat"
        ]
        found = netns.cache[key] = tuple(asked)
    return found


def conntrack_of(run: Run, netns: Netns) -> Conntrack:
    """Return the connection table of a namespace in this walk."""
    found = run.conntracks.get(netns.name)
    if found is None:
        found = run.conntracks[netns.name] = Conntrack(netns, fresh=run.options.fresh)
    return found


# Words of a ruleset that make the kernel track connections: the targets and matches whose checkentry calls
# nf_ct_netns_get. A nat table alone does not: without one of them its chains are never asked (nf_nat_inet_fn).
_TRACKING = re.compile(
    r"-j (?:DNAT|SNAT|MASQUERADE|REDIRECT|NETMAP|SYNPROXY|CONNMARK|CONNSECMARK|CLUSTERIP|CT(?! --notrack))\b"
    r"|-m (?:conntrack|state|connmark|connlimit|connbytes|connlabel|helper|cluster)\b"
)
_TRACKING_NATIVE = {
    family: re.compile(rf"(?:^| )(?:ct (?!timeout)|[ds]nat (?!{other} )|masquerade|redirect|synproxy|flow )")
    for family, other in ((4, "ip6"), (6, "ip"))  # nft_nat_init: a translation tracks its own family only
}


def tracks(netns: Netns, family: Family) -> bool:
    """Return whether connections are tracked here: only where a rule asked for it (nf_ct_netns_get)."""
    key = f"tracks{family}"
    known: bool | None = netns.cache.get(key)
    if known is None:
        name = family_name(family)
        known = (
            ipvs.tracks(netns)
            or any(entry.family == name for entry in netns.snapshot.conntrack)
            or any(text.family == name and _TRACKING.search(text.text) for text in netns.snapshot.rulesets)
            or any(
                _TRACKING_NATIVE[family].search(rule.text)
                for table in native.tables_of(netns)
                if table.family in (name, "inet")
                for chain in table.chains.values()
                for rule in chain.rules
            )
        )
        netns.cache[key] = known
    return known


def _conntrack(at: At) -> Fate | None:
    """Find the packet's connection, or begin one (nf_conntrack_in)."""
    packet, run = at.packet, at.run
    if not tracks(at.netns, packet.family) or packet.ctstate == "UNTRACKED":
        return None
    if packet.connection is not None:  # seen before: loopback
        return None
    if packet.family == 6 and packet.proto == UDP and packet.pieces is not None and at.hook == "PREROUTING":
        packet.summed = packet.tos, packet.ttl
    wrong = conntrack_of(run, at.netns).track(packet, at.template)
    if packet.connection is not None:
        run.passed.setdefault(at.netns.name, set()).add(id(packet.connection))
    if packet.connection is not None or wrong is not None:
        run.step("conntrack", at.netns, packet, hook=at.hook, action=packet.ctstate, note=wrong)
    return None


def _confirm(at: At) -> Fate | None:
    """Put a new connection into the table (nf_confirm), behind what SYNPROXY takes away (ipv4_synproxy_hook)."""
    from netdoctor.simulate import synproxy

    taken = synproxy.take_syn_ack(at)
    if taken is not None:
        return taken
    connection = at.packet.connection
    if connection is not None and not connection.confirmed and at.packet.ctstate in ("NEW", "RELATED"):
        table = conntrack_of(at.run, at.netns)
        if table.clashes(connection):
            return _clash(at)
        table.confirm(connection)
    return None


def _clash(at: At) -> Fate:
    packet = at.packet
    detail = "conntrack has a connection with these ends already, the other way round: this one cannot be added"
    at.run.step("conntrack", at.netns, packet, hook=at.hook, action="drop", note=detail)
    dev = packet.in_dev if packet.in_dev is not None else packet.out_dev
    cause = at.run.cause("conntrack", at.netns, interface=dev, detail=detail, drop_reason="NETFILTER_DROP")
    return Fate("dropped", at.netns, dev, packet, cause, errno="EPERM", silent=True)
