"""Which source address the kernel chooses. Knows nothing of packets.

Kernel: net/ipv4/devinet.c:inet_select_addr, net/ipv4/fib_semantics.c:fib_result_prefsrc,
net/ipv6/addrconf.c:ipv6_dev_get_saddr.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.simulate.fib import SCOPES
from netdoctor.topology.addresses import common_bits, is_link_local, is_loopback, is_multicast, mask

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Address, Link
    from netdoctor.netfilter.packet import Family
    from netdoctor.topology.namespace import Netns

# RFC 6724's policy table, as net/ipv6/addrlabel.c:ip6addrlbl_init_table has it: prefix, length, label.
_LABELS = (
    (1, 128, 0),
    (0xFFFF00000000, 96, 4),
    (0x2002 << 112, 16, 2),
    (0x20010000 << 96, 32, 6),
    (0xFC << 120, 7, 5),
    (0xFEC0 << 112, 10, 11),
    (0x3FFE << 112, 16, 12),
    (0, 96, 3),
    (0, 0, 1),
)


def select4(netns: Netns, dev: str | None, dst: int, scope: int) -> int:
    """Return an IPv4 address of `dev` that suits `dst`, else one of any other interface, else 0 (inet_select_addr)."""
    link = netns.link(dev)
    limit = SCOPES["link"] if dev and netns.conf(4, dev, "route_localnet", 0) else SCOPES["host"]
    first = 0
    if link is not None:
        for value, entry in netns.interface_addresses(link, 4):
            if "secondary" in entry.flags or min(SCOPES.get(entry.scope, 0), limit) > scope:
                continue
            if not dst or _on_subnet(value, entry, dst):
                return value
            first = first or value
    return first or _anywhere(netns, scope, link)


def _anywhere(netns: Netns, scope: int, but: Link | None) -> int:
    """An address of another interface: not one of scope link, and none that is secondary (in_dev_select_addr)."""
    for link in netns.snapshot.links:
        if link is but:
            continue
        for value, entry in netns.interface_addresses(link, 4):
            own = SCOPES.get(entry.scope, 0)
            if own != SCOPES["link"] and own <= scope and "secondary" not in entry.flags:
                return value
    return 0


def _on_subnet(value: int, entry: Address, dst: int) -> bool:
    from netdoctor.topology.addresses import address

    other = value if entry.peer is None else address(entry.peer.partition("/")[0])[1]
    return (other ^ dst) & mask(4, entry.prefixlen) == 0


def select6(netns: Netns, dev: str | None, dst: int) -> int | None:
    """Return the IPv6 source address for `dst` out of `dev`, None where there is none (ipv6_dev_get_saddr)."""
    best: tuple[tuple[int, ...], int] | None = None
    out = netns.link(dev)
    only_out = is_multicast(6, dst) or is_link_local(6, dst)
    for link in netns.snapshot.links:
        if only_out and out is not None and link is not out:
            continue
        for value, entry in netns.interface_addresses(link, 6):
            if ("tentative" in entry.flags and "optimistic" not in entry.flags) or "dadfailed" in entry.flags:
                continue
            score = _score(value, entry, dst, same_device=link is out)
            if best is None or score > best[0]:
                best = (score, value)
    return None if best is None else best[1]


def _score(value: int, entry: Address, dst: int, *, same_device: bool) -> tuple[int, ...]:
    """The rules in their order (ipv6_get_saddr_eval); the greater tuple wins."""
    own, wanted = scope6(value), scope6(dst)
    return (
        int(value == dst),
        # The smallest scope that is big enough; else the biggest of those too small.
        -own if own >= wanted else own - 128,
        int("deprecated" not in entry.flags),
        int(same_device),
        int(_label(value) == _label(dst)),
        int("temporary" in entry.flags and "deprecated" not in entry.flags) * 0,
        min(common_bits(6, value, dst), entry.prefixlen),
    )


def scope6(value: int) -> int:
    """Return the scope of an IPv6 address as a number (ipv6_addr_src_scope): interface 1, link 2, site 5, global 14."""
    if is_multicast(6, value):
        return (value >> 112) & 0xF
    if is_loopback(6, value) or is_link_local(6, value):
        return 2
    return 5 if value >> 118 == 0x3FB else 14


def _label(value: int) -> int:
    for network, length, label in _LABELS:
        if not length or (value ^ network) >> (128 - length) == 0:
            return label
    return 1


def acceptable(family: Family, value: int) -> bool:
    """Return whether an address can be a source at all (ip_route_output_key_hash_rcu)."""
    return not is_multicast(family, value) and not (family == 4 and value in (0, 0xFFFFFFFF))
