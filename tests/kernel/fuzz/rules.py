"""Thinks up iptables rulesets that are aimed at flows: made from their own header values, and from near misses.

Knows nothing of networks beyond a namespace's devices and addresses, nor of who loads the rules.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.kernel.fuzz.network import Step
from tests.kernel.fuzz.topologies import PROXY

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from tests.kernel.fuzz.network import Call
    from tests.kernel.fuzz.topologies import Space

HOOKS = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
HEAR, SAY = {"PREROUTING", "INPUT", "FORWARD"}, {"FORWARD", "OUTPUT", "POSTROUTING"}
NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1}
STATES = ("NEW", "ESTABLISHED", "RELATED,ESTABLISHED", "INVALID", "UNTRACKED")
STATUSES = ("SEEN_REPLY", "ASSURED", "CONFIRMED", "EXPECTED", "NONE", "SEEN_REPLY,ASSURED")
SETS = ("hash:ip", "hash:net", "hash:ip,port", "hash:net,iface", "hash:net,port", "hash:ip,port,ip", "hash:ip,port,net")
MARKS = (0x1, 0x2, 0x3, 0x10, 0x4000)


@dataclass(frozen=True)
class Sample:
    """A packet that a rule may see: of a flow, there or back, before or after translation."""

    family: int
    proto: str
    src: str
    dst: str
    sport: int
    dport: int
    reply: bool
    size: int
    tos: int
    ttl: int
    uid: int
    mark: int
    translated: bool = False


def samples(
    calls: Sequence[Call], address_of: Callable[[str, int], str], backends: dict[str, tuple[str, int]]
) -> list[Sample]:
    """Return what rules may see of the flows; `backends`: whither virtual addresses are translated."""
    found = []
    for call in calls:
        src = call.src or address_of(call.netns, call.family)
        one = Sample(
            call.family, call.proto, src, call.dst, call.sport, call.dport or 0, reply=False,
            size=call.size or (60 if call.family == 4 else 80), tos=call.tos, ttl=call.ttl or 64,
            uid=call.uid or 0, mark=call.mark,
        )  # fmt: skip
        kinds = [one]
        if call.dst in backends:
            dst, port = backends[call.dst]
            kinds.append(replace(one, dst=dst, dport=port, translated=True))
        found += kinds
        found += [
            replace(kind, src=kind.dst, dst=kind.src, sport=kind.dport, dport=kind.sport, reply=True, tos=0, uid=0)
            for kind in kinds[-1:]
        ]
    return found


SYNPROXY = "-j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460"


class Ruleset:
    """One namespace's tables of one family and backend."""

    def __init__(
        self, rng: random.Random, space: Space, family: int, seen: Sequence[Sample], sets: dict[str, str]
    ) -> None:
        self.rng = rng
        self.table = ""
        self.space = space
        self.family = family
        self.seen = [one for one in seen if one.family == family]
        self.sets = {name: kind for name, kind in sets.items() if kind == "port" or name.endswith(f"v{family}")}

    def step(self, backend: str, tables: Sequence[str], backends: dict[str, tuple[str, int]]) -> Step:
        """Return the step that loads the tables."""
        lines: list[str] = []
        for table in tables:
            lines += self._table(table, backends)
        return Step(self.space.name, f"ip{'6' if self.family == 6 else ''}tables-{backend}-restore", tuple(lines))

    # --- tables

    def _table(self, table: str, backends: dict[str, tuple[str, int]]) -> list[str]:
        rng = self.rng
        self.table = table
        chains = [f"U{number}" for number in range(rng.choice((0, 0, 1, 2, 3)))]
        if table == "nat" and "INPUT" in HOOKS[table] and chains:
            chains = chains[:1]
        policies = dict.fromkeys(HOOKS[table], "ACCEPT")
        written: dict[str, list[str]] = {chain: [] for chain in (*HOOKS[table], *chains)}
        if table == "nat":
            for line in self._services(backends):
                written[line.split()[1]].append(line)
        for line in self._guard(table):
            written[line.split()[1]].append(line)
        called: dict[str, set[str]] = {chain: set() for chain in chains}
        for hook in HOOKS[table]:
            count = rng.choice((0, 0, 1, 1, 2, 3))
            if table == "filter" and rng.random() < 0.07:
                policies[hook] = "DROP"
                written[hook] += self._usual(hook)
                count += 2
            for _ in range(count):
                if chains and rng.random() < 0.3:
                    chain = rng.choice(chains)
                    called[chain].add(hook)
                    written[hook].append(self._line(hook, self._matches(table, hook), f"-{rng.choice('jjg')} {chain}"))
                else:
                    written[hook].append(self._rule(table, hook, {hook}))
        for at, chain in enumerate(chains):
            for _ in range(rng.choice((1, 2, 3))):
                later = chains[at + 1 :]
                if later and rng.random() < 0.2:
                    target = rng.choice(later)
                    called[target] |= called[chain]
                    written[chain].append(self._line(chain, self._matches(table, ""), f"-{rng.choice('jjg')} {target}"))
                else:
                    written[chain].append(self._rule(table, chain, called[chain]))
        for chain, rules in written.items():
            for _ in range(rng.choice((0, 1, 2, 3)) if rules else rng.choice((0, 0, 0, 1))):
                rules.insert(rng.randint(0, len(rules)), self._probe(chain))
        lines = [f"*{table}"]
        lines += [f":{hook} {policy} [0:0]" for hook, policy in policies.items()]
        lines += [f":{chain} - [0:0]" for chain in chains]
        return [*lines, *(line for rules in written.values() for line in rules), "COMMIT"]

    def _usual(self, hook: str) -> list[str]:
        """What people write before a policy of DROP."""
        usual = [f"-A {hook} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"]
        if self.family == 6 and hook != "FORWARD":
            usual.append(f"-A {hook} -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT")
            usual.append(f"-A {hook} -p ipv6-icmp -m icmp6 --icmpv6-type 136 -j ACCEPT")
        one = self.rng.choice(self.seen) if self.seen else None
        if one is not None and one.proto != "icmp" and self.rng.random() < 0.7:
            usual.append(f"-A {hook} -p {one.proto} -m {one.proto} --dport {one.dport} -j ACCEPT")
        if self.rng.random() < 0.3:
            usual.append(f"-A {hook} -p {'icmp' if self.family == 4 else 'ipv6-icmp'} -j ACCEPT")
        return [line for line in usual if self.rng.random() < 0.85]

    def _services(self, backends: dict[str, tuple[str, int]]) -> list[str]:
        """What makes virtual addresses work, mostly: as kube-proxy does, in short."""
        rng = self.rng
        lines = []
        for vip, (dst, port) in backends.items():
            if (":" in vip) != (self.family == 6):
                continue
            to = f"[{dst}]:{port}" if self.family == 6 else f"{dst}:{port}"
            for hook in ("PREROUTING", "OUTPUT"):
                if rng.random() < 0.9:
                    lines.append(f"-A {hook} -d {vip} -p tcp -m tcp --dport 80 -j DNAT --to-destination {to}")
                    lines.append(f"-A {hook} -d {vip} -p udp -m udp --dport 53 -j DNAT --to-destination {to}")
        if rng.random() < 0.5 and lines:
            lines.append("-A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE")
        if rng.random() < 0.4:
            network = "10.0.0.0/16" if self.family == 4 else "fd00::/16"
            lines.append(f"-A POSTROUTING -s {network} ! -d {network} -j MASQUERADE")
        return lines

    def _guard(self, table: str) -> list[str]:
        """What a transparent proxy and a SYN proxy need, mostly."""
        rng = self.rng
        lines = []
        if self.space.proxied and table == "mangle":
            protocol = f"-A PREROUTING -p tcp -m tcp --dport {rng.choice((53, 80, 443, 8080))}"
            lines.append(f"{protocol} {self._to_tproxy({'PREROUTING'}, 'tcp')}")
        if self.space.guarded and table == "raw":
            lines.append("-A PREROUTING -p tcp -m tcp --syn -j CT --notrack")
        if self.space.guarded and table == "filter":
            for hook in ("INPUT", "FORWARD"):
                states = rng.choice(("INVALID,UNTRACKED", "INVALID,UNTRACKED", "UNTRACKED", "NEW,INVALID,UNTRACKED"))
                if hook == "INPUT" and "NEW" in states:
                    continue  # it would answer its own SYN, and so on for ever
                lines.append(f"-A {hook} -p tcp -m conntrack --ctstate {states} {SYNPROXY}")
                lines.append(f"-A {hook} -m conntrack --ctstate INVALID -j DROP")
        return [line for line in lines if rng.random() < 0.85]

    # --- rules

    def _probe(self, chain: str) -> str:
        """A rule that only counts: whether one thing matches is seen, and no flow's fate hangs on it."""
        rng = self.rng
        hook = chain if chain in HOOKS[self.table] else ""
        if not self.seen or rng.random() < 0.1:
            return f"-A {chain}"
        one = rng.choice(self.seen)
        words = [f"-p {self._protocol(one.proto)}"] if rng.random() < 0.75 else []
        proto = one.proto if words else ""
        kind = rng.random()
        if kind < 0.2 and words:
            words.append(self._of_protocol(proto, one))
        elif kind < 0.3 and hook in HEAR | SAY:
            words.append(self._device("-i" if hook in HEAR and (hook not in SAY or rng.random() < 0.5) else "-o"))
        elif kind < 0.35:
            words.append(self._address(*rng.choice((("-s", one.src), ("-d", one.dst)))))
        elif self.table != "nat" or proto != "icmp":
            made = rng.choice(PROBES)(self, one, hook, proto)
            if made is not None and not (made.startswith("-p ") and words):
                words.append(made)
        return " ".join(["-A", chain, *words])

    def _rule(self, table: str, chain: str, hooks: set[str]) -> str:
        hook = chain if chain in HOOKS[table] else ""
        proto, matches = self._matches(table, hook)
        target = self._target(table, hooks or set(HOOKS[table]), proto)
        if "TCPMSS" in target:  # iptables-nft-save prints only the last of several `-m tcp`
            matches = [match for match in matches if not match.startswith("-m tcp ")]
        return self._line(chain, (proto, matches), target)

    @staticmethod
    def _line(chain: str, matches: tuple[str, list[str]], target: str) -> str:
        return " ".join(["-A", chain, *matches[1], target])

    def _matches(self, table: str, hook: str) -> tuple[str, list[str]]:
        """Return the protocol that the rule wants, "" for any, and its matches."""
        rng = self.rng
        if not self.seen:
            return "", []
        one = rng.choice(self.seen)
        words: list[str] = []
        proto = ""
        if rng.random() < 0.35:
            words.append(self._address("-s", one.src))
        if rng.random() < 0.35:
            words.append(self._address("-d", one.dst))
        if hook in HEAR and rng.random() < 0.2:
            words.append(self._device("-i"))
        if hook in SAY and rng.random() < 0.2:
            words.append(self._device("-o"))
        if rng.random() < 0.55:
            proto = one.proto if rng.random() < 0.85 else rng.choice(("tcp", "udp", "icmp"))
            words.append(f"-p {self._protocol(proto)}")
            if rng.random() < 0.75:
                words.append(self._of_protocol(proto, one))
        elif rng.random() < 0.1:
            words.append(f"! -p {rng.choice(('tcp', 'udp', self._protocol('icmp')))}")
        if table != "nat" or proto != "icmp":
            for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
                made = rng.choice(MATCHES)(self, one, hook, proto)
                if (
                    made is not None
                    and made not in words
                    and not (made.startswith("-p ") and any("-p " in word for word in words))
                ):
                    words.append(made)
        if table == "raw" and not words:
            words.append(self._address("-d", one.dst))
        return proto, words

    def _protocol(self, proto: str) -> str:
        return "ipv6-icmp" if proto == "icmp" and self.family == 6 else proto

    def miss(self, probability: float = 0.25) -> bool:
        return self.rng.random() < probability

    def turn(self, probability: float = 0.15) -> str:
        """A negation, sometimes."""
        return "! " if self.rng.random() < probability else ""

    def _address(self, option: str, value: str) -> str:
        address = ipaddress.ip_address(value)
        bits = address.max_prefixlen
        if self.miss():
            address = ipaddress.ip_address(int(address) ^ self.rng.choice((1, 2, 1 << 8)))
        length = self.rng.choice((bits, bits, bits - 1, bits - 8, bits // 2, 8))
        network = ipaddress.ip_network((int(address), length), strict=False)
        return f"{self.turn()}{option} {network}"

    def device(self) -> str:
        names = [*self.space.devices, *self.space.ports]
        return self.rng.choice(names)

    def _device(self, option: str) -> str:
        name = self.device()
        if self.rng.random() < 0.15:
            name = name[:-1] + "+"
        return f"{self.turn()}{option} {name}"

    def port(self, value: int) -> str:
        """A port or a range around it, or one beside it."""
        if self.miss():
            value = max(1, value + self.rng.choice((-1, 1)))
        if self.rng.random() < 0.45:
            low, high = max(0, value - self.rng.choice((0, 1, 30))), min(65535, value + self.rng.choice((0, 0, 1, 30)))
            return self.rng.choice((f"{low}:{high}", f":{high}", f"{low}:")) if low != high else str(low)
        return str(value)

    def _of_protocol(self, proto: str, one: Sample) -> str:
        rng = self.rng
        if proto == "icmp":
            if self.family == 4:
                return f"-m icmp {self.turn()}--icmp-type {rng.choice(('8', '0', '8/0', '3', 'any'))}"
            return f"-m icmp6 {self.turn()}--icmpv6-type {rng.choice(('128', '129', '1', '128/0', '135'))}"
        if proto == "tcp" and rng.random() < 0.35:
            return "-m tcp " + rng.choice((
                f"{self.turn()}--tcp-flags FIN,SYN,RST,ACK SYN", f"{self.turn()}--tcp-flags SYN,ACK SYN,ACK",
                f"{self.turn()}--tcp-flags PSH PSH", f"{self.turn()}--tcp-option {rng.choice((2, 4, 8))}",
                f"{self.turn()}--tcp-flags ALL SYN", f"{self.turn()}--tcp-flags RST RST",
            ))  # fmt: skip
        if rng.random() < 0.25:
            ports = [self.port(one.dport) for _ in range(rng.choice((1, 2)))]
            ports.append(str(rng.choice((53, 80, 443, 8080))))
            option = rng.choice(("--dports", "--sports", "--ports"))
            fixed = [port if not port.startswith(":") else f"0{port}" for port in ports]
            fixed = [port if not port.endswith(":") else f"{port}65535" for port in fixed]
            return f"-m multiport {self.turn()}{option} {','.join(dict.fromkeys(fixed))}"
        if rng.random() < 0.3:
            return f"-m {proto} {self.turn()}--sport {self.port(one.sport)}"
        return f"-m {proto} {self.turn()}--dport {self.port(one.dport)}"

    # --- targets

    def _target(self, table: str, hooks: set[str], proto: str) -> str:
        rng = self.rng
        wide = {
            "ACCEPT": 6, "RETURN": 3, "-": 2, "LOG": 1, "MARK": 2, "CONNMARK": 1, "NFLOG": 1,
            "SET": 1 if self.sets else 0, "AUDIT": 0.5, "TEE": 0.3,
        }  # fmt: skip
        own: dict[str, float] = {
            "raw": {"DROP": 0.6, "NOTRACK": 2, "CT": 4, "TRACE": 1},
            "mangle": {"DROP": 0.7, "DSCP": 1, "TOS": 1, "TTL": 1, "ECN": 0.5, "CLASSIFY": 0.5, "TCPMSS": 3,
                       "CHECKSUM": 1, "MARK": 3},
            "nat": {"NAT": 6, "ACCEPT": 2},
            "filter": {"DROP": 2.2, "REJECT": 2},
            "security": {"DROP": 1},
        }[table]  # fmt: skip
        choices = {**wide, **own}
        if table in {"nat", "raw"}:
            choices.pop("TEE")
        if table == "mangle" and self.space.proxied and hooks <= {"PREROUTING"} and proto in {"tcp", "udp"}:
            choices["TPROXY"] = 6
        name = rng.choices(list(choices), list(choices.values()))[0]
        if name == "-":
            return '-m comment --comment "it\'s counted"'
        if name in {"ACCEPT", "DROP", "RETURN", "NOTRACK", "TRACE"}:
            return f"-j {name}"
        return getattr(self, f"_to_{name.lower()}")(hooks, proto)

    def _to_log(self, hooks: set[str], proto: str) -> str:
        return '-j LOG --log-prefix "seen: " --log-level 6'

    def _to_mark(self, hooks: set[str], proto: str) -> str:
        value, mask = self.rng.choice(MARKS), self.rng.choice((0xFFFFFFFF, 0xFF, 0x4000))
        option = self.rng.choice(("set-mark", "or-mark", "and-mark", "xor-mark"))
        return self.rng.choice((f"-j MARK --set-xmark {value:#x}/{mask:#x}", f"-j MARK --{option} {value:#x}"))

    def _to_connmark(self, hooks: set[str], proto: str) -> str:
        value = self.rng.choice(MARKS)
        options = (
            f"set-xmark {value:#x}/0xff",
            "save-mark",
            "restore-mark",
            f"save-mark --nfmask {value:#x} --ctmask 0xff",
        )
        return f"-j CONNMARK --{self.rng.choice(options)}"

    def _to_nflog(self, hooks: set[str], proto: str) -> str:
        return "-j NFLOG --nflog-group 9"

    def _to_audit(self, hooks: set[str], proto: str) -> str:
        return "-j AUDIT --type accept"

    def _to_tee(self, hooks: set[str], proto: str) -> str:
        return f"-j TEE --gateway {'192.0.2.222' if self.family == 4 else '2001:db8:1::222'}"

    def _to_tproxy(self, hooks: set[str], proto: str) -> str:
        """Mostly to the proxy; sometimes to who listens on the packet's own port, or without the mark it needs."""
        rng = self.rng
        port = rng.choice((PROXY, PROXY, PROXY, PROXY, 0, 80, 9))
        own = [one for one, _ in self.space.addresses if (":" in one) == (self.family == 6)]
        where = f" --on-ip {rng.choice(own)}" if own and rng.random() < 0.2 else ""
        mark = rng.choice(("0x1/0x1", "0x1/0x1", "0x1/0x1", "0x1", "0x0/0x0"))
        return f"-j TPROXY --on-port {port}{where} --tproxy-mark {mark}"

    def _to_set(self, hooks: set[str], proto: str) -> str:
        # Into a set that no rule asks: what one flow adds would answer for the next.
        name = f"added{'' if self.family == 4 else 6}"
        return f"-j SET --add-set {name} {self.rng.choice(('src', 'dst'))}" if self.sets else "-j ACCEPT"

    def _to_reject(self, hooks: set[str], proto: str) -> str:
        kinds = (
            ("icmp-port-unreachable", "icmp-net-unreachable", "icmp-host-unreachable", "icmp-proto-unreachable",
             "icmp-net-prohibited", "icmp-host-prohibited", "icmp-admin-prohibited")
            if self.family == 4
            else ("icmp6-port-unreachable", "icmp6-no-route", "icmp6-adm-prohibited", "icmp6-addr-unreachable",
                  "icmp6-policy-fail", "icmp6-reject-route")
        )  # fmt: skip
        kind = "tcp-reset" if proto == "tcp" and self.rng.random() < 0.5 else self.rng.choice(kinds)
        return f"-j REJECT --reject-with {kind}"

    def _to_ct(self, hooks: set[str], proto: str) -> str:
        return self.rng.choice(
            ("-j CT --notrack", "-j CT --zone 5", "-j CT --zone-orig 6", "-j CT --zone-reply 7", "-j CT --zone mark")
        )

    def _to_dscp(self, hooks: set[str], proto: str) -> str:
        return self.rng.choice(("-j DSCP --set-dscp 0x0a", "-j DSCP --set-dscp-class EF"))

    def _to_tos(self, hooks: set[str], proto: str) -> str:
        return self.rng.choice(("-j TOS --set-tos 0x10/0x3f", "-j TOS --or-tos 0x08", "-j TOS --set-tos 0x10"))

    def _to_ttl(self, hooks: set[str], proto: str) -> str:
        name, option = ("TTL", "ttl") if self.family == 4 else ("HL", "hl")
        return f"-j {name} --{option}-{self.rng.choice(('set 1', 'set 64', 'dec 1', 'inc 1', 'set 2', 'dec 63'))}"

    def _to_ecn(self, hooks: set[str], proto: str) -> str:
        return "-j ECN --ecn-tcp-remove" if proto == "tcp" and self.family == 4 else "-j ACCEPT"

    def _to_classify(self, hooks: set[str], proto: str) -> str:
        return "-j CLASSIFY --set-class 1:1" if hooks <= SAY else "-j RETURN"

    def _to_tcpmss(self, hooks: set[str], proto: str) -> str:
        if proto != "tcp":
            return "-j RETURN"
        clamp = " --clamp-mss-to-pmtu" if hooks <= SAY and self.rng.random() < 0.5 else " --set-mss 1000"
        return f"-m tcp --tcp-flags SYN,RST SYN -j TCPMSS{clamp}"

    def _to_checksum(self, hooks: set[str], proto: str) -> str:
        return "-j CHECKSUM --checksum-fill" if proto in {"tcp", "udp"} else "-j RETURN"

    def _to_nat(self, hooks: set[str], proto: str) -> str:
        """Whatever the hooks allow: a destination in PREROUTING and OUTPUT, a source in INPUT and POSTROUTING."""
        rng = self.rng
        ported = proto in {"tcp", "udp"}
        one = rng.choice(self.seen)
        other = rng.choice(self.seen)
        port = rng.choice((53, 80, 443, 8080, 9))
        wrapped = f"[{other.dst}]" if self.family == 6 else other.dst
        near = str(ipaddress.ip_address(int(ipaddress.ip_address(other.dst)) + 1))
        length = 24 if self.family == 4 else 64
        network = ipaddress.ip_network((int(ipaddress.ip_address(other.dst)), length), strict=False)
        if hooks <= {"PREROUTING", "OUTPUT"}:
            choices = [f"-j DNAT --to-destination {other.dst}", f"-j NETMAP --to {network}", "-j REDIRECT"]
            if ported:
                choices += [f"-j DNAT --to-destination {wrapped}:{port}", f"-j DNAT --to-destination :{port}",
                            f"-j REDIRECT --to-ports {port}", f"-j DNAT --to-destination {wrapped}:{port}-{port + 2}",
                            f"-j REDIRECT --to-ports {port}-{port + 1}"]  # fmt: skip
            if rng.random() < 0.15:
                choices = [
                    f"-j DNAT --to-destination {other.dst}-{near}{rng.choice(('', ' --persistent', ' --random'))}"
                ]
            return rng.choice(choices)
        own = [value for value, _ in self.space.addresses if (":" in value) == (self.family == 6)]
        source = rng.choice([*own, one.src]) if own else one.src
        boxed = f"[{source}]" if self.family == 6 else source
        if hooks <= {"INPUT", "POSTROUTING"}:
            choices = [f"-j SNAT --to-source {source}"]
            if hooks == {"POSTROUTING"}:
                choices += ["-j MASQUERADE", "-j MASQUERADE", f"-j NETMAP --to {network}"]
                if ported:
                    choices += ["-j MASQUERADE --to-ports 3000-4000", "-j MASQUERADE --random"]
            if ported:
                choices += [f"-j SNAT --to-source {boxed}:7000-7100", f"-j SNAT --to-source {boxed}:777"]
            return rng.choice(choices)
        return "-j RETURN"


# --- matches: each returns its words, or None where it cannot stand here


def _conntrack(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    rng = rules.rng
    options = [f"{rules.turn()}--ctstate {rng.choice((*STATES, 'NEW,ESTABLISHED', 'DNAT', 'SNAT', 'NEW,UNTRACKED'))}"]
    family = 32 if one.family == 4 else 128
    extra = rng.random()
    if extra < 0.12:
        options = [f"--ctdir {rng.choice(('ORIGINAL', 'REPLY'))}"]
    elif extra < 0.2:
        options.append(f"{rules.turn()}--ctorigdst {one.dst if not rules.miss() else one.src}/{family}")
    elif extra < 0.28:
        options.append(f"{rules.turn()}--ctorigsrc {one.src if not rules.miss() else one.dst}/{family}")
    elif extra < 0.34:
        options = [f"{rules.turn()}--ctreplsrc {one.dst}/{family}"]
    elif extra < 0.4:
        options = [f"{rules.turn()}--ctrepldst {one.src}/{family}"]
    elif extra < 0.5 and proto in {"tcp", "udp"}:
        options = [f"--ctproto {proto}", f"{rules.turn()}--ctorigdstport {rules.port(one.dport).strip(':')}"]
    elif extra < 0.6:
        options = [f"{rules.turn()}--ctstatus {rng.choice(STATUSES)}"]
    elif extra < 0.63:
        options = [f"{rules.turn()}--ctexpire {rng.choice(('1:10', '0:4294967295', '20:200', '100:500000'))}"]
    return "-m conntrack " + " ".join(options)


def _state(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    return f"-m state {rules.turn()}--state {rules.rng.choice(STATES)}"


def _addrtype(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    rng = rules.rng
    side = rng.choice(("--dst-type", "--src-type"))
    kinds = ("LOCAL", "UNICAST", "LOCAL", "UNICAST", "MULTICAST", "UNREACHABLE", "LOCAL,UNICAST")
    words = f"-m addrtype {rules.turn(0.3)}{side} {rng.choice(kinds)}"
    if rng.random() < 0.15 and hook in HEAR and rules.family == 4:
        words += " --limit-iface-in"
    elif rng.random() < 0.15 and hook in {"POSTROUTING", "FORWARD", "OUTPUT"} and rules.family == 4:
        words += " --limit-iface-out"
    return words


def _mark(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    value = one.mark if not rules.miss(0.5) else rules.rng.choice(MARKS)
    return f"-m mark {rules.turn()}--mark {value:#x}{rules.rng.choice(('', '/0xff', '/0x1', f'/{value:#x}'))}"


def _connmark(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    return f"-m connmark {rules.turn(0.4)}--mark {rules.rng.choice((0, *MARKS)):#x}{rules.rng.choice(('', '/0xff'))}"


def _owner(rules: Ruleset, one: Sample, hook: str, proto: str) -> str | None:
    if hook not in {"OUTPUT", "POSTROUTING"}:
        return None
    choices = (
        f"--uid-owner {one.uid if not rules.miss() else 1000}",
        "--uid-owner 0-1500",
        "--socket-exists",
        "--gid-owner 0",
    )
    return f"-m owner {rules.turn(0.3)}{rules.rng.choice(choices)}"


def _physdev(rules: Ruleset, one: Sample, hook: str, proto: str) -> str | None:
    if not rules.space.ports:
        return None
    port = rules.rng.choice(rules.space.ports)
    choices = []
    if hook in {"PREROUTING", "INPUT", "FORWARD", "POSTROUTING"}:
        choices += [f"--physdev-in {port}", "--physdev-is-in"]
    if hook in {"FORWARD", "POSTROUTING"}:
        choices.append("--physdev-is-bridged")
    if hook == "FORWARD":
        choices += [f"--physdev-out {port} --physdev-is-bridged", "--physdev-is-out"]
    return f"-m physdev {rules.turn(0.2)}{rules.rng.choice(choices)}" if choices else None


def _length(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    size = one.size if rules.family == 4 else one.size - 40
    size += rules.rng.choice((0, 0, 0, 1, -1))
    ranges = (f"{size}", f"{size}:65535", f"0:{size}", f"{size - 5}:{size + 5}")
    return f"-m length {rules.turn()}--length {rules.rng.choice(ranges)}"


def _ttl(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    name = "ttl" if rules.family == 4 else "hl"
    value = one.ttl - rules.rng.choice((0, 0, 1, 1, 2))
    if rules.rng.random() < 0.5:
        return f"-m {name} --{name}-{rules.rng.choice(('lt', 'gt'))} {max(value, 1)}"
    return f"-m {name} {rules.turn()}--{name}-eq {max(value, 1)}"


def _dscp(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    value = one.tos >> 2 if not rules.miss() else 0x0A
    return f"-m dscp {rules.turn()}--dscp {value:#04x}"


def _tos(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    value = one.tos if not rules.miss() else 0x10
    return f"-m tos {rules.turn()}--tos {value:#04x}/{rules.rng.choice((0xFF, 0x3F, 0xFC)):#04x}"


def _ecn(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    if proto == "tcp" and rules.rng.random() < 0.5:
        return f"-m ecn {rules.turn(0.3)}{rules.rng.choice(('--ecn-tcp-cwr', '--ecn-tcp-ece'))}"
    return f"-m ecn {rules.turn(0.3)}--ecn-ip-ect {rules.rng.choice((0, 1, 2))}"


def _iprange(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    side = rules.rng.choice(("src", "dst"))
    middle = int(ipaddress.ip_address(getattr(one, side)))
    low = max(0, middle - rules.rng.choice((0, 1, 5))) if not rules.miss() else middle + 1
    high = max(low, middle) + rules.rng.choice((0, 1, 5))
    make = ipaddress.IPv4Address if rules.family == 4 else ipaddress.IPv6Address
    return f"-m iprange {rules.turn()}--{side}-range {make(low)}-{make(high)}"


def _mac(rules: Ruleset, one: Sample, hook: str, proto: str) -> str | None:
    if hook not in HEAR or not rules.space.macs:
        return None
    return f"-m mac {rules.turn(0.4)}--mac-source {rules.rng.choice(list(rules.space.macs.values()))}"


def _pkttype(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    return f"-m pkttype {rules.turn(0.3)}--pkt-type {rules.rng.choice(('unicast', 'broadcast', 'multicast'))}"


def _policy(rules: Ruleset, one: Sample, hook: str, proto: str) -> str | None:
    if hook not in {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}:
        return None
    way = "in" if hook in {"PREROUTING", "INPUT", "FORWARD"} else "out"
    return f"-m policy --dir {way} --pol {rules.rng.choice(('none', 'none', 'ipsec'))}"


def _rpfilter(rules: Ruleset, one: Sample, hook: str, proto: str) -> str | None:
    if hook != "PREROUTING" or rules.table not in {"raw", "mangle"}:
        return None
    return "-m rpfilter" + "".join(
        f" --{word}" for word in ("loose", "validmark", "accept-local", "invert") if rules.rng.random() < 0.3
    )


def _set(rules: Ruleset, one: Sample, hook: str, proto: str) -> str | None:
    if not rules.sets:
        return None
    name = rules.rng.choice(list(rules.sets))
    kind = rules.sets[name]
    count = 1 if kind == "list:set" else kind.count(",") + 1
    sides = [rules.rng.choice(("src", "dst")) for _ in range(count)]
    if "iface" in kind:
        sides[-1] = (
            "src" if hook in {"PREROUTING", "INPUT"} else "dst" if hook in {"OUTPUT", "POSTROUTING"} else sides[-1]
        )
    extra = rules.rng.choice(("", "", "", " --return-nomatch")) if "net" in kind else ""
    return f"-m set {rules.turn(0.25)}--match-set {name} {','.join(sides)}{extra}"


def _statistic(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    if rules.rng.random() < 0.6:
        return f"-m statistic --mode random {rules.turn()}--probability {rules.rng.choice((0.5, 0.25, 1, 0))}"
    return f"-m statistic --mode nth {rules.turn()}--every {rules.rng.choice((1, 2, 3))} --packet 0"


def _time(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    return "-m time " + rules.rng.choice((
        "--datestart 2001-01-01T00:00:00", "--datestop 2001-01-01T00:00:00", "--weekdays Mon,Tue,Wed,Thu,Fri,Sat,Sun",
        "--datestart 2037-01-01T00:00:00", "--timestart 00:00:00 --timestop 23:59:59",
    ))  # fmt: skip


def _string(rules: Ruleset, one: Sample, hook: str, proto: str) -> str | None:
    if proto not in {"udp", "icmp"}:
        return None
    sought = rules.rng.choice(("....", "n0", ". x", "..", f"n{(one.dport if one.reply else one.sport):07d}"))
    where = rules.rng.choice(("", " --from 30", " --to 32", " --from 10 --to 200"))
    return f'-m string {rules.turn()}--string "{sought}" --algo {rules.rng.choice(("bm", "kmp"))}{where}'


def _u32(rules: Ruleset, one: Sample, hook: str, proto: str) -> str | None:
    if rules.family == 6:
        return f'-m u32 {rules.turn()}--u32 "4&0xFF00={NUMBERS[one.proto] if one.proto != "icmp" else 58:#x}00"'
    number = NUMBERS[one.proto]
    src = int(ipaddress.ip_address(one.src))
    return f"-m u32 {rules.turn()}--u32 " + rules.rng.choice((
        f'"6&0xFF={number}"', f'"12={src:#x}"', f'"6&0xFF={number}&&12={src - 1:#x}:{src + 1:#x}"',
        f'"0>>22&0x3C@0>>16={one.sport}"', '"2&0xFFFF=0x54:0x100"', f'"8>>24={one.ttl - 1}:{one.ttl}"',
    ))  # fmt: skip


def _tcpmss(rules: Ruleset, one: Sample, hook: str, proto: str) -> str | None:
    return (
        f"-m tcpmss {rules.turn()}--mss {rules.rng.choice(('1460', '1440', '1:1400', '1000', '1400:1500'))}"
        if proto == "tcp"
        else None
    )


def _devgroup(rules: Ruleset, one: Sample, hook: str, proto: str) -> str | None:
    if hook in HEAR:
        return f"-m devgroup {rules.turn()}--src-group {rules.rng.choice(('0x0', '0x5'))}"
    return f"-m devgroup {rules.turn()}--dst-group {rules.rng.choice(('0x0', '0x5'))}" if hook in SAY else None


def _socket(rules: Ruleset, one: Sample, hook: str, proto: str) -> str | None:
    if hook not in {"PREROUTING", "INPUT"} or proto not in {"tcp", "udp"}:
        return None
    return "-m socket" + rules.rng.choice(("", " --nowildcard", " --transparent"))


def _connbytes(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    mode, direction = rules.rng.choice(("packets", "bytes")), rules.rng.choice(("original", "reply", "both"))
    count = rules.rng.choice(("0", "1", "2:100", "0:1000"))
    return f"-m connbytes {rules.turn()}--connbytes {count} --connbytes-mode {mode} --connbytes-dir {direction}"


def _helper(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    return f'-m helper {rules.turn(0.4)}--helper "ftp"'


def _connlimit(rules: Ruleset, one: Sample, hook: str, proto: str) -> str:
    way = rules.rng.choice(("above", "upto"))
    return f"-m connlimit --connlimit-{way} {rules.rng.choice((1000, 5000))} --connlimit-mask 0"


def _headers6(rules: Ruleset, one: Sample, hook: str, proto: str) -> str | None:
    if rules.family == 4:
        return None
    return rules.rng.choice((
        f"-m frag {rules.turn(0.3)}--fragid 0:4294967295", "-m hbh --hbh-len 2", "-m rt --rt-type 0",
        f"-m ipv6header {rules.turn(0.4)}--header frag --soft", "-m ipv6header --header none", "-m dst --dst-len 4",
    ))  # fmt: skip


def _absent(rules: Ruleset, one: Sample, hook: str, proto: str) -> str | None:
    """A match that no flow of ours can satisfy; its protocol decides."""
    if proto:
        return None
    return rules.rng.choice((
        "-p esp -m esp --espspi 0:4294967295", "-p sctp -m sctp --dport 1:65535", "-p dccp -m dccp --dport 1:65535",
    ))  # fmt: skip


def _limited(rules: Ruleset, one: Sample, hook: str, proto: str) -> str | None:
    """What hangs on a counter that no snapshot shows: seldom."""
    if rules.rng.random() > 0.05:
        return None
    return rules.rng.choice((
        "-m limit --limit 1000/sec --limit-burst 5000", "-m quota --quota 100000000",
        "-m hashlimit --hashlimit-upto 1000/sec --hashlimit-burst 1000 --hashlimit-name h",
        "-m recent --rcheck --name r --rsource", "-m recent --set --name r --rsource",
    ))  # fmt: skip


MATCHES: tuple[Callable[[Ruleset, Sample, str, str], str | None], ...] = (
    _conntrack, _conntrack, _conntrack, _state, _addrtype, _addrtype, _mark, _mark, _connmark, _owner, _owner,
    _physdev, _physdev, _length, _ttl, _dscp, _tos, _ecn, _iprange, _mac, _pkttype, _policy, _rpfilter, _rpfilter,
    _set, _set, _set, _statistic, _time, _string, _u32, _tcpmss, _devgroup, _socket, _socket, _connbytes, _helper,
    _connlimit, _headers6, _absent, _limited,
)  # fmt: skip

# Of these every answer is sure, and each is as likely as any other.
PROBES = tuple(dict.fromkeys(one for one in MATCHES if one not in {_statistic, _limited, _connlimit}))


def sets(rng: random.Random, space: Space, seen: Sequence[Sample]) -> tuple[Step, dict[str, str]]:
    """Return the step that makes ipsets with what flows have, and their types by name."""
    lines: list[str] = []
    kinds: dict[str, str] = {}
    for family in (4, 6):
        own = [one for one in seen if one.family == family]
        if not own:
            continue
        tail = f"v{family}"
        word = "" if family == 4 else " family inet6"
        bits = 32 if family == 4 else 128
        for kind in rng.sample(
            SETS,
            rng.choice((1, 2, 3)),
        ):  # fmt: skip
            name = f"s{len(kinds)}{tail}"
            kinds[name] = kind
            lines.append(f"create {name} {kind}{word}")
            for _ in range(3):
                one = rng.choice(own)
                parts = []
                for dimension in kind.partition(":")[2].split(","):
                    value = rng.choice((one.src, one.dst))
                    if dimension == "ip":
                        parts.append(value)
                    elif dimension == "net":
                        parts.append(str(ipaddress.ip_network(f"{value}/{rng.choice((bits, bits - 8))}", strict=False)))
                    elif dimension == "port":
                        proto = one.proto if one.proto != "icmp" else "tcp"
                        parts.append(f"{proto}:{rng.choice((one.dport, one.sport)) or 80}")
                    elif dimension == "mark":
                        parts.append("0x1")
                    else:
                        parts.append(rng.choice([*space.devices, *(f"physdev:{port}" for port in space.ports)]))
                exception = " nomatch" if "net" in kind and rng.random() < 0.2 else ""
                lines.append(f"-exist add {name} {','.join(parts)}{exception}")
        if rng.random() < 0.3:
            name = f"l{tail}"
            members = [known for known in kinds if known.endswith(tail) and kinds[known] in {"hash:ip", "hash:net"}]
            if members:
                lines.append(f"create {name} list:set")
                lines += [f"add {name} {member}" for member in members]
                kinds[name] = "list:set"
    if rng.random() < 0.4:
        lines.append("create ports bitmap:port range 0-65535")
        lines += [f"add ports {port}" for port in rng.sample((53, 80, 443, 8080, 9), 2)]
        kinds["ports"] = "port"
    lines += ["create added hash:ip", "create added6 hash:ip family inet6"]
    return Step(space.name, "ipset", tuple(lines)), kinds
