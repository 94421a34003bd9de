"""Tunnels between hosts: where their outer packets go, and which device of the next host takes them out.

Knows nothing of packets or of what the network between the hosts does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.topology.addresses import address

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Link, Tunnel
    from netdoctor.topology.namespace import Netns

_ZERO = "00:00:00:00:00:00"
# Kind -> family of the outer packet. A pair of kinds meets where both ends are of one kind.
IP_TUNNELS = {"ipip": 4, "gre": 4, "sit": 4, "gretap": 4, "ip6tnl": 6, "ip6gre": 6, "ip6gretap": 6}
ETHERNET = frozenset({"vxlan", "gretap", "ip6gretap"})  # those that carry frames, not packets


def remotes(netns: Netns, link: Link, mac: str | None) -> list[str]:
    """Return the addresses that a MAC's frames go to: its FDB entry's, else the zero entries' or the device's remote.

    Kernel: drivers/net/vxlan/vxlan_core.c:vxlan_xmit
    """
    if link.vxlan is None:
        return [link.tunnel.remote] if link.tunnel is not None and link.tunnel.remote is not None else []
    exact = [e.dst for e in netns.snapshot.fdb if e.dev == link.name and e.mac == mac and e.dst is not None]
    if exact:
        return exact[:1]
    zero = [e.dst for e in netns.snapshot.fdb if e.dev == link.name and e.mac == _ZERO and e.dst is not None]
    return zero or ([link.vxlan.remote] if link.vxlan.remote is not None else [])


def underlay(netns: Netns, link: Link) -> Netns | None:
    """Return the namespace in which a tunnel's outer packets are routed: where it was made; None where not read."""
    if link.parent_netns is None:
        return netns
    return None if link.parent_netns == "?" else netns.world.sibling(netns, link.parent_netns)


def far_ends(netns: Netns, link: Link) -> tuple[list[tuple[Netns, Link]], bool]:
    """Return the devices that take what a device floods, and whether some of it goes to nobody of this world."""
    found, lost = [], False
    for remote in remotes(netns, link, None):
        ends = [far for owner in netns.world.owners(*address(remote)) if (far := _taker(owner, link)) is not None]
        found += ends
        lost = lost or not ends
    return found, lost


def _taker(owner: Netns, link: Link) -> tuple[Netns, Link] | None:
    """The device of the owner of a remote address that takes what `link` sends."""
    if link.vxlan is not None:
        return vxlan_device(owner, link)
    if link.tunnel is None or link.tunnel.remote is None:
        return None
    local = None if link.tunnel.local is None else address(link.tunnel.local)[1]
    return tunnel_device(owner, link.kind or "", local, address(link.tunnel.remote)[1], link.tunnel.key)


def flooders(netns: Netns, link: Link) -> list[tuple[Netns, Link]]:
    """Return the devices whose floods reach a VXLAN device, which learns from them where their MACs live."""
    if link.vxlan is None or not link.vxlan.learning:
        return []
    return [
        (other, device)
        for underlying in netns.world.namespaces.values()
        for other, device in devices(underlying)
        if device.vxlan is not None and any(end is link for _, end in far_ends(other, device)[0])
    ]


def vxlan_device(underlying: Netns, link: Link, port: int | None = None) -> tuple[Netns, Link] | None:
    """Return the VXLAN device that takes the packets of another, by VNI and port (vxlan_find_vni)."""
    if link.vxlan is None:
        return None
    wanted = link.vxlan.vni, link.vxlan.dstport if port is None else port
    for netns, other in devices(underlying):
        if other.vxlan is not None and other.is_up and (other.vxlan.vni, other.vxlan.dstport) == wanted:
            return netns, other
    return None


def devices(underlying: Netns) -> list[tuple[Netns, Link]]:
    """Return the tunnel devices whose outer packets a namespace routes, in it or moved out of it."""
    found: list[tuple[Netns, Link]] | None = underlying.cache.get("tunnels")
    if found is None:
        found = [
            (netns, link)
            for netns in underlying.world.namespaces.values()
            for link in netns.snapshot.links
            if (link.vxlan is not None or link.tunnel is not None) and underlay(netns, link) is underlying
        ]
        underlying.cache["tunnels"] = found
    return found


def tunnel_device(
    underlying: Netns, kind: str, src: int | None, dst: int | None, key: str | None
) -> tuple[Netns, Link] | None:
    """Return the device of a kind that takes a packet from `src` to `dst` out of its tunnel (ip_tunnel_lookup).

    The one that names both ends comes first, then the one that names the sender, its own address, neither.
    """
    best: tuple[int, Netns, Link] | None = None
    for netns, link in devices(underlying):
        if link.kind != kind or link.tunnel is None or not link.is_up or link.tunnel.ikey != key:
            continue
        rank = _rank(link.tunnel, src, dst)
        if rank is not None and (best is None or rank < best[0]):
            best = (rank, netns, link)
    return None if best is None else best[1:]


def _rank(tunnel: Tunnel, src: int | None, dst: int | None) -> int | None:
    local = None if tunnel.local is None else address(tunnel.local)[1]
    remote = None if tunnel.remote is None else address(tunnel.remote)[1]
    if (remote is not None and src is not None and remote != src) or (local is not None and local != dst):
        return None
    return 4 if tunnel.external else 2 * (remote is None) + (local is None)
