"""Statements: matches, verdicts, translations, what changes a packet. Each says whether the rule goes on, and how.

Knows nothing of chains. What is not understood becomes an `Undecided` that names it, when a packet gets that far.
Kernel: net/netfilter/nft_cmp.c, nft_lookup.c, nft_nat.c, nft_masq.c, nft_redir.c, nft_reject.c, nft_queue.c
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from netdoctor.netfilter import effect as effects
from netdoctor.netfilter.nft import fields, kinds
from netdoctor.netfilter.nft.expressions import Asking, Expression, Map, Scope, compile_expression
from netdoctor.netfilter.nft.sets import Elements, bounds
from netdoctor.netfilter.packet import ACK, SYN, TCP, UDP, format_address
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from netdoctor.netfilter.nft.kinds import Kind
    from netdoctor.netfilter.packet import Packet

BREAK: Final = None  # NFT_BREAK: the rule ends here, the next one is asked
Done = list[effects.Effect] | None  # what is to be done, in order; BREAK


class Statement:
    """One statement of a rule."""

    def run(self, asking: Asking) -> Done:
        """Look at the packet, or change it, and say what is to be done."""
        raise NotImplementedError


class Idle(Statement):
    """What counts, logs or notes: the packet goes on as it was."""

    def run(self, asking: Asking) -> Done:
        """Go on."""
        return []


class Fixed(Statement):
    """Always the same effect: a verdict, notrack."""

    def __init__(self, *wanted: effects.Effect) -> None:
        self._wanted = wanted

    def run(self, asking: Asking) -> Done:
        """The effect."""
        return list(self._wanted)


class Match(Statement):
    """`LEFT OP RIGHT` (nft_cmp_eval, nft_range_eval, nft_lookup_eval, nft_bitwise_eval)."""

    def __init__(self, given: dict[str, Any], scope: Scope) -> None:
        self._left = compile_expression(given["left"], scope)
        self._op = given["op"]
        self._what = str(next(iter(given["left"]), "?")) if isinstance(given["left"], dict) else "?"
        right = given["right"]
        self._elements: Elements | None = None
        self._other: Expression | None = None
        self._bounds: list[tuple[Any, Any]] = []
        self._exists: bool | None = None
        of = self._left.kinds
        if isinstance(right, str) and right.startswith("@"):
            self._elements = scope.elements(right[1:], of)
        elif isinstance(right, dict) and "set" in right:
            self._elements = Elements(of, ((element, None) for element in right["set"]))
        elif isinstance(right, bool):
            self._exists = right
        elif isinstance(right, dict) and "concat" in right:
            self._bounds = [bounds(part, kind) for part, kind in zip(right["concat"], of, strict=True)]
        elif isinstance(right, dict) and not {"range", "prefix", "|"} & set(right):
            self._other = compile_expression(right, scope, of)
        else:
            self._bounds = [bounds(right, of[0])]

    def run(self, asking: Asking) -> Done:
        """Go on where it holds."""
        value = self._left.value(asking)
        if value is None:
            return BREAK
        if isinstance(value, Unknown):
            return [] if asking.decide.holds(value, self._what) else BREAK
        wanted = self._bounds
        if self._other is not None:
            other = self._other.value(asking)
            if other is None:
                return BREAK
            if isinstance(other, Unknown):
                return [] if asking.decide.holds(other, self._what) else BREAK
            wanted = [(part, part) for part in other]
        return [] if self._holds(value, wanted) else BREAK

    def _holds(self, value: tuple[Any, ...], wanted: list[tuple[Any, Any]]) -> bool:
        if self._exists is not None:
            return (bool(value[0]) is self._exists) is (self._op != "!=")
        if self._elements is not None:
            return self._elements.find(value)[0] is (self._op != "!=")
        if self._op == "in" and self._left.kinds[0].flags:
            return bool(value[0] & wanted[0][0])
        inside = all(first <= part <= last for part, (first, last) in zip(value, wanted, strict=True))
        if self._op in {"==", "in"}:
            return inside
        if self._op == "!=":
            return not inside
        number, (low, _) = value[0], wanted[0]
        return bool({
            "<": number < low, ">": number > low, "<=": number <= low, ">=": number >= low, "!": not number & low,
        }[self._op])  # fmt: skip


class VerdictMap(Statement):
    """`KEY vmap { … }`: the verdict that the map gives; none, and the rule ends."""

    def __init__(self, given: dict[str, Any], scope: Scope) -> None:
        self._map = Map(compile_expression(given["key"], scope), given["data"], scope, ())

    def run(self, asking: Asking) -> Done:
        """The verdict."""
        found = self._map.look(asking)
        if found is None:
            return BREAK
        if isinstance(found, Unknown):
            return [effects.Undecided(found.why)]
        there, written = found
        return verdict(written) if there else BREAK


class Nat(Statement):
    """`snat`, `dnat`, `masquerade`, `redirect` (nft_nat_eval, nft_masq_ipv4_eval, nft_redir_eval)."""

    def __init__(self, name: str, given: dict[str, Any] | None, scope: Scope) -> None:
        given = given or {}
        self._name = name
        self._family = {"ip": 4, "ip6": 6}.get(str(given.get("family", scope.family)))
        self._flags = _listed(given.get("flags"))
        six = self._family == 6
        address = (kinds.IPV6 if six else kinds.IPV4,)
        self._address: Expression | None = None
        self._range: tuple[int, int] | None = None
        self._both = False
        self._prefix = "prefix" in _listed(given.get("type_flags"))
        if "addr" in given:
            self._compile_address(given["addr"], address, scope)
        self._port: Expression | None = None
        self._ports: tuple[int, int] | None = None
        if "port" in given:
            if isinstance(given["port"], dict) and "range" in given["port"]:
                self._ports = bounds(given["port"], kinds.PORT)
            else:
                self._port = compile_expression(given["port"], scope, (kinds.PORT,))

    def _compile_address(self, written: Any, kind: tuple[Kind, ...], scope: Scope) -> None:
        if isinstance(written, dict) and "map" in written:
            # Whether the map gives an address, or an address and a port, its elements tell.
            self._both = _gives_ports(written["map"]["data"], scope)
            expected = (*kind, kinds.PORT) if self._both else kind
            self._address = compile_expression(written, scope, expected)
        elif isinstance(written, dict) and {"range", "prefix"} & set(written):
            self._range = bounds(written, kind[0])
        else:
            self._address = compile_expression(written, scope, kind)

    def run(self, asking: Asking) -> Done:
        """The translation; of the other family, nothing."""
        if self._family is not None and self._family != asking.packet.family:
            return []
        first = last = low = high = None
        if self._range is not None:
            first, last = self._range
        if self._address is not None:
            value = self._address.value(asking)
            if value is None or isinstance(value, Unknown):
                return BREAK if value is None else [effects.Undecided(value.why)]
            first = last = int(value[0])
            if self._both:
                low = high = int(value[1])
        if self._ports is not None:
            low, high = self._ports
        if self._port is not None:
            port = self._port.value(asking)
            if port is None or isinstance(port, Unknown):
                return BREAK if port is None else [effects.Undecided(port.why)]
            low = high = int(port[0])
        return [effects.Nat(
            manip="src" if self._name in {"snat", "masquerade"} else "dst", first_address=first, last_address=last,
            first_port=low, last_port=high, random="random" in self._flags, random_fully="fully-random" in self._flags,
            persistent="persistent" in self._flags, masquerade=self._name == "masquerade",
            redirect=self._name == "redirect",
            netmap_mask=None if not self._prefix or first is None or last is None else last - first,
        )]  # fmt: skip


def _gives_ports(data: Any, scope: Scope) -> bool:
    if isinstance(data, str):
        pairs = scope.written(data.removeprefix("@"))
    else:
        pairs = data["set"] if isinstance(data, dict) else data
    return any(isinstance(pair[1], dict) and "concat" in pair[1] for pair in pairs)


class Mangle(Statement):
    """`KEY set VALUE`: of the packet's headers, its metadata, its connection."""

    def __init__(self, given: dict[str, Any], scope: Scope) -> None:
        (self._what, key), *_ = given["key"].items()
        self._key = key
        target = compile_expression(given["key"], scope)
        self._value = compile_expression(given["value"], scope, target.kinds)
        self._kind = target.kinds[0]
        self._name = " ".join(str(key[part]) for part in ("protocol", "field", "dir", "key", "name") if key.get(part))

    def run(self, asking: Asking) -> Done:
        """Change it."""
        value = self._value.value(asking)
        if value is None:
            return BREAK
        if isinstance(value, Unknown):
            return [effects.Undecided(value.why)]
        change = _CHANGES.get((self._what, self._name))
        if change is None:
            return [effects.Undecided(f"nft: {self._what} {self._name} set")]
        return change(asking.packet, value[0])


