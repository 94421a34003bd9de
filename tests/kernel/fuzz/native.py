"""Thinks up native nftables rulesets that are aimed at flows, as rules.py does for iptables.

Knows nothing of networks beyond a namespace's devices and addresses.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from tests.kernel.fuzz.network import Step
from tests.kernel.fuzz.topologies import PROXY

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from tests.kernel.fuzz.rules import Sample
    from tests.kernel.fuzz.topologies import Space

HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
PRIORITIES = (-310, -290, -250, -199, -149, -101, -99, -1, 1, 10, 51, 99, 101, 151, 300)
HEAR, SAY = {"prerouting", "input", "forward"}, {"forward", "output", "postrouting"}


class Native:
    """One namespace's native tables."""

    def __init__(self, rng: random.Random, space: Space, seen: Sequence[Sample], *, six: bool) -> None:
        self.rng = rng
        self.space = space
        self.all = list(seen)
        self.seen = list(seen)
        self.six = six
        self.family = "inet"
        self.sets: list[str] = []
        self.hook = ""

    def step(self) -> Step:
        """Return the step that loads one or two tables."""
        rng = self.rng
        lines: list[str] = []
        for number in range(rng.choice((1, 1, 2))):
            families = ("inet", "ip", "ip6") if self.six else ("inet", "ip")
            self.family = rng.choice(families)
            wanted = {"inet": (4, 6), "ip": (4,), "ip6": (6,)}[self.family]
            self.seen = [one for one in self.all if one.family in wanted] or self.all
            lines += self._table(f"t{number}")
        return Step(self.space.name, "nft", tuple(lines))

    def _table(self, name: str) -> list[str]:
        rng = self.rng
        body: list[str] = []
        self.sets = []
        body += self._declared()
        calls = [f"c{number}" for number in range(rng.choice((0, 1, 2)))]
        for number, chain in enumerate(calls):
            self.hook = ""
            rules = self._probed([self._rule("filter", calls[number + 1 :]) for _ in range(rng.choice((1, 2, 3)))])
            body += [f"chain {chain} {{", *rules, "}"]
        # A chain must be there before it is called: those that are called last come first.
        body = body if len(calls) < 2 else self._sorted(body)
        for hook in rng.sample(HOOKS, rng.choice((1, 2, 2, 3))):
            self.hook = hook
            kind = "route" if hook == "output" and rng.random() < 0.3 else "filter"
            policy = "drop" if rng.random() < 0.04 else "accept"
            rules = self._probed([self._rule("filter", calls) for _ in range(rng.choice((1, 2, 3, 4)))])
            if policy == "drop":
                rules[:0] = [
                    "ct state established,related counter accept",
                    "meta l4proto { icmp, ipv6-icmp } counter accept",
                ]
            body.append(f"chain {hook}_{kind} {{")
            body.append(f"type {kind} hook {hook} priority {rng.choice(PRIORITIES)}; policy {policy};")
            body += [*rules, "}"]
        if rng.random() < 0.5:
            hook = rng.choice(("prerouting", "output", "postrouting", "input"))
            self.hook = hook
            rules = [self._rule("nat", []) for _ in range(rng.choice((1, 2)))]
            priority = rng.choice((-110, -90, 90, 110))
            body += [f"chain {hook}_nat {{", f"type nat hook {hook} priority {priority};", *rules, "}"]
        return [f"table {self.family} {name} {{", *body, "}"]

    @staticmethod
    def _sorted(body: list[str]) -> list[str]:
        starts = [at for at, line in enumerate(body) if line.startswith("chain ")]
        head = body[: starts[0]]
        parts = [body[at:end] for at, end in zip(starts, [*starts[1:], len(body)], strict=True)]
        return head + [line for part in reversed(parts) for line in part]

    def _declared(self) -> list[str]:
        """Sets and maps of what flows have."""
        rng = self.rng
        one = rng.choice(self.seen)
        kind = "ipv4_addr" if one.family == 4 else "ipv6_addr"
        own = [other for other in self.seen if other.family == one.family]
        picked = [rng.choice(own) for _ in range(3)]
        bits = 24 if one.family == 4 else 64
        addresses = list(dict.fromkeys(rng.choice((other.src, other.dst)) for other in picked))
        network = ipaddress.ip_network(f"{one.dst}/{bits}", strict=False)
        word = "ip" if one.family == 4 else "ip6"
        ported = [other for other in picked if other.proto != "icmp" and other.dport] or [one]
        declared = {
            f"{word} saddr @a": [f"set a {{ type {kind}; elements = {{ {', '.join(addresses)} }}; }}"],
            f"{word} daddr @n": [f"set n {{ type {kind}; flags interval; elements = {{ {network} }}; }}"],
            "th dport @p": ["set p { type inet_service; flags interval; elements = { 53, 80-443, 8080 }; }"],
            f"{word} daddr . meta l4proto . th dport @c": [
                f"set c {{ type {kind} . inet_proto . inet_service; elements = {{ "
                + ", ".join(dict.fromkeys(f"{o.dst} . {_ported(o)} . {o.dport or 80}" for o in ported))
                + " }; }"
            ],
            f"{word} saddr . {word} daddr @x": [
                f"set x {{ type {kind} . {kind}; flags interval; elements = {{ {network} . {one.dst} }}; }}"
            ],
        }  # fmt: skip
        self.sets = rng.sample(list(declared), rng.choice((0, 1, 2, 3)))
        return [line for use in self.sets for line in declared[use]]

    # --- rules

    def _probed(self, rules: list[str]) -> list[str]:
        """Put rules that only count between others: what matches is seen, and no flow's fate hangs on it."""
        for _ in range(self.rng.choice((0, 1, 2))):
            made = self._match(self.rng.choice(self.seen))
            rules.insert(self.rng.randint(0, len(rules)), f"{made or ''} counter".strip())
        return rules

    def _rule(self, kind: str, calls: Sequence[str]) -> str:
        one = self.rng.choice(self.seen)
        words: list[str] = []
        for _ in range(self.rng.choice((0, 1, 1, 2, 3))):
            made = self._match(one)
            if made is not None and not _contradicts(made, words):
                words.append(made)
        end = self._nat(one) if kind == "nat" else self._verdict(one, calls)
        if _contradicts(end, words):
            end = "accept"
        return " ".join([*words, "counter", end]).strip()

    def turn(self) -> str:
        return "!= " if self.rng.random() < 0.2 else ""

    def _match(self, one: Sample) -> str | None:
        return self.rng.choice(MATCHES)(self, one)

    def _verdict(self, one: Sample, calls: Sequence[str]) -> str:
        rng = self.rng
        choices: dict[str, float] = {
            "accept": 5, "drop": 0.8, "return": 1, "continue": 1, "": 2, 'log prefix "n: "': 1,
            f"meta mark set {rng.choice((1, 2, 0x10))}": 2, "ct mark set meta mark": 0.7, "meta mark set ct mark": 0.7,
            "meta mark set meta mark | 0x10": 0.5, f"ct mark set {rng.choice((1, 0x10))}": 0.7,
        }  # fmt: skip
        if self.hook in {"input", "forward", "output"}:
            kinds = ("", " with icmpx admin-prohibited", " with icmpx no-route") if self.family == "inet" else ("",)
            choices[f"reject{rng.choice(kinds)}"] = 0.7
            if one.proto == "tcp":
                choices["meta l4proto tcp reject with tcp reset"] = 0.7
        if calls:
            choices |= {f"jump {rng.choice(list(calls))}": 3, f"goto {rng.choice(list(calls))}": 1}
            choices[
                f"meta l4proto vmap {{ tcp : jump {calls[0]}, udp : {rng.choice(('accept', 'continue', 'return'))} }}"
            ] = 1.5
        if self.space.proxied and self.hook == "prerouting" and one.proto == "tcp":
            word = {"ip": "", "ip6": ""}.get(self.family, "ip " if one.family == 4 else "ip6 ")
            port = rng.choice((PROXY, PROXY, PROXY, 80))
            choices[f"meta l4proto tcp tproxy {word}to :{port} meta mark set 0x1 accept"] = 3
        if self.space.guarded and self.hook == "forward" and one.proto == "tcp":
            choices["meta l4proto tcp ct state { new, invalid, untracked } synproxy mss 1460 wscale 7 timestamp"] = 2
        if self.family == "ip":
            choices |= {"ip dscp set cs1": 0.5, f"ip ttl set {rng.choice((1, 64))}": 0.3}
        choices["numgen random mod 2 vmap { 0 : accept, 1 : continue }"] = 0.3
        chosen = rng.choices(list(choices), list(choices.values()))[0]
        # A counter behind it would not count what a verdict ends.
        return (
            chosen.replace("meta l4proto tcp reject", "reject")
            if one.proto != "tcp" and "tcp reset" in chosen
            else chosen
        )

    def _nat(self, one: Sample) -> str:
        rng = self.rng
        other = rng.choice([sample for sample in self.seen if sample.family == one.family])
        word = "ip" if one.family == 4 else "ip6"
        boxed = f"[{other.dst}]" if one.family == 6 else other.dst
        to = f"{word} to" if self.family == "inet" else "to"
        own = [value for value, _ in self.space.addresses if (":" in value) == (one.family == 6)] or [one.src]
        source = rng.choice(own)
        sboxed = f"[{source}]" if one.family == 6 else source
        proto = one.proto if one.proto != "icmp" else "udp"
        pair = f"{{ {one.dst} . {one.dport or 80} : {other.dst} . 80 }}"
        if self.hook in {"prerouting", "output"}:
            return rng.choice((
                f"dnat {to} {other.dst}", f"meta l4proto {proto} dnat {to} {boxed}:{rng.choice((53, 80, 8080))}",
                f"meta l4proto {proto} redirect to :{rng.choice((53, 80))}",
                f"meta l4proto {proto} dnat {to} {word} daddr . th dport map {pair}",
                f"dnat {to} numgen random mod 2 map {{ 0 : {other.dst}, 1 : {one.dst} }}",
            ))  # fmt: skip
        if self.hook == "postrouting":
            return rng.choice(("masquerade", f"meta l4proto {proto} masquerade to :3000-4000", f"snat {to} {source}",
                               f"meta l4proto {proto} snat {to} {sboxed}:777"))  # fmt: skip
        return f"snat {to} {source}"


