"""Faults to be planted in the simulator, so that it is seen that the comparison would find them.

Each is a mistake that somebody could make: a name, what is replaced, and what stands there instead. Knows nothing of
networks; a fault is in the simulator of this process only while `planted` holds.
"""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from netdoctor.netfilter import effect as effects
from netdoctor.netfilter.ternary import negate
from netdoctor.simulate.run import Fate
from tests.kernel.fuzz import compare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netdoctor.netfilter.iptables.extension import Option
    from tests.kernel.fuzz.compare import Examined

MATCHES = "netdoctor.netfilter.iptables.matches"
SIMULATE = "netdoctor.simulate"


@dataclass(frozen=True)
class Fault:
    """A mistake: `make` is given what stands there and returns what stands there instead."""

    name: str
    module: str
    attribute: str
    make: Callable[[Any], Any]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Put the mistake in, and take it out again."""
        owner: Any = importlib.import_module(self.module)
        *way, last = self.attribute.split(".")
        for name in way:
            owner = getattr(owner, name)
        with patch.object(owner, last, self.make(getattr(owner, last))):
            yield


def differing(corpus: list[Examined]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the flows about which they differ: how many were asked till then, and the network's seed with the port."""
    flows = 0
    for examined in corpus:
        for call, trace, _, said in compare.differences(examined):
            flows += 1
            if said and not compare.is_unknown(trace):
                yield flows, (examined.network.seed, call.sport)


def find(fault: Fault, corpus: list[Examined], known: set[tuple[int, int]]) -> int | None:
    """Return after how many flows the fault is found, None where it is not; `known` differ without it too."""
    with fault.planted():
        return next((flows for flows, which in differing(corpus) if which not in known), None)


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda original: lambda *arguments, **named: value


def _match(name: str, title: str, make: Callable[[Any], Any], method: str = "matches") -> Fault:
    return Fault(title, f"{MATCHES}.{name}", f"{name.title()}.{method}", make)


