"""A packet as the kernel's matches see it: headers, the skb's metadata, and the connection it belongs to.

Knows nothing of how it got here or where it goes; the simulator moves it, matches read it, targets change it.
"""

from __future__ import annotations

import copy
import ipaddress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Socket

TCP, UDP, ICMP, ICMPV6, SCTP, UDPLITE, DCCP, ESP, AH, IPIP, GRE, IPV6_IN_IP = (
    6,
    17,
    1,
    58,
    132,
    136,
    33,
    50,
    51,
    4,
    47,
    41,
)

PROTOCOL_NAMES = {
    0: "all", 1: "icmp", 2: "igmp", 4: "ipencap", 6: "tcp", 17: "udp", 33: "dccp", 41: "ipv6", 47: "gre", 50: "esp",
    51: "ah", 58: "icmpv6", 89: "ospf", 94: "ipip", 103: "pim", 108: "ipcomp", 112: "vrrp", 115: "l2tp", 132: "sctp",
    135: "mobility-header", 136: "udplite",
}  # fmt: skip

Family = Literal[4, 6]
Hook = Literal["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING", "INGRESS", "EGRESS"]
CtState = Literal["NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"]
PacketType = Literal["host", "broadcast", "multicast", "otherhost", "outgoing", "loopback"]
Direction = Literal["ORIGINAL", "REPLY"]

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
TCP_FLAGS = {"FIN": FIN, "SYN": SYN, "RST": RST, "PSH": PSH, "ACK": ACK, "URG": URG, "ECE": ECE, "CWR": CWR}


def parse_address(text: str) -> tuple[Family, int]:
    """Return family and value of an address. Raises: ValueError."""
    address = ipaddress.ip_address(text)
    return address.version, int(address)


@lru_cache(maxsize=65536)
def format_address(family: Family, value: int) -> str:
    """Return an address as iproute2 and iptables print it."""
    return str(ipaddress.IPv4Address(value) if family == 4 else ipaddress.IPv6Address(value))


def is_multicast(family: Family, value: int) -> bool:
    """Whether an address is a multicast one: 224.0.0.0/4, ff00::/8."""
    return value >> 28 == 0xE if family == 4 else value >> 120 == 0xFF


def family_name(family: Family) -> str:
    """Return "ip" or "ip6"."""
    return "ip" if family == 4 else "ip6"


@dataclass(frozen=True, slots=True)
class ConnTuple:
    """One direction of a connection, as `struct nf_conntrack_tuple`. ICMP: type and code stand for it, sport is the id.

    `sport` or `dport` is None where the kernel picks a port freely.
    """

    family: Family
    proto: int
    src: int
    dst: int
    sport: int | None = None
    dport: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None


@dataclass(slots=True)
class Connection:
    """A conntrack entry while a packet travels: `struct nf_conn`. NAT rewrites `reply`, never `original`."""

    original: ConnTuple
    reply: ConnTuple
    zone: int = 0
    zone_direction: Literal["both", "original", "reply"] = "both"
    mark: int = 0
    helper: str | None = None
    expected: bool = False  # IPS_EXPECTED: a related connection
    seen_reply: bool = False
    assured: bool = False
    confirmed: bool = False
    dying: bool = False
    snat: bool = False  # IPS_SRC_NAT
    dnat: bool = False  # IPS_DST_NAT
    snat_done: bool = False  # IPS_SRC_NAT_DONE: nat has been asked, even if nothing was changed
    dnat_done: bool = False
    tcp_state: str | None = None
    proxied: bool = False  # SYNPROXY has opened it (nfct_synproxy)
    from_snapshot: bool = False
    packets: tuple[int | None, int | None] = (0, 0)  # original, reply; None: accounting is off
    bytes: tuple[int | None, int | None] = (0, 0)
    sport_range: tuple[int, int] | None = None  # of a source port that the kernel picked freely
    labels: frozenset[int] = frozenset()
    counted: frozenset[int] = frozenset()  # which connlimit rules have counted it
    timeout: int | None = None  # seconds left, from the snapshot


@dataclass(frozen=True, slots=True)
class Arp:
    """What an ARP message says (RFC 826): who asks, or answers, for which address. MACs as text."""

    operation: int  # 1 request, 2 reply
    sender_mac: str | None
    sender: int
    target_mac: str | None
    target: int


