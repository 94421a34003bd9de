"""Connection tracking of one namespace: the snapshot's entries, and over them those that the walk makes.

Knows nothing of NAT ranges (nat.py) or of rules.

Kernel: net/netfilter/nf_conntrack_core.c:nf_conntrack_in, __nf_conntrack_confirm, nf_conntrack_proto_tcp.c,
nf_conntrack_proto_icmp.c, nf_conntrack_proto_icmpv6.c.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import (
    ACK,
    FIN,
    ICMP,
    ICMPV6,
    RST,
    SYN,
    TCP,
    UDP,
    Connection,
    ConnTuple,
    Direction,
    Packet,
    inverted,
)
from netdoctor.topology.addresses import address
from netdoctor.topology.shared import shared

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netdoctor.model.snapshot import ConntrackEntry
    from netdoctor.netfilter.effect import CtTemplate
    from netdoctor.topology.namespace import Netns

Key = tuple[int, ConnTuple]

PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58, "sctp": 132, "dccp": 33, "udplite": 136, "gre": 47}

# nf_conntrack_proto_tcp.c:tcp_conntracks, by direction, then by what the packet is. IG: the packet is let through, the
# state stays; IV: INVALID.
_STATES = (
    "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",
    "SYN_SENT2",
)  # fmt: skip
_SHORT = {
    "SS": "SYN_SENT", "SR": "SYN_RECV", "ES": "ESTABLISHED", "FW": "FIN_WAIT", "CW": "CLOSE_WAIT", "LA": "LAST_ACK",
    "TW": "TIME_WAIT", "CL": "CLOSE", "S2": "SYN_SENT2", "IV": "INVALID", "IG": "IGNORE",
}  # fmt: skip
_TRANSITIONS: dict[str, dict[str, tuple[str, ...]]] = {
    direction: {kind: tuple(_SHORT[word] for word in line.split()) for kind, line in lines.items()}
    for direction, lines in {
        "ORIGINAL": {
            "syn": "SS SS IG IG IG IG IG SS SS S2",
            "synack": "IV IV SR IV IV IV IV IV IV SR",
            "fin": "IV IV FW FW LA LA LA TW CL IV",
            "ack": "ES IV ES ES CW CW TW TW CL IV",
            "rst": "IV CL CL CL CL CL CL CL CL CL",
            "none": "IV IV IV IV IV IV IV IV IV IV",
        },
        "REPLY": {
            "syn": "IV S2 IV IV IV IV IV SS IV S2",
            "synack": "IV SR IG IG IG IG IG IG IG SR",
            "fin": "IV IV FW FW LA LA LA TW CL IV",
            "ack": "IV IG SR ES CW CW TW TW CL IG",
            "rst": "IV CL CL CL CL CL CL CL CL CL",
            "none": "IV IV IV IV IV IV IV IV IV IV",
        },
    }.items()
}
_NEW_ICMP = frozenset({8, 13, 15, 17})  # nf_conntrack_proto_icmp.c:nf_conntrack_icmp_packet, valid_new
_NEW_ICMPV6 = frozenset({128, 139})  # ECHO_REQUEST, NI_QUERY
_UNTRACKED_ICMPV6 = frozenset({130, 131, 132, 133, 134, 135, 136, 137, 143})  # noct_valid_new: MLD, ND
ICMP_ERRORS: dict[int, frozenset[int]] = {ICMP: frozenset({3, 4, 5, 11, 12}), ICMPV6: frozenset({1, 2, 3, 4})}


def tcp_kind(flags: int) -> str:
    """Return which row of the table a segment takes (get_conntrack_index)."""
    if flags & RST:
        return "rst"
    if flags & SYN:
        return "synack" if flags & ACK else "syn"
    if flags & FIN:
        return "fin"
    return "ack" if flags & ACK else "none"


class Conntrack:
    """The table of one namespace during one walk."""

    def __init__(self, netns: Netns, *, fresh: bool) -> None:
        self.netns = netns
        self._made: dict[Key, tuple[Connection, Direction]] = {}
        self._snapshot = {} if fresh else _index(netns.snapshot.conntrack)

    def lookup(self, zone: int, wanted: ConnTuple) -> tuple[Connection, Direction] | None:
        """Return the entry that a tuple belongs to and its direction (nf_conntrack_find_get)."""
        found = self._made.get((zone, wanted))
        if found is not None:
            return None if found[0].dying else found
        entry = self._snapshot.get((zone, wanted))
        if entry is None:
            return None
        connection = _connection(entry)
        self.confirm(connection)
        return self._made.get((zone, wanted))

    def connections(self) -> list[Connection]:
        """Return the connections that this walk met, in the order in which they were."""
        return list({id(connection): connection for connection, _ in self._made.values()}.values())

    def taken(self, connection: Connection, reply: ConnTuple) -> bool:
        """Return whether another connection already answers with what would be one's reply tuple.

        Kernel: net/netfilter/nf_conntrack_core.c:nf_conntrack_tuple_taken
        """
        return self._other(connection, reply) is not None

    def _other(self, connection: Connection, reply: ConnTuple) -> Connection | None:
        found = self.lookup(0 if connection.zone_direction == "original" else connection.zone, reply)
        return None if found is None else found[0]

    def crosses(self, connection: Connection, reply: ConnTuple) -> bool:
        """Return whether what takes a reply tuple is the same UDP the other way round, without any translation: NAT
        leaves it at that (nf_nat_used_tuple_new).
        """
        other = self._other(connection, reply)
        if connection.original.proto != UDP or other is None or other.snat or other.dnat:
            return False
        return (other.original, other.reply) == (reply, connection.original)

    def clashes(self, connection: Connection) -> bool:
        """Return whether a new connection cannot be put into the table, for one that NAT has seen is there
        (__nf_conntrack_confirm, nf_ct_resolve_clash).
        """
        other = self._other(connection, connection.reply)
        return other is not None and other is not connection and (other.snat_done or other.dnat_done)

    def confirm(self, connection: Connection) -> None:
        """Put a connection into the table (__nf_conntrack_confirm)."""
        connection.confirmed = True
        forth = 0 if connection.zone_direction == "reply" else connection.zone
        back = 0 if connection.zone_direction == "original" else connection.zone
        self._made[(forth, connection.original)] = (connection, "ORIGINAL")
        self._made[(back, connection.reply)] = (connection, "REPLY")

    def track(self, packet: Packet, template: CtTemplate | None) -> str | None:
        """Give the packet its connection and state (nf_conntrack_in).

        Returns why it is INVALID, None where it is not.
        """
        packet.connection, packet.direction = None, "ORIGINAL"
        if packet.proto in ICMP_ERRORS and packet.icmp_type in ICMP_ERRORS[packet.proto]:
            return self._related(packet, template)
        if packet.proto == ICMPV6 and packet.icmp_type in _UNTRACKED_ICMPV6:
            packet.ctstate = "UNTRACKED"
            return None
        found = self._find(packet, template)
        if found is not None and _reopens(*found, packet):
            found[0].dying = True
            found = None
        if found is None:
            connection = self._new(packet, template)
            if connection is None:
                packet.ctstate = "INVALID"
                return "no connection that it belongs to"
            return _update(packet, connection, "ORIGINAL")
        return _update(packet, *found)

    def _find(self, packet: Packet, template: CtTemplate | None) -> tuple[Connection, Direction] | None:
        """The entry of a packet, whose zone is the packet's in the entry's direction (resolve_normal_ct,
        nf_ct_key_equal).
        """
        for zone in {_zone(template, packet, "ORIGINAL"): None, _zone(template, packet, "REPLY"): None}:
            found = self.lookup(zone, packet.tuple())
            if found is not None and _zone(template, packet, found[1]) == zone:
                return found
        return None

    def _new(self, packet: Packet, template: CtTemplate | None) -> Connection | None:
        """Begin to follow a packet, where its protocol allows (init_conntrack, tcp_new, nf_conntrack_icmp_packet)."""
        if packet.proto == TCP:
            state = _TRANSITIONS["ORIGINAL"][tcp_kind(packet.tcp_flags)][0]
            if state == "INVALID" or (
                state != "SYN_SENT" and self.netns.number("net.netfilter.nf_conntrack_tcp_loose", 1) == 0
            ):
                return None
        if packet.proto == ICMP and packet.icmp_type not in _NEW_ICMP:
            return None
        if packet.proto == ICMPV6 and packet.icmp_type not in _NEW_ICMPV6:
            return None
        original = packet.tuple()
        return Connection(
            original,
            inverted(original),
            zone=_template_zone(template, packet),
            zone_direction="both" if template is None else template.zone_direction,
            helper=None if template is None else template.helper,
            proxied=template is not None and template.synproxy,
        )

    def _related(self, packet: Packet, template: CtTemplate | None) -> str | None:
        """An ICMP error belongs to the connection of the packet in it (nf_conntrack_inet_error)."""
        packet.ctstate = "INVALID"
        if packet.inner is None:
            return "an ICMP error without the packet that it is about"
        found = self.lookup(_zone(template, packet, "REPLY"), packet.inner.tuple())
        if found is None:
            return "an ICMP error about a connection that is not known here"
        connection, direction = found
        packet.connection, packet.ctstate = connection, "RELATED"
        packet.direction = "REPLY" if direction == "ORIGINAL" else "ORIGINAL"
        return None


def _zone(template: CtTemplate | None, packet: Packet, direction: Direction) -> int:
    """The zone in which a packet is looked up in one direction (nf_ct_zone_id)."""
    if template is None or template.zone_direction not in ("both", direction.lower()):
        return 0
    return _template_zone(template, packet)


def _template_zone(template: CtTemplate | None, packet: Packet) -> int:
    if template is None:
        return 0
    return packet.mark & 0xFFFF if template.zone_from_mark else template.zone or 0


def _reopens(connection: Connection, direction: Direction, packet: Packet) -> bool:
    """A SYN on a connection that is over makes a new one (nf_conntrack_tcp_packet, -NF_REPEAT)."""
    return (
        packet.proto == TCP
        and tcp_kind(packet.tcp_flags) == "syn"
        and connection.tcp_state in ("TIME_WAIT", "CLOSE")
        and direction == "ORIGINAL"
    )


def _update(packet: Packet, connection: Connection, direction: Direction) -> str | None:
    """Set the packet's state and move the connection's (resolve_normal_ct, nf_conntrack_handle_packet)."""
    if packet.proto == TCP:
        now = _STATES.index(connection.tcp_state) if connection.tcp_state in _STATES else 0
        after = _TRANSITIONS[direction][tcp_kind(packet.tcp_flags)][now]
        if after == "INVALID":
            packet.ctstate = "INVALID"
            return f"a TCP {tcp_kind(packet.tcp_flags)} does not fit a connection in state {_STATES[now]}"
        if after != "IGNORE":
            if connection.tcp_state == "SYN_RECV" and after == "ESTABLISHED":
                connection.assured = True
            connection.tcp_state = after
    packet.connection, packet.direction = connection, direction
    _account(packet, connection, direction)
    if direction == "REPLY":
        packet.ctstate = "ESTABLISHED"
        connection.seen_reply = True
    elif connection.seen_reply:
        # UDP is assured only where it still flows two seconds after its first packet (nf_conntrack_udp_packet).
        packet.ctstate = "ESTABLISHED"
    else:
        packet.ctstate = "RELATED" if connection.expected else "NEW"
    return None


def _account(packet: Packet, connection: Connection, direction: Direction) -> None:
    """Count the packet (nf_ct_acct_update). TCP's data comes behind an acknowledgement that carries nothing."""
    at = 0 if direction == "ORIGINAL" else 1
    packets, size = list(connection.packets), list(connection.bytes)
    counted, carried = packets[at], size[at]
    handshake = packet.proto == TCP and counted == 1 and not packet.tcp_flags & SYN and not connection.from_snapshot
    packets[at] = None if counted is None else counted + (2 if handshake else 1)
    size[at] = None if carried is None or handshake else carried + packet.size
    connection.packets, connection.bytes = (packets[0], packets[1]), (size[0], size[1])