def _set(name: str, shown: Callable[[Packet, Any], str]) -> Callable[[Packet, Any], Done]:
    def change(packet: Packet, value: Any) -> Done:
        setattr(packet, name, value)
        packet.note(shown(packet, value))
        return []

    return change


def _set_tos(shift: int, mask: int) -> Callable[[Packet, Any], Done]:
    def change(packet: Packet, value: Any) -> Done:
        packet.tos = (packet.tos & mask) | int(value) << shift
        packet.note(f"tos {packet.tos:#x}")
        return []

    return change


def _set_ct_mark(packet: Packet, value: Any) -> Done:
    if packet.connection is not None:
        packet.connection.mark = int(value)
        packet.note(f"connection mark {int(value):#x}")
    return []


def _set_packet_type(packet: Packet, value: Any) -> Done:
    """Whom the frame is for, whatever its address says; other types are neither given nor taken (skb_pkt_type_ok)."""
    wanted = _PACKET_TYPES.get(int(value))
    if wanted is not None and packet.pkttype in _PACKET_TYPES.values():
        packet.pkttype = wanted
        packet.note(f"packet type {wanted}")
    return []


def _set_mac(packet: Packet, name: str, value: Any) -> Done:
    text = int(value).to_bytes(6, "big").hex(":")
    setattr(packet, name, text)
    if name == "dst_mac":
        packet.to_group = None
    packet.note(f"{'source' if name == 'src_mac' else 'destination'} {text}")
    return []