def _seen_as(**changes: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The match is shown a packet with some fields changed."""

    def make(original: Any) -> Any:
        def matches(self: Any, packet: Any, around: Any) -> Any:
            shown = packet.clone()
            for name, change in changes.items():
                setattr(shown, name, change(packet))
            return original(self, shown, around)

        return matches

    return make


def _opposite(original: Any) -> Any:
    return lambda self, packet, around: negate(original(self, packet, around))


def _without_negation(original: Any) -> Any:
    """Every `!` is overlooked."""

    def init(self: Any, written: tuple[Option, ...], family: Any) -> None:
        plain = tuple(replace(one, negated=False) for one in written)
        original(self, plain, family)

    return init


def _policy_accepts(original: Any) -> Any:
    def policy(at: Any, place: Any, base: Any) -> Any:
        found = original(at, place, base)
        return replace(found, effect=effects.ACCEPT)

    return policy


def _effect_as(kind: type, instead: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A target's effect is taken for another."""

    def make(original: Any) -> Any:
        def effect(self: Any, packet: Any, around: Any) -> Any:
            found = original(self, packet, around)
            return instead(found) if isinstance(found, kind) else found

        return effect

    return make


def _no_table(name: str) -> Callable[[Any], Any]:
    return lambda original: (
        lambda netns, family, table, hook: () if table == name else original(netns, family, table, hook)
    )


def _one_backend(backend: str) -> Callable[[Any], Any]:
    return lambda original: (
        lambda netns, family, table, hook: tuple(
            place for place in original(netns, family, table, hook) if place.backend != backend
        )
    )


def _conf(name: str, value: int) -> Callable[[Any], Any]:
    """One setting of an interface is read wrongly."""
    return lambda original: (
        lambda self, family, dev, asked, default: (
            value if asked == name else original(self, family, dev, asked, default)
        )
    )


def _number(name: str, value: int) -> Callable[[Any], Any]:
    return lambda original: lambda self, asked, default: value if asked == name else original(self, asked, default)


def _nat(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return _effect_as(effects.Nat, change)


def _only_first_rule(original: Any) -> Any:
    def lookup(self: Any, run: Any, key: Any, **named: Any) -> Any:
        rules, self.rules = self.rules, tuple(rule for rule in self.rules if rule.priority in {0, 32766, 32767})
        try:
            return original(self, run, key, **named)
        finally:
            self.rules = rules

    return lookup


def _kept_ttl(original: Any) -> Any:
    def forward(run: Any, netns: Any, link: Any, frame: Any, route: Any) -> Any:
        frame.packet.ttl += 1
        return original(run, netns, link, frame, route)

    return forward


def _unreversed(original: Any) -> Any:
    """What a translation did is not taken back in answers."""
    return lambda at, connection, manip: None if at.packet.direction == "REPLY" else original(at, connection, manip)


def _fate_goes_on(verdict: str) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            found = original(*arguments, **named)
            return None if isinstance(found, Fate) and found.verdict == verdict else found

        return wrapped

    return make


def _goto_as_jump(found: Any) -> Any:
    return replace(found, goto=False)


def _swapped(original: Any) -> Any:
    """Of a range, the ends are taken for outside."""
    return lambda written, kind: (original(written, kind)[0], original(written, kind)[0])


def _always_there(original: Any) -> Any:
    """A key that is not in a set is taken for another that is."""

    def find(self: Any, key: Any) -> Any:
        there, value = original(self, key)
        return (True, value) if there else (True, next(iter(self.exact.values()), None))

    return find


def _other_side(original: Any) -> Any:
    return lambda packet, side, low, high: original(packet, "dst" if side == "src" else "src", low, high)


def _shorter(original: Any) -> Any:
    return lambda packet, side, low, high: original(packet, side, low, high if low == high else high - 1)


PORTS = "netdoctor.netfilter.iptables.ports"
RULE = "netdoctor.netfilter.iptables.rule"
HEADER = "netdoctor.netfilter.iptables.header"
NETNS = "netdoctor.topology.namespace"
FAULTS = (
    Fault("negation forgotten", "netdoctor.netfilter.iptables.extension", "Extension.__init__", _without_negation),
    Fault("incoming and outgoing device swapped", HEADER, "Header.matches",
          _seen_as(in_dev=lambda p: p.out_dev, out_dev=lambda p: p.in_dev)),
    Fault("source and destination address swapped", HEADER, "Header.matches",
          _seen_as(src=lambda p: p.dst, dst=lambda p: p.src)),
    Fault("protocol overlooked", HEADER, "Header.matches", _seen_as(proto=lambda p: 6)),
    Fault("interface wildcard overlooked", HEADER, "same_interface",
          lambda original: lambda pattern, dev: pattern == dev),
    Fault("ports swapped", PORTS, "port_in", _other_side),
    Fault("a port range without its end", PORTS, "port_in", _shorter),
    _match("tcp", "TCP flags overlooked", _seen_as(tcp_flags=lambda p: 2)),
    _match("multiport", "multiport looks at one side", _seen_as(sport=lambda p: p.dport)),
    _match("icmp", "echo request and reply confused",
          _seen_as(icmp_type=lambda p: {0: 8, 8: 0}.get(p.icmp_type, p.icmp_type))),
    _match("conntrack", "every packet is NEW", _seen_as(ctstate=lambda p: "NEW" if p.ctstate else None)),
    _match("conntrack", "reply direction not seen", _seen_as(direction=lambda p: "ORIGINAL")),
    _match("state", "ESTABLISHED overlooked", _seen_as(ctstate=lambda p: "NEW" if p.ctstate else None)),
    _match("addrtype", "address types of source and destination swapped",
          _seen_as(src=lambda p: p.dst, dst=lambda p: p.src)),
    _match("mark", "packet mark overlooked", _seen_as(mark=lambda p: 0)),
    _match("owner", "owner of forwarded packets",
          _seen_as(has_socket=lambda p: True, uid=lambda p: p.uid or 0, gid=lambda p: p.gid or 0)),
    _match("physdev", "bridge ports overlooked", _seen_as(phys_in=lambda p: None, phys_out=lambda p: None)),
    _match("ttl", "time to live one too high", _seen_as(ttl=lambda p: p.ttl + 1)),
    _match("length", "length one too great", _seen_as(size=lambda p: p.size + 1)),
    _match("iprange", "range matches the other address", _seen_as(src=lambda p: p.dst, dst=lambda p: p.src)),
    _match("mac", "MAC of the wrong side", _seen_as(src_mac=lambda p: p.dst_mac)),
    _match("set", "set sides swapped",
          _seen_as(src=lambda p: p.dst, dst=lambda p: p.src, sport=lambda p: p.dport, dport=lambda p: p.sport)),
    _match("tos", "TOS overlooked", _seen_as(tos=lambda p: 0)),
    _match("dscp", "DSCP not shifted", _seen_as(tos=lambda p: p.tos >> 2)),
    _match("socket", "sockets never found", _always(False)),
    _match("rpfilter", "rpfilter the wrong way round", _opposite),
    _match("pkttype", "packet type the wrong way round", _opposite),
    Fault("policy DROP overlooked", f"{SIMULATE}.tables", "_policy", _policy_accepts),
    Fault("RETURN taken for ACCEPT", RULE, "Rule.effect", _effect_as(effects.Return, lambda found: effects.ACCEPT)),
    Fault("goto comes back", RULE, "Rule.effect", _effect_as(effects.Jump, _goto_as_jump)),
    Fault("jump does not come back", RULE, "Rule.effect",
          _effect_as(effects.Jump, lambda found: replace(found, goto=True))),
    Fault("ACCEPT goes on with the next rule", RULE, "Rule.effect",
          _effect_as(effects.Accept, lambda found: effects.CONTINUE)),
    Fault("REJECT lets through", RULE, "Rule.effect", _effect_as(effects.Reject, lambda found: effects.ACCEPT)),
    Fault("NOTRACK overlooked", RULE, "Rule.effect", _effect_as(effects.NoTrack, lambda found: effects.CONTINUE)),
    Fault("conntrack zones overlooked", RULE, "Rule.effect",
          _effect_as(effects.CtTemplate, lambda found: effects.CtTemplate())),
    Fault("no raw table", f"{SIMULATE}.tables", "places", _no_table("raw")),
    Fault("no mangle table", f"{SIMULATE}.tables", "places", _no_table("mangle")),
    Fault("no nat table", f"{SIMULATE}.tables", "places", _no_table("nat")),
    Fault("no security table", f"{SIMULATE}.tables", "places", _no_table("security")),
    Fault("the legacy backend overlooked", f"{SIMULATE}.tables", "places", _one_backend("legacy")),
    Fault("the nft backend overlooked", f"{SIMULATE}.tables", "places", _one_backend("nft")),
    Fault("native chains overlooked", f"{SIMULATE}.native", "base_chains", _always(())),
    Fault("native sets always match", "netdoctor.netfilter.nft.sets", "Elements.find", _always_there),
    Fault("native ranges without their end", "netdoctor.netfilter.nft.statements", "bounds", _swapped),
    Fault("DNAT without its port", RULE, "Rule.effect",
          _nat(lambda found: replace(found, first_port=None, last_port=None))),
    Fault("masquerading overlooked", RULE, "Rule.effect",
          _nat(lambda found: effects.ACCEPT if found.masquerade else found)),
    Fault("answers are not translated back", f"{SIMULATE}.nat", "_translate", _unreversed),
    Fault("a local packet is not routed again", f"{SIMULATE}.send", "reroute", _always(None)),
    Fault("bridge netfilter overlooked", f"{SIMULATE}.bridge", "asks_netfilter", _always(False)),
    Fault("bridge netfilter always on", f"{SIMULATE}.bridge", "asks_netfilter", _always(True)),
    Fault("hairpin and isolation overlooked", "netdoctor.topology.wire", "may_cross", _always(True)),
    Fault("source validation overlooked", f"{SIMULATE}.routing", "_validate_source", _always(None)),
    Fault("policy routing overlooked", f"{SIMULATE}.fib", "Fib.lookup", _only_first_rule),
    Fault("proxy ARP overlooked", NETNS, "Netns.conf", _conf("proxy_arp", 0)),
    Fault("time to live not counted down", f"{SIMULATE}.forward", "forward", _kept_ttl),
    Fault("forwarding always on", NETNS, "Netns.conf", _conf("forwarding", 1)),
    Fault("sockets bound to one address take all", f"{SIMULATE}.sockets", "bound_to", _always(None)),
    Fault("neighbour discovery passes no rules", f"{SIMULATE}.deliver", "discover", _always((True, True))),
    Fault("fwmark not looked at in routing", f"{SIMULATE}.routing", "key_of",
          lambda original: lambda packet, **changes: original(packet, **(changes | {"mark": 0}))),
    Fault("default time to live taken for 64", f"{SIMULATE}.routing", "hop_limit", _always(64)),
)  # fmt: skip