def _index(entries: tuple[ConntrackEntry, ...]) -> dict[Key, ConntrackEntry]:
    if not entries:
        return {}
    return shared(entries, "conntrack", lambda: dict(_keys(entries)))


def _keys(entries: Iterable[ConntrackEntry]) -> Iterable[tuple[Key, ConntrackEntry]]:
    for entry in entries:
        try:
            original, reply = tuples(entry)
        except ValueError:
            continue  # a protocol without addresses that we know: it can be nobody's connection here
        forth = entry.zone if entry.zone_orig is None else entry.zone_orig
        back = entry.zone if entry.zone_reply is None else entry.zone_reply
        yield (forth, original), entry
        yield (back, reply), entry


def tuples(entry: ConntrackEntry) -> tuple[ConnTuple, ConnTuple]:
    """Return both directions of an entry of the snapshot. Raises: ValueError for addresses or protocols not known."""
    number = PROTOCOLS.get(entry.proto)
    if number is None:
        number = int(entry.proto)
    directions = []
    for side in (entry.original, entry.reply):
        family, src = address(side.src)
        _, dst = address(side.dst)
        if number in (ICMP, ICMPV6):
            directions.append(ConnTuple(family, number, src, dst, side.icmp_id, None, side.icmp_type, side.icmp_code))
        else:
            directions.append(ConnTuple(family, number, src, dst, side.sport, side.dport))
    return directions[0], directions[1]