def _address(packet: Packet, value: int) -> str:
    return format_address(packet.family, value)


_PACKET_TYPES = {number: name for name, number in fields.PKTTYPES.items() if number <= fields.PKTTYPES["otherhost"]}
_CHANGES: dict[tuple[str, str], Callable[[Packet, Any], Done]] = {
    ("meta", "mark"): _set("mark", lambda packet, value: f"mark {value:#x}"),
    ("meta", "priority"): _set("priority", lambda packet, value: f"priority {value}"),
    ("meta", "nftrace"): _set("trace", lambda packet, value: "traced"),
    ("meta", "pkttype"): _set_packet_type,
    ("payload", "ether saddr"): lambda packet, value: _set_mac(packet, "src_mac", value),
    ("payload", "ether daddr"): lambda packet, value: _set_mac(packet, "dst_mac", value),
    ("ct", "mark"): _set_ct_mark,
    ("ct", "zone"): lambda packet, value: [effects.CtTemplate(zone=int(value))],
    ("ct", "original zone"): lambda packet, value: [effects.CtTemplate(zone=int(value), zone_direction="original")],
    ("ct", "reply zone"): lambda packet, value: [effects.CtTemplate(zone=int(value), zone_direction="reply")],
    ("ct", "label"): lambda packet, value: [],
    ("ct", "event"): lambda packet, value: [],
    ("payload", "ip dscp"): _set_tos(2, 3),
    ("payload", "ip6 dscp"): _set_tos(2, 3),
    ("payload", "ip ecn"): _set_tos(0, 0xFC),
    ("payload", "ip6 ecn"): _set_tos(0, 0xFC),
    ("payload", "ip ttl"): _set("ttl", lambda packet, value: f"ttl {value}"),
    ("payload", "ip6 hoplimit"): _set("ttl", lambda packet, value: f"hop limit {value}"),
    ("payload", "ip saddr"): _set("src", lambda packet, value: f"source {_address(packet, value)}"),
    ("payload", "ip daddr"): _set("dst", lambda packet, value: f"destination {_address(packet, value)}"),
    ("payload", "ip6 saddr"): _set("src", lambda packet, value: f"source {_address(packet, value)}"),
    ("payload", "ip6 daddr"): _set("dst", lambda packet, value: f"destination {_address(packet, value)}"),
    **{
        ("payload", f"{protocol} {side}"): _set(side, lambda packet, value: f"port {value}")
        for protocol in ("tcp", "udp", "th", "sctp", "udplite")
        for side in ("sport", "dport")
    },
    ("tcp option", "maxseg"): _set("tcp_mss", lambda packet, value: f"segment size {value}"),
}


