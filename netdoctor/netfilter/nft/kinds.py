"""The types of nftables' values, and how constants of each are written: names, addresses, numbers.

Knows nothing of packets. Kernel tools: src/datatype.c, src/meta.c, src/ct.c, src/proto.c of nftables.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Any

from netdoctor.netfilter.packet import PROTOCOL_NAMES, TCP_FLAGS, parse_address

Value = int | str


@dataclass(frozen=True)
class Kind:
    """A type: its width in bits (0: text) and the names of its constants."""

    name: str
    bits: int
    names: dict[str, int] = field(default_factory=dict, hash=False)
    flags: bool = False  # a bit mask: several names are or-ed

    def parse(self, written: Any) -> Value:
        """Return the value of a constant. Raises: ValueError for what is not understood."""
        if isinstance(written, bool):
            return int(written)
        if isinstance(written, int):
            return written
        if not isinstance(written, str):
            raise ValueError(f"no constant of {self.name}: {written!r}")  # noqa: TRY004
        if not self.bits:
            return written
        if written in self.names:
            return self.names[written]
        return _number(self, written)


def _number(kind: Kind, text: str) -> int:
    if kind.name in {"ipv4", "ipv6"}:
        family, value = parse_address(text)
        if (family == 4) != (kind.name == "ipv4"):
            raise ValueError(f"{text} is of the other family")
        return value
    if kind.name == "ether":
        return int(text.replace(":", ""), 16)
    if kind.name == "port":
        try:
            return int(text, 0)
        except ValueError:
            return socket.getservbyname(text)
    return int(text, 0)


PROTOCOLS = {name: number for number, name in PROTOCOL_NAMES.items() if number} | {
    "ipv6-icmp": 58, "esp": 50, "ah": 51, "comp": 108, "gre": 47, "ipip": 4, "dccp": 33, "sctp": 132, "udplite": 136,
    "ip": 0, "hopopt": 0,
}  # fmt: skip
ICMP_TYPES = {
    "echo-reply": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8,
    "router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11, "parameter-problem": 12,
    "timestamp-request": 13, "timestamp-reply": 14, "info-request": 15, "info-reply": 16, "address-mask-request": 17,
    "address-mask-reply": 18,
}  # fmt: skip
ICMPV6_TYPES = {
    "destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4, "echo-request": 128,
    "echo-reply": 129, "mld-listener-query": 130, "mld-listener-report": 131, "mld-listener-done": 132,
    "mld-listener-reduction": 132, "nd-router-solicit": 133, "nd-router-advert": 134, "nd-neighbor-solicit": 135,
    "nd-neighbor-advert": 136, "nd-redirect": 137, "router-renumbering": 138, "ind-neighbor-solicit": 141,
    "ind-neighbor-advert": 142, "mld2-listener-report": 143,
}  # fmt: skip
ICMP_CODES = {
    "net-unreachable": 0, "host-unreachable": 1, "prot-unreachable": 2, "port-unreachable": 3, "frag-needed": 4,
    "net-prohibited": 9, "host-prohibited": 10, "admin-prohibited": 13,
}  # fmt: skip
ICMPV6_CODES = {
    "no-route": 0, "admin-prohibited": 1, "addr-unreachable": 3, "port-unreachable": 4, "policy-fail": 5,
    "reject-route": 6,
}  # fmt: skip
DSCP = {
    "cs0": 0, "cs1": 8, "cs2": 16, "cs3": 24, "cs4": 32, "cs5": 40, "cs6": 48, "cs7": 56, "df": 0, "be": 0, "lephb": 1,
    "af11": 10, "af12": 12, "af13": 14, "af21": 18, "af22": 20, "af23": 22, "af31": 26, "af32": 28, "af33": 30,
    "af41": 34, "af42": 36, "af43": 38, "va": 44, "ef": 46,
}  # fmt: skip
ROUTE_TYPES = {
    "unspec": 0, "unicast": 1, "local": 2, "broadcast": 3, "anycast": 4, "multicast": 5, "blackhole": 6,
    "unreachable": 7, "prohibit": 8, "throw": 9,
}  # fmt: skip

NUMBER = Kind("integer", 32)
IPV4, IPV6, ETHER = Kind("ipv4", 32), Kind("ipv6", 128), Kind("ether", 48)
PORT = Kind("port", 16)
PROTO = Kind("proto", 8, PROTOCOLS)
TEXT = Kind("text", 0)
NFPROTO = Kind("nfproto", 8, {"ipv4": 2, "ipv6": 10})
ETHERTYPE = Kind(
    "ethertype", 16, {"ip": 0x0800, "ip6": 0x86DD, "arp": 0x0806, "vlan": 0x8100, "8021q": 0x8100, "8021ad": 0x88A8}
)
ARP_OPERATION = Kind("arp operation", 16, {"request": 1, "reply": 2, "rrequest": 3, "rreply": 4, "inrequest": 8,
                                          "inreply": 9, "nak": 10})  # fmt: skip
CT_STATE = Kind("ct state", 32, {"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}, flags=True)
CT_STATUS = Kind(
    "ct status", 32,
    {"expected": 1, "seen-reply": 2, "assured": 4, "confirmed": 8, "snat": 16, "dnat": 32, "dying": 512}, flags=True,
)  # fmt: skip
CT_DIRECTION = Kind("ct direction", 8, {"original": 0, "reply": 1})
TCP_FLAG = Kind("tcp flags", 8, {name.lower(): bit for name, bit in TCP_FLAGS.items()} | {"ecn": 64}, flags=True)
ICMP_TYPE, ICMP_CODE = Kind("icmp type", 8, ICMP_TYPES), Kind("icmp code", 8, ICMP_CODES)
ICMPV6_TYPE, ICMPV6_CODE = Kind("icmpv6 type", 8, ICMPV6_TYPES), Kind("icmpv6 code", 8, ICMPV6_CODES)
DSCP_KIND = Kind("dscp", 6, DSCP)
ECN = Kind("ecn", 2, {"not-ect": 0, "ect1": 1, "ect0": 2, "ce": 3})
ROUTE_TYPE = Kind("fib type", 32, ROUTE_TYPES)
PACKET_TYPE = Kind(
    "pkttype", 8, {"host": 0, "unicast": 0, "broadcast": 1, "multicast": 2, "other": 3, "outgoing": 4, "loopback": 5}
)
GROUP = Kind("group", 32, {"default": 0})
BOOLEAN = Kind("boolean", 1, {"exists": 1, "missing": 0})
DCCP_TYPE = Kind("dccp type", 4, {
    "request": 0, "response": 1, "data": 2, "ack": 3, "dataack": 4, "closereq": 5, "close": 6, "reset": 7, "sync": 8,
    "syncack": 9,
})  # fmt: skip
DAY = Kind("day", 8, {
    name: number
    for number, name in enumerate(("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"))
})  # fmt: skip