def _connection(entry: ConntrackEntry) -> Connection:
    original, reply = tuples(entry)
    plain = inverted(original)
    src_changed = (reply.dst, reply.dport) != (plain.dst, plain.dport)
    dst_changed = (reply.src, reply.sport) != (plain.src, plain.sport) and original.proto not in (ICMP, ICMPV6)
    dst_changed = dst_changed or reply.src != plain.src
    zone = entry.zone or entry.zone_orig or entry.zone_reply or 0
    both = entry.zone_orig is None and entry.zone_reply is None
    return Connection(
        original,
        reply,
        zone=zone,
        zone_direction="both" if both else "original" if entry.zone_orig is not None else "reply",
        mark=entry.mark,
        helper=entry.helper,
        seen_reply="UNREPLIED" not in entry.status,
        assured="ASSURED" in entry.status,
        confirmed=True,
        snat=src_changed,
        dnat=dst_changed,
        snat_done=True,
        dnat_done=True,
        tcp_state=entry.state,
        from_snapshot=True,
        packets=(entry.original.packets, entry.reply.packets),
        bytes=(entry.original.bytes, entry.reply.bytes),
        timeout=entry.timeout,
    )


def retuple(connection: Connection, reply: ConnTuple) -> None:
    """Give a connection that is not in the table yet another reply tuple (nf_conntrack_alter_reply)."""
    connection.reply = replace(reply)