class Quota(Statement):
    """`quota [over] N bytes`: by what it has used when the snapshot was taken (nft_overquota, nft_quota_do_eval)."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._limit = _bytes(given["val"], given.get("val_unit", "bytes"))
        self._used = _bytes(given.get("used", 0), given.get("used_unit", "bytes"))
        self._over = bool(given.get("inv"))

    def run(self, asking: Asking) -> Done:
        """Go on below it, or with `over` above it."""
        over = self._used + asking.packet.size >= self._limit
        return [] if over is self._over else BREAK


def _bytes(value: int, unit: str) -> int:
    return int(value) * {"bytes": 1, "kbytes": 1 << 10, "mbytes": 1 << 20}.get(unit, 1)


class Doubtful(Statement):
    """A match that hangs on what no snapshot shows."""

    def __init__(self, what: str) -> None:
        self._what = what

    def run(self, asking: Asking) -> Done:
        """Whoever decides in doubt says whether the rule goes on."""
        return [] if asking.decide.holds(Unknown(f"nft: {self._what}"), self._what) else BREAK


class NotUnderstood(Statement):
    """What no file here describes."""

    def __init__(self, what: str) -> None:
        self.what = what

    def run(self, asking: Asking) -> Done:
        """Never guessed."""
        return [effects.Undecided(f"nft: {self.what}")]


def verdict(written: Any) -> list[effects.Effect]:
    """Return the effect of a verdict as JSON writes it. Raises: ValueError."""
    name, given = (written, None) if isinstance(written, str) else next(iter(written.items()))
    if name in {"jump", "goto"} and given is not None:
        return [effects.Jump(given["target"], goto=name == "goto")]
    if name not in _VERDICTS:
        raise ValueError(f"verdict {name}")
    return [_VERDICTS[name]]


_VERDICTS: dict[str, effects.Effect] = {
    "accept": effects.ACCEPT, "drop": effects.Drop(), "return": effects.RETURN, "continue": effects.CONTINUE,
}  # fmt: skip
_IDLE = frozenset({"counter", "log", "last", "comment", "set", "ct timeout", "ct expectation", "secmark"})
# What `icmpx` becomes in each family (net/netfilter/nft_reject.c:icmp_code_v4, icmp_code_v6).
_ICMPX = {
    "port-unreachable": ("icmp-port-unreachable", "icmp6-port-unreachable"),
    "no-route": ("icmp-net-unreachable", "icmp6-no-route"),
    "host-unreachable": ("icmp-host-unreachable", "icmp6-addr-unreachable"),
    "admin-prohibited": ("icmp-admin-prohibited", "icmp6-adm-prohibited"),
}
_ICMP = {
    "net-unreachable": "icmp-net-unreachable", "host-unreachable": "icmp-host-unreachable",
    "prot-unreachable": "icmp-proto-unreachable", "port-unreachable": "icmp-port-unreachable",
    "net-prohibited": "icmp-net-prohibited", "host-prohibited": "icmp-host-prohibited",
    "admin-prohibited": "icmp-admin-prohibited",
}  # fmt: skip
_ICMPV6 = {
    "no-route": "icmp6-no-route", "admin-prohibited": "icmp6-adm-prohibited", "addr-unreachable":
    "icmp6-addr-unreachable", "port-unreachable": "icmp6-port-unreachable", "policy-fail": "icmp6-policy-fail",
    "reject-route": "icmp6-reject-route",
}  # fmt: skip


class Reject(Statement):
    """`reject [with …]` (nft_reject_ipv4_eval). What is tested before is not printed: the family, TCP for a reset."""

    def __init__(self, given: dict[str, Any] | None) -> None:
        given = given or {}
        self._type = given.get("type", "icmpx" if not given else "icmp")
        self._code = str(given.get("expr", "port-unreachable"))

    def run(self, asking: Asking) -> Done:
        """The answer of the packet's family; without one, nothing is said to the sender."""
        six = asking.packet.family == 6
        if self._type == "tcp reset":
            return [effects.Reject("tcp-reset")] if asking.packet.proto == TCP else BREAK
        if self._type == "icmpx":
            return [effects.Reject(_ICMPX[self._code][six])]
        if self._type == ("icmpv6" if six else "icmp"):
            return [effects.Reject((_ICMPV6 if six else _ICMP)[self._code])]
        return BREAK


