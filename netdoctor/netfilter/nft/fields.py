"""What an expression can read: header fields, metadata, the connection. One function for each way of asking.

Knows nothing of constants or sets. A getter returns a number (addresses too) or a text; `None` ends the rule, as
NFT_BREAK does: there is no such header, no connection, no socket; `Unknown` names what the snapshot cannot tell.
Kernel: net/netfilter/nft_payload.c:nft_payload_eval, nft_meta.c:nft_meta_get_eval, nft_ct.c:nft_ct_get_eval
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.nft import kinds
from netdoctor.netfilter.packet import DCCP, ICMP, ICMPV6, SCTP, TCP, UDP, UDPLITE, ConnTuple
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from netdoctor.netfilter.nft.kinds import Kind
    from netdoctor.netfilter.packet import Packet, PacketType
    from netdoctor.netfilter.surroundings import Surroundings

    Read = int | str | Unknown | None
    Getter = Callable[[Packet, Surroundings], Read]

_NUMBERS = {"tcp": TCP, "udp": UDP, "udplite": UDPLITE, "sctp": SCTP, "dccp": DCCP, "icmp": ICMP, "icmpv6": ICMPV6}
_PORTED = frozenset({TCP, UDP, UDPLITE, SCTP, DCCP})
_STATES = {"INVALID": 1, "ESTABLISHED": 2, "RELATED": 4, "NEW": 8, "UNTRACKED": 64, None: 1}
PKTTYPES: dict[PacketType, int] = {
    "host": 0,
    "broadcast": 1,
    "multicast": 2,
    "otherhost": 3,
    "outgoing": 4,
    "loopback": 5,
}


# --- payload: header -> field -> (kind, getter of the field, where the header is there)


def _port(side: str) -> Getter:
    def read(packet: Packet, around: Surroundings) -> Read:
        if packet.proto not in _PORTED:
            return Unknown(f"nft: the {side} of a packet without ports")
        if packet.fragment == "later":
            return None
        value = packet.sport if side == "sport" else packet.dport
        return value if value is not None else Unknown(f"nft: a {side} that the kernel picks")

    return read


def _plain(name: str) -> Getter:
    def read(packet: Packet, around: Surroundings) -> Read:
        value: Read = getattr(packet, name)
        return value

    return read


def _ethertype(packet: Packet) -> int:
    """What the frame carries (skb->protocol)."""
    return 0x0806 if packet.arp is not None else 0x0800 if packet.family == 4 else 0x86DD


def _arp(name: str) -> Getter:
    def read(packet: Packet, around: Surroundings) -> Read:
        value: int | str | None = getattr(packet.arp, name)
        return value if isinstance(value, int) else _mac(packet, value or "00:00:00:00:00:00")

    return read


def _unknown(what: str) -> Getter:
    return lambda packet, around: Unknown(f"nft: {what}")


_PORTS: dict[str, tuple[Kind, Getter]] = {
    "sport": (kinds.PORT, _port("sport")),
    "dport": (kinds.PORT, _port("dport")),
}
_ICMP: dict[str, tuple[Kind, Getter]] = {
    "type": (kinds.ICMP_TYPE, _plain("icmp_type")),
    "code": (kinds.ICMP_CODE, _plain("icmp_code")),
    "id": (kinds.NUMBER, _plain("icmp_id")),
}
PAYLOAD: dict[str, dict[str, tuple[Kind, Getter]]] = {
    "ether": {
        "saddr": (kinds.ETHER, lambda packet, around: _mac(packet, packet.src_mac)),
        "daddr": (kinds.ETHER, lambda packet, around: _mac(packet, packet.to_group or packet.dst_mac)),
        "type": (kinds.ETHERTYPE, lambda packet, around: 0x8100 if packet.vlan is not None else _ethertype(packet)),
    },
    "vlan": {
        "id": (kinds.NUMBER, _plain("vlan")),
        "type": (kinds.ETHERTYPE, lambda packet, around: _ethertype(packet)),
    },
    "arp": {
        "htype": (kinds.NUMBER, lambda packet, around: 1),
        "ptype": (kinds.ETHERTYPE, lambda packet, around: 0x0800),
        "hlen": (kinds.NUMBER, lambda packet, around: 6),
        "plen": (kinds.NUMBER, lambda packet, around: 4),
        "operation": (kinds.ARP_OPERATION, _arp("operation")),
        "saddr ip": (kinds.IPV4, _arp("sender")),
        "daddr ip": (kinds.IPV4, _arp("target")),
        "saddr ether": (kinds.ETHER, _arp("sender_mac")),
        "daddr ether": (kinds.ETHER, _arp("target_mac")),
    },
    "ip": {
        "version": (kinds.NUMBER, lambda packet, around: 4),
        "hdrlength": (kinds.NUMBER, lambda packet, around: 5),
        "dscp": (kinds.DSCP_KIND, lambda packet, around: packet.tos >> 2),
        "ecn": (kinds.ECN, lambda packet, around: packet.tos & 3),
        "length": (kinds.NUMBER, _plain("size")),
        "ttl": (kinds.NUMBER, _plain("ttl")),
        "protocol": (kinds.PROTO, _plain("proto")),
        "saddr": (kinds.IPV4, _plain("src")),
        "daddr": (kinds.IPV4, _plain("dst")),
        "frag-off": (kinds.NUMBER, lambda packet, around: _fragment_offset(packet)),
    },
    "ip6": {
        "version": (kinds.NUMBER, lambda packet, around: 6),
        "dscp": (kinds.DSCP_KIND, lambda packet, around: packet.tos >> 2),
        "ecn": (kinds.ECN, lambda packet, around: packet.tos & 3),
        "flowlabel": (kinds.NUMBER, _plain("flow_label")),
        "length": (kinds.NUMBER, lambda packet, around: packet.size - 40),
        "nexthdr": (kinds.PROTO, lambda packet, around: (*packet.extension_headers, packet.proto)[0]),
        "hoplimit": (kinds.NUMBER, _plain("ttl")),
        "saddr": (kinds.IPV6, _plain("src")),
        "daddr": (kinds.IPV6, _plain("dst")),
    },
    "tcp": {
        **_PORTS,
        "flags": (kinds.TCP_FLAG, _plain("tcp_flags")),
        "reserved": (kinds.NUMBER, lambda packet, around: 0),
    },
    "udp": {
        **_PORTS,
        "length": (kinds.NUMBER, lambda packet, around: packet.size - (20 if packet.family == 4 else 40)),
    },
    "udplite": _PORTS,
    "sctp": _PORTS,
    "dccp": _PORTS,
    "th": _PORTS,
    "icmp": _ICMP,
    "icmpv6": _ICMP
    | {"type": (kinds.ICMPV6_TYPE, _plain("icmp_type")), "code": (kinds.ICMPV6_CODE, _plain("icmp_code"))},
}


def payload(protocol: str, name: str) -> tuple[Kind, Getter]:
    """Return the kind and the getter of `payload {protocol, field}`: nothing where the packet has another header.

    nft leaves the test for the header out of what it prints (payload_gen_dependency).
    """
    fields = PAYLOAD.get(protocol)
    found = None if fields is None else fields.get(name)
    if fields is None or found is None:
        return kinds.NUMBER, _unknown(f"{protocol} {name}")
    kind, getter = found

    def read(packet: Packet, around: Surroundings) -> Read:
        if not _has_header(packet, protocol):
            return None
        return getter(packet, around)

    return kind, read


def _has_header(packet: Packet, protocol: str) -> bool:
    if protocol == "vlan":
        return packet.vlan is not None
    if protocol == "arp":
        return packet.arp is not None
    if packet.arp is not None:
        return protocol == "ether"
    if protocol in {"ip", "ip6"}:
        return packet.family == (4 if protocol == "ip" else 6)
    if protocol in _NUMBERS:
        return packet.proto == _NUMBERS[protocol]
    return True


def _mac(packet: Packet, text: str | None) -> Read:
    """A MAC, which only a packet that came in has: what is made here gets one behind the last hook."""
    if packet.in_dev is None and text is None:
        return None
    try:
        return None if text is None else int(text.replace(":", ""), 16)
    except ValueError:
        return Unknown("nft: a MAC outside the snapshot")


def _fragment_offset(packet: Packet) -> Read:
    if packet.fragment == "later":
        return Unknown("nft: the offset of a fragment")
    return (0x4000 if packet.df else 0) | (0x2000 if packet.fragment == "first" else 0)


def raw(base: str, offset: int, length: int) -> tuple[Kind, Getter]:
    """Return kind and getter of `@nh,OFFSET,LENGTH`: bits of a header, counted from where it begins.

    What iptables-translate and people write for want of a name: addresses, protocol and ports are known.
    """
    known = {
        4: {("nh", 96, 32): "src", ("nh", 128, 32): "dst", ("nh", 72, 8): "proto", ("nh", 64, 8): "ttl"},
        6: {("nh", 64, 128): "src", ("nh", 192, 128): "dst", ("nh", 56, 8): "ttl"},
    }
    ports = {("th", 0, 16): "sport", ("th", 16, 16): "dport"}

    def read(packet: Packet, around: Surroundings) -> Read:
        name = known[packet.family].get((base, offset, length)) or ports.get((base, offset, length))
        if name is None:
            return Unknown(f"nft: @{base},{offset},{length}")
        return _port(name)(packet, around) if name.endswith("port") else getattr(packet, name)

    return kinds.Kind("bits", length), read


# --- meta


def meta(key: str) -> tuple[Kind, Getter]:
    """Return the kind and the getter of `meta KEY`."""
    return META.get(key) or (kinds.NUMBER, _unknown(f"meta {key}"))


def _name(side: str) -> Getter:
    return lambda packet, around: getattr(packet, side) or ""


def _owner(which: str) -> Getter:
    def read(packet: Packet, around: Surroundings) -> Read:
        if not packet.has_socket:
            return None
        value: int | None = getattr(packet, which)
        return value if value is not None else Unknown(f"nft: the {which} of the sending process")

    return read


def _group(side: str) -> Getter:
    def read(packet: Packet, around: Surroundings) -> Read:
        dev: str | None = getattr(packet, side)
        if dev is None:
            return None
        group = around.device_group(dev)
        return Unknown(f"nft: the group of {dev}") if group is None else group

    return read


def _packet_type(packet: Packet, around: Surroundings) -> Read:
    """Whom the frame was for (nft_meta_get_eval_pkttype): what a process sends to itself comes in by loopback."""
    return PKTTYPES[packet.pkttype]


META: dict[str, tuple[Kind, Getter]] = {
    "length": (kinds.NUMBER, _plain("size")),
    "nfproto": (kinds.NFPROTO, lambda packet, around: 2 if packet.family == 4 else 10),
    "l4proto": (kinds.PROTO, lambda packet, around: packet.proto if packet.arp is None else None),
    "protocol": (kinds.ETHERTYPE, lambda packet, around: _ethertype(packet)),
    "mark": (kinds.NUMBER, _plain("mark")),
    "priority": (kinds.NUMBER, _plain("priority")),
    "iif": (kinds.TEXT, _name("in_dev")),
    "iifname": (kinds.TEXT, _name("in_dev")),
    "oif": (kinds.TEXT, _name("out_dev")),
    "oifname": (kinds.TEXT, _name("out_dev")),
    "iifgroup": (kinds.GROUP, _group("in_dev")),
    "oifgroup": (kinds.GROUP, _group("out_dev")),
    "skuid": (kinds.NUMBER, _owner("uid")),
    "skgid": (kinds.NUMBER, _owner("gid")),
    "pkttype": (kinds.PACKET_TYPE, _packet_type),
    "nftrace": (kinds.NUMBER, lambda packet, around: int(packet.trace)),
    "rtclassid": (kinds.NUMBER, _plain("realm")),
}


# --- ct


def ct(key: str, direction: str | None) -> tuple[Kind, Getter]:
    """Return the kind and the getter of `ct [DIRECTION] KEY`."""
    if key == "state":
        return kinds.CT_STATE, lambda packet, around: _STATES[packet.ctstate]
    tuple_field = _TUPLE.get(key)
    if tuple_field is not None and direction is not None:
        return tuple_field[0], _of_tuple(direction, tuple_field[1], tuple_field[2])
    found = CT.get(key)
    if found is None:
        return kinds.NUMBER, _of_connection(lambda packet: Unknown(f"nft: ct {key}"))
    return found[0], _of_connection(found[1])


def _of_connection(getter: Callable[[Packet], Read]) -> Getter:
    """Without a connection the rule ends (nft_ct_get_eval)."""
    return lambda packet, around: None if packet.connection is None else getter(packet)


def _status(packet: Packet) -> Read:
    connection = packet.connection
    assert connection is not None
    bits = {
        1: connection.expected, 2: connection.seen_reply, 4: connection.assured, 8: connection.confirmed,
        16: connection.snat, 32: connection.dnat, 512: connection.dying,
    }  # fmt: skip
    done = (128 if connection.snat_done else 0) | (256 if connection.dnat_done else 0)
    return sum(bit for bit, is_set in bits.items() if is_set) | done


def _helper(packet: Packet) -> Read:
    assert packet.connection is not None
    return packet.connection.helper  # none: NFT_BREAK


CT: dict[str, tuple[Kind, Callable[[Packet], Read]]] = {
    "mark": (kinds.NUMBER, lambda packet: packet.connection.mark if packet.connection else 0),
    "status": (kinds.CT_STATUS, _status),
    "direction": (kinds.CT_DIRECTION, lambda packet: 0 if packet.direction == "ORIGINAL" else 1),
    "helper": (kinds.TEXT, _helper),
    "zone": (kinds.NUMBER, lambda packet: packet.connection.zone if packet.connection else 0),
    "l3proto": (kinds.NFPROTO, lambda packet: 2 if packet.family == 4 else 10),
    "protocol": (kinds.PROTO, lambda packet: packet.connection.original.proto if packet.connection else 0),
}
_TUPLE: dict[str, tuple[Kind, str, int | None]] = {
    "ip saddr": (kinds.IPV4, "src", 4),
    "ip daddr": (kinds.IPV4, "dst", 4),
    "ip6 saddr": (kinds.IPV6, "src", 6),
    "ip6 daddr": (kinds.IPV6, "dst", 6),
    "proto-src": (kinds.PORT, "sport", None),
    "proto-dst": (kinds.PORT, "dport", None),
    "saddr": (kinds.IPV4, "src", None),
    "daddr": (kinds.IPV4, "dst", None),
    "l3proto": (kinds.NFPROTO, "family", None),
    "protocol": (kinds.PROTO, "proto", None),
}


def _of_tuple(direction: str, name: str, family: int | None) -> Getter:
    def read(packet: Packet, around: Surroundings) -> Read:
        connection = packet.connection
        if connection is None or (family is not None and packet.family != family):
            return None
        chosen: ConnTuple = connection.original if direction == "original" else connection.reply
        if name == "family":
            return 2 if chosen.family == 4 else 10
        value: int | None = getattr(chosen, name)
        return value if value is not None else Unknown(f"nft: ct {direction} {name}")

    return read


# --- the way back, sockets, IPv6 headers, TCP options


def fib(result: str, flags: frozenset[str]) -> tuple[Kind, Getter]:
    """Return the kind and the getter of `fib FLAGS RESULT` (nft_fib4_eval, nft_fib4_eval_type)."""
    of_source = "saddr" in flags
    by = "iif" if "iif" in flags else "oif" if "oif" in flags else None

    def address_type(packet: Packet, around: Surroundings) -> Read:
        dev = None if by is None else packet.in_dev if by == "iif" else packet.out_dev
        found = around.address_type(packet.family, packet.src if of_source else packet.dst, dev)
        return found if isinstance(found, Unknown) else kinds.ROUTE_TYPES[found.lower()]

    def device(packet: Packet, around: Surroundings) -> Read:
        return around.route_device(packet, of_source=of_source, by=by, use_mark="mark" in flags)

    def check(packet: Packet, around: Surroundings) -> Read:
        found = device(packet, around)
        return found if isinstance(found, Unknown) else int(bool(found))

    if result == "type":
        return kinds.ROUTE_TYPE, address_type
    return (kinds.BOOLEAN, check) if result == "check" else (kinds.TEXT, device)


def socket(key: str) -> tuple[Kind, Getter]:
    """Return the kind and the getter of `socket KEY` (nft_socket_eval): without a socket the rule ends."""

    def read(packet: Packet, around: Surroundings) -> Read:
        found = around.local_socket(packet, transparent=False, wildcard=True)
        if found is False:
            return None
        if found is not True or key not in {"transparent", "wildcard"}:
            return Unknown(f"nft: socket {key}")
        asked = {"transparent": key == "transparent", "wildcard": key != "wildcard"}
        answer = around.local_socket(packet, **asked)
        if not isinstance(answer, bool):
            return Unknown(f"nft: socket {key}")
        return int(answer if key == "transparent" else not answer)

    return kinds.NUMBER, read


def option(name: str, field: str | None) -> tuple[Kind, Getter]:
    """Return the kind and the getter of `tcp option NAME [FIELD]` (nft_exthdr_tcp_eval)."""
    number = {
        "eol": 0, "nop": 1, "noop": 1, "maxseg": 2, "mss": 2, "window": 3, "sack-perm": 4, "sack-permitted": 4,
        "sack": 5, "timestamp": 8,
    }.get(name)  # fmt: skip
    if number is None and name.isdecimal():
        number = int(name)

    def read(packet: Packet, around: Surroundings) -> Read:
        if packet.proto != TCP:
            return None if field is not None else 0
        there = (number == 2 and packet.tcp_mss is not None) or number in packet.tcp_options
        if field is None:
            return int(there)
        if not there:
            return None
        if number == 2 and field == "size" and packet.tcp_mss is not None:
            return packet.tcp_mss
        return Unknown(f"nft: tcp option {name} {field}")

    return (kinds.BOOLEAN if field is None else kinds.NUMBER), read


_EXTENSIONS = {"hbh": 0, "rt": 43, "frag": 44, "dst": 60, "mh": 135}


def extension(name: str, field: str | None) -> tuple[Kind, Getter]:
    """Return the kind and the getter of `exthdr NAME [FIELD]` (nft_exthdr_ipv6_eval)."""

    def read(packet: Packet, around: Surroundings) -> Read:
        if packet.family != 6:
            return None if field is not None else 0
        there = _EXTENSIONS.get(name) in packet.extension_headers
        if field is None:
            return int(there)
        return Unknown(f"nft: exthdr {name} {field}") if there else None

    return (kinds.BOOLEAN if field is None else kinds.NUMBER), read