def _contradicts(made: str, words: Sequence[str]) -> bool:
    """Whether nft would not take a match beside others: the same again, or another protocol."""
    implied = [_implied(word) for word in (*words, made)]
    protocols = {one for found in implied for one in found}
    return made in words or len(protocols) > 1 or sum(bool(found) for found in implied) > 1


def _implied(word: str) -> set[str]:
    said = set(word.replace("{", " ").replace("}", " ").replace(",", " ").split())
    names = {"tcp", "udp", "icmp", "icmpv6", "ipv6-icmp", "th", "sctp"}
    return {"l4"} if said & names or "@th" in word else set()


def _ported(one: Sample) -> str:
    return one.proto if one.proto != "icmp" else "tcp"


def _address(rules: Native, one: Sample) -> str:
    word = "ip" if one.family == 4 else "ip6"
    side = rules.rng.choice(("saddr", "daddr"))
    value = one.src if side == "saddr" else one.dst
    address = ipaddress.ip_address(value)
    if rules.rng.random() < 0.2:
        address = ipaddress.ip_address(int(address) ^ 1)
    length = rules.rng.choice((address.max_prefixlen, address.max_prefixlen - 8, address.max_prefixlen // 2))
    network = ipaddress.ip_network(f"{address}/{length}", strict=False)
    other = ipaddress.ip_address(int(network.broadcast_address) + 9)
    shown = rules.rng.choice((str(network), f"{{ {network}, {other} }}",
                              f"{network.network_address}-{network.broadcast_address}"))  # fmt: skip
    return f"{word} {side} {rules.turn()}{shown}"


def _port(rules: Native, one: Sample) -> str:
    proto = one.proto if one.proto != "icmp" else "tcp"
    side = rules.rng.choice(("dport", "dport", "sport"))
    value = (one.dport if side == "dport" else one.sport) or 80
    value += rules.rng.choice((0, 0, 0, 1))
    shown = rules.rng.choice(
        (str(value), f"{value - 1}-{value + 5}", f"{{ {value}, 9000-9010 }}", f"< {value}", f">= {value}")
    )
    sign = "" if shown[0] in "<>" else rules.turn()
    name = rules.rng.choice((proto, "th"))
    return f"{'meta l4proto { tcp, udp } ' if name == 'th' else ''}{name} {side} {sign}{shown}"


def _protocol(rules: Native, one: Sample) -> str:
    proto = one.proto if one.proto != "icmp" else "icmp" if one.family == 4 else "ipv6-icmp"
    return rules.rng.choice((f"meta l4proto {rules.turn()}{proto}", f"meta l4proto {{ {proto}, sctp }}"))


def _state(rules: Native, one: Sample) -> str:
    return "ct state " + rules.rng.choice((
        "new", "established", "established,related", "{ new, established }", "invalid", "untracked", "!= new",
        "vmap { established : accept, invalid : continue }",
    ))  # fmt: skip


def _connection(rules: Native, one: Sample) -> str:
    word = "ip" if one.family == 4 else "ip6"
    return rules.rng.choice((
        "ct direction original", "ct direction reply", "ct status dnat", "ct status snat", "ct status assured",
        "ct status confirmed", f"ct mark {rules.turn()}{rules.rng.choice((0, 1, 0x10))}",
        f"ct original {word} daddr {one.dst}",
        f"ct original {word} saddr {one.src}", f"ct reply {word} saddr {one.dst}", "ct mark and 0x10 == 0x10",
    ))  # fmt: skip


def _device(rules: Native, one: Sample) -> str | None:
    name = rules.rng.choice([*rules.space.devices, *rules.space.ports])
    stem = f'"{name[:-1]}*"' if rules.rng.random() < 0.2 else f'"{name}"'
    choices = []
    if rules.hook in HEAR:
        choices += [f"iifname {rules.turn()}{stem}", f'iif {rules.turn()}"{name}"']
    if rules.hook in SAY:
        choices += [f"oifname {rules.turn()}{stem}", f'oif {rules.turn()}"{name}"']
    return rules.rng.choice(choices) if choices else None


def _meta(rules: Native, one: Sample) -> str:
    size = one.size
    return rules.rng.choice((
        f"meta mark {rules.turn()}{rules.rng.choice((0, 1, 2, 0x10))}", "meta mark & 0x3 == 0x1", "meta pkttype host",
        f"meta length {rules.rng.choice((f'{size}', f'< {size}', f'{size - 2}-{size + 2}'))}", "meta nfproto ipv4",
        "meta iifgroup 0",
    ))  # fmt: skip


def _owner(rules: Native, one: Sample) -> str | None:
    if rules.hook not in {"output", "postrouting"}:
        return None
    return rules.rng.choice((f"meta skuid {rules.turn()}{one.uid}", "meta skuid < 1200", "meta skgid 0"))


def _header(rules: Native, one: Sample) -> str:
    if one.family == 4:
        return rules.rng.choice((f"ip ttl {rules.rng.choice(('< 10', f'{one.ttl}', f'{one.ttl - 1}', '> 60'))}",
                                 f"ip dscp {rules.turn()}{one.tos >> 2}", f"ip length {one.size}",
                                 f"ip protocol {one.proto}", "ip ecn not-ect"))  # fmt: skip
    proto = "ipv6-icmp" if one.proto == "icmp" else one.proto
    return rules.rng.choice((f"ip6 hoplimit {rules.rng.choice(('< 10', f'{one.ttl}', '> 60'))}", f"ip6 nexthdr {proto}",
                             f"ip6 dscp {rules.turn()}{one.tos >> 2}", f"ip6 length {one.size - 40}"))  # fmt: skip


def _flags(rules: Native, one: Sample) -> str:
    return "tcp flags " + rules.rng.choice((
        "syn", "& (fin|syn|rst|ack) == syn", "& (syn|ack) == (syn|ack)", "!= syn", "syn,ack", "& rst == 0",
    ))  # fmt: skip


def _icmp(rules: Native, one: Sample) -> str:
    if one.family == 4:
        kinds = ("echo-request", "echo-reply", "{ echo-request, echo-reply }")
        return f"icmp type {rules.turn()}{rules.rng.choice(kinds)}"
    kinds = ("echo-request", "echo-reply", "{ nd-neighbor-solicit, nd-neighbor-advert }")
    return f"icmpv6 type {rules.turn()}{rules.rng.choice(kinds)}"


def _fib(rules: Native, one: Sample) -> str | None:
    if rules.hook not in {"prerouting", "input", "forward"}:
        return "fib daddr type local" if rules.hook in {"output", "postrouting"} else None
    choices = ["fib daddr type local", "fib saddr type local", f"fib daddr type {rules.turn()}unicast"]
    if rules.hook == "prerouting":
        choices += [
            "fib daddr . iif type local",
            "fib saddr . iif oif missing",
            "fib saddr oif exists",
            "fib saddr . iif oif exists",
        ]
    return rules.rng.choice(choices)


def _set(rules: Native, one: Sample) -> str | None:
    if not rules.sets:
        return None
    use = rules.rng.choice(rules.sets)
    if "th dport" in use:
        return f"meta l4proto {{ tcp, udp }} {use}"
    left, name = use.rsplit(" ", 1)
    return f"{left} {rules.turn()}{name}"


def _option(rules: Native, one: Sample) -> str:
    return rules.rng.choice(
        ("tcp option maxseg size 1-1500", "tcp option sack-perm exists", "tcp option timestamp missing")
    )


def _raw(rules: Native, one: Sample) -> str:
    word = int(ipaddress.ip_address(one.src))
    if one.family == 4:
        return f"meta nfproto ipv4 @nh,96,32 {word:#x}" if rules.family == "inet" else f"@nh,96,32 {word:#x}"
    return f"meta l4proto {{ tcp, udp }} @th,16,16 {one.dport or 80}"


def _both(rules: Native, one: Sample) -> str:
    word = "ip" if one.family == 4 else "ip6"
    proto = one.proto if one.proto != "icmp" else "tcp"
    return f"{word} daddr . {proto} dport {rules.turn()}{{ {one.dst} . {one.dport or 80}, {one.src} . 1-100 }}"


MATCHES: tuple[Callable[[Native, Sample], str | None], ...] = (
    _address, _address, _address, _port, _port, _protocol, _state, _state, _connection, _device, _device, _meta, _meta,
    _owner, _header, _header, _flags, _icmp, _fib, _fib, _set, _set, _set, _option, _raw, _both,
)  # fmt: skip
