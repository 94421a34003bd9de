"""What a match may ask about the world around the packet. The simulator answers; a test may answer with a literal.

Knows nothing of how the answers are found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from netdoctor.netfilter.ipset import IpSet
    from netdoctor.netfilter.packet import Family, Hook, Packet
    from netdoctor.netfilter.ternary import Answer, Unknown


class Surroundings(Protocol):
    """The namespace that the packet is in, as far as matches need it."""

    @property
    def hook(self) -> Hook:
        """The hook that is asking."""
        ...

    @property
    def table(self) -> str:
        """The table that is asking."""
        ...

    def address_type(self, family: Family, address: int, dev: str | None) -> str | Unknown:
        """The route type of an address: UNICAST, LOCAL, BROADCAST, MULTICAST, ANYCAST, BLACKHOLE, UNREACHABLE,
        PROHIBIT, THROW.

        `dev`: only routes by this interface count (inet_dev_addr_type). Kernel:
        net/ipv4/fib_frontend.c:__inet_dev_addr_type.
        """
        ...

    def reverse_path(self, packet: Packet, *, loose: bool, use_mark: bool, accept_local: bool) -> Answer:
        """Whether the packet's source would be routed back by where it came in. Kernel:
        net/ipv4/netfilter/ipt_rpfilter.c.
        """
        ...

    def route_device(self, packet: Packet, *, of_source: bool, by: str | None, use_mark: bool) -> str | Unknown:
        """The device of the route to an address of the packet, "" where there is none that counts.

        `of_source`: to its source, else to its destination; `by`: "iif", "oif": only by that device of the packet.
        Kernel: net/ipv4/netfilter/nft_fib_ipv4.c:nft_fib4_eval.
        """
        ...

    def local_socket(self, packet: Packet, *, transparent: bool, wildcard: bool) -> Answer:
        """Whether a local socket would take the packet. Kernel: net/netfilter/xt_socket.c:socket_match."""
        ...

    def steer(self, packet: Packet, address: int | None, port: int) -> Answer:
        """Give a packet to a local transparent socket: its connection's, else who listens at `address` and `port`.

        `address` None: the first one of the interface that it came in by; `port` 0: its own. Returns whether there is
        such a socket. Kernel: net/netfilter/xt_TPROXY.c:tproxy_tg4, net/ipv4/netfilter/nf_tproxy_ipv4.c.
        """
        ...

    def transforms(self) -> Answer:
        """Whether any IPsec policy is there. Kernel: net/xfrm/xfrm_policy.c:xfrm_lookup."""
        ...

    def connections(self) -> int | None:
        """How many connections are tracked here at most, None where nobody can say."""
        ...

    def ipset(self, name: str) -> IpSet | None:
        """The set, or None where the snapshot holds none of this name."""
        ...

    def bridge_mac(self, port: str | None) -> str | None:
        """The MAC of the bridge that an interface is a port of, None where it is none's."""
        ...

    def device_group(self, dev: str) -> int | None:
        """The interface's group number."""
        ...

    def clock(self) -> tuple[float, int]:
        """Seconds since the epoch (UTC) and the host zone's offset in seconds east of UTC, when the snapshot was
        taken.
        """
        ...

    def sysctl(self, name: str) -> str | None:
        """A sysctl of this namespace, None where it is not known."""
        ...