class Duplicate(Statement):
    """`dup to ADDRESS [device DEVICE]`: a copy goes there (nft_dup_ipv4_eval, nft_dup_ipv6_eval)."""

    def __init__(self, given: dict[str, Any], scope: Scope) -> None:
        self._address = compile_expression(given["addr"], scope, (kinds.IPV6 if scope.family == "ip6" else kinds.IPV4,))
        self._device = str(given["dev"]) if "dev" in given else None

    def run(self, asking: Asking) -> Done:
        """The copy; the packet goes on."""
        found = self._address.value(asking)
        if found is None:
            return BREAK
        if isinstance(found, Unknown):
            return [effects.Undecided(found.why)]
        return [effects.Tee(int(found[0]), self._device)]


class Steer(Statement):
    """`tproxy to [ADDRESS][:PORT]`: a transparent socket takes the packet (nft_tproxy_eval_v4, nft_tproxy_eval_v6)."""

    def __init__(self, given: dict[str, Any], scope: Scope) -> None:
        self._family = {"ip": 4, "ip6": 6}.get(str(given.get("family", scope.family)))
        address = (kinds.IPV6 if self._family == 6 else kinds.IPV4,)
        self._address = compile_expression(given["addr"], scope, address) if "addr" in given else None
        self._port = compile_expression(given["port"], scope, (kinds.PORT,)) if "port" in given else None

    def run(self, asking: Asking) -> Done:
        """The packet goes on; without such a socket, the rule ends here."""
        packet = asking.packet
        if packet.proto not in (TCP, UDP) or self._family not in (None, packet.family):
            return BREAK
        address = None if self._address is None else self._address.value(asking)
        port = None if self._port is None else self._port.value(asking)
        for wanted, value in ((self._address, address), (self._port, port)):
            if isinstance(value, Unknown):
                return [effects.Undecided(value.why)]
            if wanted is not None and value is None:
                return BREAK
        found = asking.around.steer(packet, int(address[0]) if address else None, int(port[0]) if port else 0)
        if isinstance(found, Unknown):
            return [effects.Undecided(found.why)]
        return [] if found else BREAK


