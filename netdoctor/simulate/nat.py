"""Address translation: how a rule's range becomes a binding, and what a binding does to each packet.

Knows nothing of hooks other than nat's own. Kernel: net/netfilter/nf_nat_core.c:nf_nat_inet_fn, get_unique_tuple,
nf_nat_packet; nf_nat_masquerade.c; nf_nat_redirect.c.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from netdoctor.netfilter.effect import Accept, Nat
from netdoctor.netfilter.jhash import jhash2
from netdoctor.netfilter.packet import ICMP, ICMPV6, SCTP, TCP, UDP, ConnTuple, family_name, format_address, inverted
from netdoctor.simulate import native, source, tables
from netdoctor.simulate.conntrack import ICMP_ERRORS
from netdoctor.simulate.order import Asked, in_order
from netdoctor.simulate.run import Fate
from netdoctor.topology.addresses import is_link_local, with_port

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Connection, Packet
    from netdoctor.simulate.conntrack import Conntrack
    from netdoctor.simulate.hooks import At

Manip = Literal["src", "dst"]

MANIPS: dict[str, Manip] = {"PREROUTING": "dst", "OUTPUT": "dst", "POSTROUTING": "src", "INPUT": "src"}  # HOOK2MANIP

_WITH_PORTS = frozenset({TCP, UDP, SCTP, 136, 33})


@dataclass(frozen=True, slots=True)
class Range:
    """struct nf_nat_range2, its addresses already chosen by the target."""

    first: int | None = None
    last: int | None = None
    first_port: int | None = None
    last_port: int | None = None
    base_port: int | None = None
    random: bool = False
    persistent: bool = False


def pass_nat(at: At) -> Fate | None:
    """The nat hook: bind a new connection, then translate the packet (nf_nat_inet_fn)."""
    packet = at.packet
    connection = packet.connection
    if connection is None or packet.ctstate in ("UNTRACKED", "INVALID", None):
        return None
    manip = MANIPS[at.hook]
    if packet.ctstate == "RELATED" and packet.proto in ICMP_ERRORS and packet.icmp_type in ICMP_ERRORS[packet.proto]:
        _translate_error(at, connection, manip)
        return None
    done = connection.dnat_done if manip == "dst" else connection.snat_done
    if packet.ctstate in ("NEW", "RELATED") and not done:
        fate = _bind(at, connection, manip)
        if fate is not None:
            return fate
    _translate(at, connection, manip)
    return None


def _bind(at: At, connection: Connection, manip: Manip) -> Fate | None:
    """Ask the rules; the first answer binds, none at all binds the connection as it is (nf_nat_alloc_null_binding)."""
    for one in in_order(at, _asked(at)):
        assert one.place is not None
        result = one.place.walk(at)
        if isinstance(result.effect, Nat):
            chosen = _range(at, result.effect)
            if chosen is None:
                cause = at.run.cause(
                    "rule", at.netns, drop_reason="NETFILTER_DROP", detail="no address to translate to", **result.where
                )
                return Fate(
                    "dropped",
                    at.netns,
                    at.packet.in_dev or at.packet.out_dev,
                    at.packet,
                    cause,
                    errno="EPERM",
                    silent=True,
                )
            _setup(at, connection, manip, chosen)
            return None
        if not isinstance(result.effect, Accept):
            return tables.carry_out(at, result)
    _setup(at, connection, manip, Range())
    return None


def _asked(at: At) -> tuple[Asked, ...]:
    """The nat tables of both backends and the native chains of type nat, which share one place at the hook.

    Kernel: net/netfilter/nf_nat_core.c:nf_nat_register_fn
    """
    netns, family, hook = at.netns, at.packet.family, at.hook
    key = f"nat asked {family} {hook}"
    found: tuple[Asked, ...] | None = netns.cache.get(key)
    if found is None:
        priority = -100 if MANIPS[hook] == "dst" else 100
        asked = [Asked(priority, "nat", place.label, place) for place in tables.places(netns, family, "nat", hook)]
        asked += [
            Asked(one.chain.priority, "nat", one.label, one)
            for one in native.base_chains(netns, family, hook)
            if one.chain.type == "nat"
        ]
        found = netns.cache[key] = tuple(asked)
    return found


def _range(at: At, nat: Nat) -> Range | None:
    """Turn a target's wish into addresses; None where it finds none and drops.

    Kernel: net/netfilter/nf_nat_masquerade.c:nf_nat_masquerade_ipv4, net/netfilter/xt_NETMAP.c:netmap_tg4
    """
    plain = Range(
        nat.first_address, nat.last_address, nat.first_port, nat.last_port, nat.base_port,
        nat.random or nat.random_fully, nat.persistent,
    )  # fmt: skip
    if nat.masquerade:
        own = _masquerade(at)
        return None if not own else replace(plain, first=own, last=own)
    if nat.redirect:
        own = _redirect(at)
        return None if not own else replace(plain, first=own, last=own)
    if nat.netmap_mask is not None and nat.first_address is not None:
        current = at.packet.src if nat.manip == "src" else at.packet.dst
        mapped = (current & ~nat.netmap_mask) | (nat.first_address & nat.netmap_mask)
        return replace(plain, first=mapped, last=mapped)
    return plain


def _masquerade(at: At) -> int | None:
    """The outgoing interface's address nearest to the next hop (nf_nat_masquerade_ipv4, _ipv6)."""
    packet, out = at.packet, at.packet.out_dev
    if packet.family == 6:
        return source.select6(at.netns, out, packet.dst)
    hop = packet.dst
    if at.route is not None and at.route.gateway is not None and at.route.gateway[0] == 4:
        hop = at.route.gateway[1]
    return source.select4(at.netns, out, hop, 0)


