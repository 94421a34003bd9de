"""Which socket takes a packet. Knows nothing of how it arrived.

Kernel: net/ipv4/inet_hashtables.c:__inet_lookup_listener, net/ipv4/udp.c:__udp4_lib_lookup, net/netfilter/xt_socket.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import ICMP, ICMPV6, PROTOCOL_NAMES, TCP, Family, Packet
from netdoctor.netfilter.ternary import Answer, Unknown
from netdoctor.topology.addresses import address

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Socket
    from netdoctor.topology.namespace import Netns

Key = tuple[str, int]


def known(netns: Netns) -> bool:
    """Return whether the snapshot can say who listens in a namespace."""
    return bool(netns.snapshot.sockets) or netns.was_read("sockets")


def _by_port(netns: Netns) -> dict[Key, list[Socket]]:
    table: dict[Key, list[Socket]] | None = netns.cache.get("sockets")
    if table is None:
        table = {}
        for socket in netns.snapshot.sockets:
            table.setdefault((socket.proto, socket.port), []).append(socket)
        netns.cache["sockets"] = table
    return table


def receiver(netns: Netns, packet: Packet, dev: str | None) -> Socket | None:
    """Return the socket that takes a first packet: a listener, or a bound UDP socket; the best fit wins.

    Kernel: net/ipv4/inet_hashtables.c:__inet_lookup_listener, net/ipv4/udp.c:__udp4_lib_lookup
    """
    best: tuple[int, Socket] | None = None
    for socket in _by_port(netns).get((PROTOCOL_NAMES.get(packet.proto, ""), packet.dport or 0), ()):
        score = _score(socket, packet, dev)
        if score is not None and (best is None or score > best[0]):
            best = (score, socket)
    return None if best is None else best[1]


def _score(socket: Socket, packet: Packet, dev: str | None) -> int | None:
    """How well a socket fits, None: not at all (compute_score)."""
    if packet.proto == TCP and socket.state != "LISTEN":
        return None
    bound = bound_to(socket)
    if bound is None:
        if not takes(socket, packet.family):
            return None
    elif bound != (packet.family, packet.dst):
        return None
    if socket.dev is not None and socket.dev != dev:
        return None
    score = (2 if (socket.family == "ip") == (packet.family == 4) else 1) + (4 if bound is not None else 0)
    if socket.peer is not None and socket.state == "ESTAB":
        try:
            if (address(socket.peer), socket.peer_port) != ((packet.family, packet.src), packet.sport):
                return None
        except ValueError:
            return None
        score += 8
    return score + (4 if socket.dev is not None else 0)


def takes(socket: Socket, family: Family) -> bool:
    """Return whether a socket bound to every address takes a family (ipv6_only_sock)."""
    if socket.family == "ip":
        return family == 4
    return family == 6 or not socket.v6only


def bound_to(socket: Socket) -> tuple[Family, int] | None:
    """Return the address that a socket is bound to, None for every one. An IPv4-mapped address is IPv4."""
    text = socket.address.partition("%")[0].strip("[]")
    if text in ("*", "0.0.0.0", "::", ""):  # noqa: S104 (a socket's address, read)
        return None
    try:
        family, value = address(text)
    except ValueError:
        return None
    if family == 6 and value >> 32 == 0xFFFF:
        return 4, value & 0xFFFFFFFF
    return family, value


def connected(netns: Netns, packet: Packet) -> Socket | None:
    """Return the connected UDP socket that takes a packet, of those bound to an address.

    Kernel: net/ipv4/netfilter/nf_tproxy_ipv4.c:nf_tproxy_get_sock_v4 (NF_TPROXY_LOOKUP_ESTABLISHED)
    """
    found = receiver(netns, packet, packet.in_dev)
    return found if found is not None and found.peer is not None and bound_to(found) is not None else None


def text(socket: Socket) -> str:
    """Return where a socket listens (ss)."""
    return f"[{socket.address}]:{socket.port}" if ":" in socket.address else f"{socket.address}:{socket.port}"


def matching(netns: Netns, packet: Packet, socket: Socket | None, *, transparent: bool, wildcard: bool) -> Answer:
    """Return what `-m socket` says (socket_match). `socket`: who has the packet's connection already, if anybody.

    One that is bound to every address counts with `wildcard` only (--nowildcard).
    """
    if packet.proto in (ICMP, ICMPV6):
        return False
    if not known(netns):
        return Unknown("match socket: the sockets of this namespace are not in the snapshot")
    socket = socket or receiver(netns, packet, packet.in_dev)
    if socket is None or (bound_to(socket) is None and not wildcard):
        return False
    if transparent and socket.transparent is None:
        return Unknown("match socket: whether a socket is transparent is not in the snapshot")
    return not transparent or bool(socket.transparent)