@dataclass(slots=True)
class Packet:
    """`struct sk_buff` as matches and targets see it. Mutable: a target changes it in place; `clone` before a fork.

    Addresses are integers of their family. None means not there or not known; what is not known is said per field.
    """

    family: Family
    proto: int
    src: int
    dst: int
    sport: int | None = None  # None on TCP or UDP: picked freely by the kernel, in `sport_range`
    dport: int | None = None
    sport_range: tuple[int, int] | None = None  # of whichever port is None: an answer goes to a port so picked
    icmp_type: int | None = None
    icmp_code: int | None = None
    icmp_id: int | None = None
    tcp_flags: int = 0
    tcp_mss: int | None = None  # the MSS option of a SYN
    tcp_options: frozenset[int] = frozenset()  # option kinds
    size: int = 60  # bytes of the IP packet
    pieces: int | None = None  # it travels in fragments of at most so many bytes (frag_max_size); None: whole
    summed: tuple[int, int] | None = None  # tos and ttl when conntrack summed up what came in pieces (nf_ip6_checksum)
    ttl: int = 64  # 0 until the route of its sender is known
    tos: int = 0  # the whole byte: DSCP and ECN
    flow_label: int = 0
    df: bool = True
    fragment: Literal["no", "first", "later"] = "no"
    extension_headers: tuple[int, ...] = ()  # IPv6
    payload: bytes = b""  # after the transport header
    inner: Packet | None = None  # the offending packet inside an ICMP error, or what a tunnel carries

    # metadata, cleared when the packet crosses into another namespace (skb_scrub_packet)
    mark: int = 0
    priority: int = 0
    in_dev: str | None = None
    out_dev: str | None = None
    phys_in: str | None = None  # bridge ports, while bridge netfilter holds the packet
    phys_out: str | None = None
    bridged: bool = False  # nf_bridge: on its way through a bridge, not routed
    src_mac: str | None = None
    dst_mac: str | None = None
    to_group: str | None = None  # the group MAC that a question bears, while it is followed to one station
    vlan: int | None = None  # the VLAN of a tagged frame, while rules look at it
    arp: Arp | None = None  # it is no IP packet, but an ARP message between `src` and `dst`
    pkttype: PacketType = "host"
    has_socket: bool = False  # made by a local process, whose socket it still carries
    kernel_socket: bool = False  # made by the kernel on a socket of its own, which is no process's
    uid: int | None = None  # of that socket; None while has_socket: not known
    gid: int | None = None
    realm: int = 0
    trace: bool = False
    steered: Socket | None = None  # the local socket that TPROXY gave it (skb->sk): no other takes it
    stranger: bool = False  # steered to a listener, though it does not open a connection
    duplicate: bool = False  # a copy that TEE made, while its namespace still sends it (in_nf_duplicate)
    balanced: bool = False  # skb->ipvs_property: IPVS has handled it, and does not look at it again

    # connection tracking: None until conntrack has seen it (raw sees it so: `--ctstate INVALID` matches)
    ctstate: CtState | None = None
    direction: Direction = "ORIGINAL"
    connection: Connection | None = None

    notes: list[str] = field(default_factory=list)  # what a target did, for the trace's step

    def clone(self) -> Packet:
        """Return an independent copy of the packet; the connection stays shared, as in the kernel."""
        twin = copy.copy(self)
        twin.notes = []
        return twin

    @property
    def widest(self) -> int:
        """The bytes of the largest IP packet that it travels in."""
        return self.size if self.pieces is None else min(self.size, self.pieces)

    def tuple(self) -> ConnTuple:
        """Return the conntrack tuple of the packet as it is now (nf_ct_get_tuple)."""
        if self.proto in (ICMP, ICMPV6):
            return ConnTuple(
                self.family, self.proto, self.src, self.dst, self.icmp_id, None, self.icmp_type, self.icmp_code
            )
        return ConnTuple(self.family, self.proto, self.src, self.dst, self.sport, self.dport)

    def note(self, text: str) -> None:
        """Say what a target did; the simulator writes it into the step."""
        self.notes.append(text)


def inverted(tuple_: ConnTuple) -> ConnTuple:
    """Return the tuple of the answer (nf_ct_invert_tuple). An echo request becomes an echo reply."""
    reply_type = (
        {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17} if tuple_.proto == ICMP else {128: 129, 129: 128}
    )
    if tuple_.proto in (ICMP, ICMPV6):
        kind = None if tuple_.icmp_type is None else reply_type.get(tuple_.icmp_type, tuple_.icmp_type)
        return replace(tuple_, src=tuple_.dst, dst=tuple_.src, icmp_type=kind)
    return replace(tuple_, src=tuple_.dst, dst=tuple_.src, sport=tuple_.dport, dport=tuple_.sport)