def _redirect(at: At) -> int | None:
    """Loopback in OUTPUT, else the incoming interface's first address (nf_nat_redirect_ipv4, _ipv6)."""
    family = at.packet.family
    if at.hook == "OUTPUT":
        return 0x7F000001 if family == 4 else 1
    link = at.netns.link(at.packet.in_dev)
    if link is None:
        return None
    found = at.netns.interface_addresses(link, family)
    if family == 4:
        return found[0][0] if found else None
    local = is_link_local(6, at.packet.dst)  # a global destination may become any address (nf_nat_redirect_ipv6_usable)
    usable = [
        value
        for value, entry in found
        if ("tentative" not in entry.flags or "optimistic" in entry.flags) and (not local or is_link_local(6, value))
    ]
    return usable[0] if usable else None


def _setup(at: At, connection: Connection, manip: Manip, range_: Range) -> None:
    """Choose the binding and write it into the reply tuple (nf_nat_setup_info)."""
    from netdoctor.simulate.hooks import conntrack_of

    current = inverted(connection.reply)
    table = conntrack_of(at.run, at.netns)
    chosen, free = _unique(current, range_, manip, table, connection)
    if chosen != current:
        connection.reply = inverted(chosen)
        if manip == "src":
            connection.snat = True
        else:
            connection.dnat = True
    if free is not None:
        connection.sport_range = free
    if manip == "src":
        connection.snat_done = True
    else:
        connection.dnat_done = True


def _unique(
    current: ConnTuple, range_: Range, manip: Manip, table: Conntrack, connection: Connection
) -> tuple[ConnTuple, tuple[int, int] | None]:
    """Return the tuple to use, and the range of a port that the kernel picks freely (get_unique_tuple)."""

    def used(candidate: ConnTuple) -> bool:
        return table.taken(connection, inverted(candidate))

    fits = manip == "src" and not range_.random and _in_range(current, range_)
    if fits and (not used(current) or table.crosses(connection, inverted(current))):
        return current, None
    chosen = _with_address(current, range_, manip, connection.zone)
    port = chosen.sport if manip == "src" else chosen.dport
    icmp = chosen.proto in (ICMP, ICMPV6)
    if not range_.random:
        if range_.first_port is not None and range_.last_port is not None:
            inside = port is not None and range_.first_port <= port <= range_.last_port
            if range_.base_port is None and inside and (range_.first_port == range_.last_port or not used(chosen)):
                return chosen, None
        elif not used(chosen):
            return chosen, None
    if chosen.proto not in _WITH_PORTS and not icmp:
        return chosen, None
    return _with_port(chosen, range_, manip, used)


def _in_range(current: ConnTuple, range_: Range) -> bool:
    if range_.first is not None and range_.last is not None and not range_.first <= current.src <= range_.last:
        return False
    if range_.first_port is None or range_.last_port is None:
        return True
    return current.sport is not None and range_.first_port <= current.sport <= range_.last_port


def _with_address(current: ConnTuple, range_: Range, manip: Manip, zone: int) -> ConnTuple:
    """Choose an address of the range (find_best_ips_proto): a hash without a secret, so the choice can be foretold."""
    if range_.first is None or range_.last is None:
        return current
    value = range_.first
    if range_.first != range_.last:
        value = _hashed_address(current, range_, manip, zone)
    return replace(current, src=value) if manip == "src" else replace(current, dst=value)


def _hashed_address(current: ConnTuple, range_: Range, manip: Manip, zone: int) -> int:
    """The address of a range for one client (find_best_ips_proto)."""
    words = 1 if current.family == 4 else 4
    src, dst = _memory(current.src, words), _memory(current.dst, words)
    first, last = _numbers(range_.first or 0, words), _numbers(range_.last or 0, words)
    basis = 0 if range_.persistent else dst[-1] ^ zone
    hashed = jhash2([*src, *([0] * (4 - words))], basis)
    full, value = False, 0
    for index in range(words):
        low, span = (0, 0xFFFFFFFF) if full else (first[index], last[index] - first[index] + 1)
        part = (low + ((hashed * (span & 0xFFFFFFFF)) >> 32)) & 0xFFFFFFFF
        value = value << 32 | part
        full = full or part != last[index]
        if not range_.persistent:  # a destination has been written over by then
            hashed ^= dst[index] if manip == "src" else _memory(part, 1)[0]
    return value


def _numbers(value: int, words: int) -> list[int]:
    return [(value >> (32 * (words - 1 - index))) & 0xFFFFFFFF for index in range(words)]