class Offload(Statement):
    """`flow add @TABLE`: later packets of the connection pass no hook behind ingress (nft_flow_offload_eval)."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._name = str(given.get("flowtable", "")).removeprefix("@")

    def run(self, asking: Asking) -> Done:
        """The packet itself goes on; that others take a shorter way is named, not followed."""
        asking.packet.note(f"offloaded to flowtable {self._name}: later packets may pass no rule")
        return []


class SynProxy(Statement):
    """The kernel answers a SYN itself, and takes the ACKs behind it (nft_synproxy_do_eval, nft_synproxy_eval_v4)."""

    def run(self, asking: Asking) -> Done:
        """Take it; what is not TCP ends the rule."""
        packet = asking.packet
        if packet.proto != TCP:
            return BREAK
        return [effects.SynProxy()] if packet.tcp_flags & (SYN | ACK) else []


class Ebtables(Statement):
    """What targets of ebtables do that nft has no statement for (ebt_dnat_tg, ebt_redirect_tg)."""

    def __init__(self, given: str, scope: Scope) -> None:
        self._redirects = given == "redirect"

    def run(self, asking: Asking) -> Done:
        """The frame is for the bridge itself, or not."""
        packet = asking.packet
        mac = asking.around.bridge_mac(packet.in_dev)
        if mac is None:
            return []  # OUTPUT: whom it is for does not matter
        if self._redirects:
            _set_mac(packet, "dst_mac", int(mac.replace(":", ""), 16))
        packet.pkttype = "host" if packet.dst_mac == mac else "otherhost"
        return []


class Queue(Statement):
    """`queue`: a program decides."""

    def __init__(self, given: dict[str, Any] | None) -> None:
        number = (given or {}).get("num", 0)
        self._number = number if isinstance(number, int) else 0
        self._bypass = "bypass" in _listed((given or {}).get("flags"))

    def run(self, asking: Asking) -> Done:
        """To the queue."""
        return [effects.Queue(self._number, bypass=self._bypass)]


def _listed(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def compile_statement(written: Any, scope: Scope) -> Statement:
    """Return a statement of `nft -j`. Nothing raises here: what is not understood is named."""
    name, given = (written, None) if isinstance(written, str) else next(iter(written.items()))
    try:
        return _compile(name, given, scope)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OSError) as error:
        why = str(error).strip("'\"")
        return NotUnderstood(name if not why or why == name else f"{name} {why}")


def _compile(name: str, given: Any, scope: Scope) -> Statement:
    if name in _VERDICTS or name in {"jump", "goto"}:
        return Fixed(*verdict({name: given}))
    if name in _IDLE:
        return Idle()
    maker = _STATEMENTS.get(name)
    return NotUnderstood(_named(name, given)) if maker is None else maker(given, scope)


def _named(name: str, given: Any) -> str:
    if name == "xt" and isinstance(given, dict):
        return f"xt {given.get('type')} {given.get('name')}"
    return name


_STATEMENTS: dict[str, Callable[[Any, Scope], Statement]] = {
    "match": Match,
    "vmap": VerdictMap,
    "snat": lambda given, scope: Nat("snat", given, scope),
    "dnat": lambda given, scope: Nat("dnat", given, scope),
    "masquerade": lambda given, scope: Nat("masquerade", given, scope),
    "redirect": lambda given, scope: Nat("redirect", given, scope),
    "mangle": Mangle,
    "notrack": lambda given, scope: Fixed(effects.NoTrack()),
    "reject": lambda given, scope: Reject(given),
    "queue": lambda given, scope: Queue(given),
    "quota": lambda given, scope: Quota(given) if isinstance(given, dict) else Doubtful(f"quota {given}"),
    "limit": lambda given, scope: Doubtful("limit"),
    "ct count": lambda given, scope: Doubtful("ct count"),
    "ct helper": lambda given, scope: Fixed(effects.CtTemplate(helper=str(given))),
    "synproxy": lambda given, scope: SynProxy(),
    "tproxy": Steer,
    "flow": lambda given, scope: Offload(given),
    "ebtables": Ebtables,
    "dup": Duplicate,
}
