"""The answers that matches need about the namespace that a packet is in: `netfilter.surroundings.Surroundings`.

Knows nothing of rules: it is asked by them. Kernel: net/ipv4/fib_frontend.c:__inet_dev_addr_type,
net/ipv4/netfilter/ipt_rpfilter.c:rpfilter_mt, net/netfilter/xt_socket.c:socket_match.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import SYN, TCP, UDP
from netdoctor.netfilter.ternary import Unknown
from netdoctor.simulate import sockets
from netdoctor.simulate.fib import Key, fib
from netdoctor.topology.addresses import is_link_local, is_multicast

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Socket
    from netdoctor.netfilter.ipset import IpSet
    from netdoctor.netfilter.packet import Family, Hook, Packet
    from netdoctor.netfilter.ternary import Answer
    from netdoctor.simulate.run import Run
    from netdoctor.topology.namespace import Netns


@dataclass(slots=True)
class Here:
    """One hook of one namespace, for one packet."""

    run: Run
    netns: Netns
    hook: Hook
    table: str

    def address_type(self, family: Family, address: int, dev: str | None) -> str | Unknown:
        """The route type of an address (__inet_dev_addr_type; IPv6: xt_addrtype.c:match_lookup_rt6)."""
        if family == 4:
            if address == 0xFFFFFFFF or address >> 24 == 0:
                return "BROADCAST"
            if is_multicast(4, address):
                return "MULTICAST"
            # Only the local table is asked; what it does not know is unicast.
            found = fib(self.netns, 4).in_table(255, Key(4, address))
            if found is None or found.entry is None:
                return "UNICAST"
            if dev is not None and not any(way.dev == dev for way in found.entry.ways):
                return "UNICAST"
            return found.kind.upper()
        if is_multicast(6, address):
            return "MULTICAST"
        found = fib(self.netns, 6).lookup(self.run, Key(6, address, oif=dev if dev is not None else None))
        if found.errno is not None:
            return "UNREACHABLE"
        if found.kind in ("local", "anycast"):
            if dev is not None and (6, address) in self.netns.addresses:
                held = any(link.name == dev for link, _ in self.netns.addresses[(6, address)])
                return "LOCAL" if held else "UNICAST"
            return found.kind.upper()
        return "UNICAST"

    def reverse_path(self, packet: Packet, *, loose: bool, use_mark: bool, accept_local: bool) -> Answer:
        """Whether the source would be routed back (rpfilter_mt: net/ipv4/netfilter/ipt_rpfilter.c)."""
        arrived = self.netns.link(packet.in_dev)
        if arrived is not None and arrived.link_type == "loopback":  # rpfilter_is_loopback
            return True
        key = Key(
            packet.family,
            packet.src,
            0 if is_multicast(packet.family, packet.dst) else packet.dst,
            iif="lo",
            oif=packet.in_dev if packet.family == 6 and is_link_local(6, packet.src) else None,
            mark=packet.mark if use_mark else 0,
            tos=packet.tos,
            proto=packet.proto if packet.family == 6 else 0,  # rpfilter_lookup_reverse6
        )
        tables = fib(self.netns, packet.family)
        found = tables.lookup(self.run, key)
        if found.errno is not None:
            return False if tables.complete else Unknown(f"the routes of {self.netns.name} are not in the snapshot")
        if found.kind != "unicast" and (found.kind != "local" or not accept_local):
            return False
        return loose or any(way.dev == packet.in_dev for way in found.ways)

    def route_device(self, packet: Packet, *, of_source: bool, by: str | None, use_mark: bool) -> str:
        """The device of the route to an address of the packet (nft_fib4_eval, nft_fib6_eval)."""
        arrived = self.netns.link(packet.in_dev)
        if self.hook == "PREROUTING" and arrived is not None and arrived.link_type == "loopback":
            return arrived.name
        wanted, other = (packet.src, packet.dst) if of_source else (packet.dst, packet.src)
        if of_source and is_multicast(packet.family, other):
            other = 0
        mark = packet.mark if use_mark else 0
        own = packet.out_dev if by == "oif" else packet.in_dev
        # A link-local address is one of its wire only (nft_fib6_flowi_init: RT6_LOOKUP_F_IFACE).
        only = own if packet.family == 6 and is_link_local(6, wanted) else None
        key = Key(packet.family, wanted, other, iif="lo", oif=only, mark=mark, tos=packet.tos, proto=packet.proto)
        found = fib(self.netns, packet.family).lookup(self.run, key, ignore_linkdown=True)
        if found.errno is not None or found.kind != "unicast":
            return ""
        devices = [way.dev or "" for way in found.ways]
        if by is None:
            return devices[0]
        return own if own is not None and own in devices else ""

    def local_socket(self, packet: Packet, *, transparent: bool, wildcard: bool) -> Answer:
        """Whether a local socket would take the packet (socket_match): the flow's own client has one too.

        An answer to an IPv4 connection whose source was translated is sought as what it will be (nf_sk_lookup_slow_v4).
        """
        connection = packet.connection
        if packet.family == 4 and connection is not None and packet.direction == "REPLY" and connection.snat_done:
            packet = packet.clone()
            packet.dst, packet.dport = connection.original.src, connection.original.sport
        if self._is_answer(packet):
            return not transparent
        socket = packet.steered
        if socket is None:
            socket = self._of_connection(packet)
            wildcard = wildcard or socket is not None  # it has the address that it was called by
        return sockets.matching(self.netns, packet, socket, transparent=transparent, wildcard=wildcard)

    def _is_answer(self, packet: Packet) -> bool:
        """Whether the flow's own client takes the packet, whose socket is connected (__inet_lookup_established)."""
        if self.run.client is None or self.run.client[0] is not self.netns:
            return False
        sent = self.run.client[1]
        ends = (packet.proto, packet.dst, packet.dport, packet.src, packet.sport)
        return packet.proto in (TCP, UDP) and ends == (sent.proto, sent.src, sent.sport, sent.dst, sent.dport)

    def steer(self, packet: Packet, address: int | None, port: int) -> Answer:
        """Give a packet to a local transparent socket (tproxy_tg4, nf_tproxy_get_sock_v4).

        The connection's own socket comes first, then who listens where the rule says (nf_tproxy_laddr4).
        """
        if not sockets.known(self.netns):
            return Unknown("target TPROXY: the sockets of this namespace are not in the snapshot")
        ends = packet.clone()
        ends.dst = address or self._first_address(packet) or packet.dst
        ends.dport = port or packet.dport
        if self._is_answer(packet):
            return False  # a socket that has it, and is not transparent
        own = self._of_connection(packet)
        socket = own or sockets.receiver(self.netns, ends, packet.in_dev)
        if socket is None or socket.transparent is False:
            return False
        if socket.transparent is None:
            return Unknown("target TPROXY: whether a socket is transparent is not in the snapshot")
        packet.steered, packet.stranger = socket, own is None and packet.proto == TCP and not packet.tcp_flags & SYN
        packet.note(f"to the transparent socket of {socket.program or 'a process'}, {sockets.text(socket)}")
        return True

    def _of_connection(self, packet: Packet) -> Socket | None:
        """The socket that has a packet's connection already (__inet_lookup_established; UDP: a connected one)."""
        if packet.proto == TCP:
            return self.run.accepted.get((self.netns.name, packet.tuple()))
        return sockets.connected(self.netns, packet)

    def _first_address(self, packet: Packet) -> int | None:
        """The first address of the interface that it came in by (nf_tproxy_laddr4, nf_tproxy_laddr6)."""
        link = self.netns.link(packet.in_dev)
        if link is None:
            return None
        passed_over = {"secondary"} if packet.family == 4 else {"tentative", "deprecated"}
        for value, entry in self.netns.interface_addresses(link, packet.family):
            if not passed_over & set(entry.flags):
                return value
        return None

    def transforms(self) -> Answer:
        """Whether any IPsec policy is there (xfrm_lookup): none where the snapshot read that there is none."""
        if self.netns.snapshot.xfrm_policy or not self.netns.was_read("xfrm_policy"):
            return Unknown("whether IPsec transforms packets here")
        return False

    def connections(self) -> int | None:
        """How many connections are tracked here (nf_conntrack_count): the snapshot's, and those of this walk."""
        met = self.run.conntracks.get(self.netns.name)
        return len(self.netns.snapshot.conntrack) + (0 if met is None else len(met.connections())) + 1

    def ipset(self, name: str) -> IpSet | None:
        """The set of this name in this namespace."""
        return self.netns.ipsets.get(name)

    def bridge_mac(self, port: str | None) -> str | None:
        """The MAC of the bridge that an interface is a port of (br_port_get_rcu)."""
        link = self.netns.link(port)
        bridge = None if link is None else self.netns.bridge_of(link)
        return None if bridge is None else bridge.mac

    def device_group(self, dev: str) -> int | None:
        """The interface's group."""
        link = self.netns.link(dev)
        return None if link is None else link.group

    def clock(self) -> tuple[float, int]:
        """When the snapshot was taken."""
        return self.netns.source.taken_at, self.netns.source.utc_offset

    def sysctl(self, name: str) -> str | None:
        """A sysctl of this namespace."""
        return self.netns.sysctl(name)