def _memory(value: int, words: int) -> list[int]:
    """The words of an address in network order as a little-endian machine reads them."""
    return [int.from_bytes(number.to_bytes(4, "big"), "little") for number in _numbers(value, words)]


def _with_port(
    chosen: ConnTuple, range_: Range, manip: Manip, used: object
) -> tuple[ConnTuple, tuple[int, int] | None]:
    """Choose a port (nf_nat_l4proto_unique_tuple): at random, but for destinations, which start at the range's
    first.
    """
    if chosen.proto in (ICMP, ICMPV6) and range_.random:  # the identifier stands for a port, whichever way
        return replace(chosen, sport=None), (0, 65535)
    port = chosen.sport if manip == "src" else chosen.dport
    if range_.first_port is None or range_.last_port is None:
        if manip == "dst":
            return chosen, None
        first, last = _ephemeral(port) if chosen.proto in _WITH_PORTS else (0, 65535)
    else:
        first, last = range_.first_port, range_.last_port
    assert callable(used)
    if range_.base_port is not None and port is not None:
        start = (port - range_.base_port) % (last - first + 1)
    elif (manip == "dst" and not range_.random) or first == last:
        start = 0
    elif manip == "src":
        return replace(chosen, sport=None), (first, last)
    else:
        return replace(chosen, dport=None), (first, last)
    for offset in range(min(last - first + 1, 128)):
        number = first + (start + offset) % (last - first + 1)
        candidate = replace(chosen, sport=number) if manip == "src" else replace(chosen, dport=number)
        if not used(candidate):
            return candidate, None
    number = first + start
    return replace(chosen, sport=number) if manip == "src" else replace(chosen, dport=number), None


def _ephemeral(port: int | None) -> tuple[int, int]:
    if port is not None and port < 512:
        return 1, 511
    return (600, 1023) if port is not None and port < 1024 else (1024, 65535)


def _translate(at: At, connection: Connection, manip: Manip) -> None:
    """Rewrite the packet as the other direction's tuple says (nf_nat_packet)."""
    packet = at.packet
    reply = packet.direction == "REPLY"
    wanted = (manip == "src") is not reply
    if not (connection.snat if wanted else connection.dnat):
        return
    target = inverted(connection.original if reply else connection.reply)
    before = _side(packet, manip)
    if manip == "src":
        packet.src = target.src
        _set_port(packet, connection, "src", target.sport)
    else:
        packet.dst = target.dst
        _set_port(packet, connection, "dst", target.sport if packet.proto in (ICMP, ICMPV6) else target.dport)
    after = _side(packet, manip)
    if before != after:
        at.run.step(
            "nat", at.netns, packet, hook=at.hook, action="translate", table="nat",
            note=f"{'source' if manip == 'src' else 'destination'} {before} => {after}",
            family=family_name(packet.family),
        )  # fmt: skip


def _set_port(packet: Packet, connection: Connection, side: Manip, port: int | None) -> None:
    """Write a port or an identifier into the packet (l4proto_manip_pkt)."""
    if packet.proto in (ICMP, ICMPV6):
        packet.icmp_id = port
        packet.sport_range = connection.sport_range if port is None else None
        return
    if packet.proto not in _WITH_PORTS:
        return
    if side == "src":
        packet.sport = port
    else:
        packet.dport = port
    packet.sport_range = connection.sport_range if packet.sport is None or packet.dport is None else None


def _side(packet: Packet, manip: Manip) -> str:
    value = packet.src if manip == "src" else packet.dst
    port = packet.sport if manip == "src" else packet.dport
    free = packet.sport_range is not None and port is None and packet.proto in _WITH_PORTS
    text = with_port(packet.family, value, port)
    return f"{text}:{packet.sport_range[0]}-{packet.sport_range[1]}" if free and packet.sport_range else text


def _translate_error(at: At, connection: Connection, manip: Manip) -> None:
    """An ICMP error: the packet in it is translated back, and the error itself (nf_nat_icmp_reply_translation)."""
    packet = at.packet
    reply = packet.direction == "REPLY"
    inner = packet.inner
    wanted = (manip == "src") is not reply
    if inner is None or not (connection.snat if wanted else connection.dnat):
        return
    # The packet inside went the other way: it gets back what its sender wrote.
    written = connection.original if reply else connection.reply
    if manip == "src":
        inner.dst = written.dst
        _set_inner(inner, "dst", written)
    else:
        inner.src = written.src
        _set_inner(inner, "src", written)
    target = inverted(connection.original if reply else connection.reply)
    if manip == "src":
        packet.src = target.src
    else:
        packet.dst = target.dst
    now_from, now_to = (format_address(packet.family, one) for one in (packet.src, packet.dst))
    note = f"ICMP error now from {now_from} to {now_to}"
    at.run.step("nat", at.netns, packet, hook=at.hook, action="translate", table="nat", note=note)


def _set_inner(inner: Packet, side: Manip, written: ConnTuple) -> None:
    if inner.proto in (ICMP, ICMPV6):
        inner.icmp_id = written.sport
    elif side == "src":
        inner.sport = written.sport
    else:
        inner.dport = written.dport
