"""VXLAN, IPIP, GRE and their kin: the outer packet's way, and what comes out. Knows nothing of what is inside.

Kernel: drivers/net/vxlan/vxlan_core.c:vxlan_xmit_one, vxlan_rcv; net/ipv4/ip_tunnel.c:ip_tunnel_xmit, ip_tunnel_rcv;
net/ipv6/ip6_tunnel.c:ip6_tnl_xmit.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from netdoctor.netfilter.packet import GRE, ICMP, ICMPV6, IPIP, IPV6_IN_IP, UDP, Packet, format_address
from netdoctor.simulate import device, layer2, mtu, receive, routing
from netdoctor.simulate import frame as frames
from netdoctor.simulate.run import Answer, Fate, Onward, Run, outer_view
from netdoctor.topology import overlay, wire
from netdoctor.topology.addresses import address

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Link
    from netdoctor.netfilter.packet import Family
    from netdoctor.simulate.frame import Frame
    from netdoctor.simulate.routing import NoRoute, Route
    from netdoctor.simulate.trace import Step
    from netdoctor.topology.namespace import Netns

_VXLAN_OVERHEAD = {4: 50, 6: 70}
_HEADER = {4: 20, 6: 40}
_GRE_HEADER, _KEY, _ETHERNET, _ENCAP_LIMIT = 4, 4, 14, 8
_MIN_MTU6 = 1280
_MOST_TUNNELS = 8  # include/linux/netdevice.h:XMIT_RECURSION_LIMIT


def transmit(run: Run, netns: Netns, link: Link, frame: Frame) -> Onward:
    """Send by a tunnel device (vxlan_xmit, ipip_tunnel_xmit, ipgre_xmit, ip6_tnl_start_xmit)."""
    underlying = overlay.underlay(netns, link)
    if underlying is None:
        return device.leave(run, netns, link, frame, "unread")
    if link.vxlan is not None:
        return _vxlan(run, netns, underlying, link, frame)
    if link.tunnel is None or link.tunnel.external or link.kind not in overlay.IP_TUNNELS:
        return device.unmodelled(run, netns, link, frame, f"a {link.kind} tunnel of this kind")
    return _ip_tunnel(run, netns, underlying, link, frame)


# --- VXLAN


def _vxlan(run: Run, netns: Netns, underlying: Netns, link: Link, frame: Frame) -> Onward:
    """Put a frame into a UDP packet and send that (vxlan_xmit_one). The mark stays on the outer packet."""
    inner, parameters = frame.packet, link.vxlan
    assert parameters is not None
    learned = run.vteps.get((netns.name, link.name, inner.dst_mac or ""))
    targets = overlay.remotes(netns, link, inner.dst_mac) if learned is None else [learned]
    if not targets:
        detail = f"{link.name}: no VTEP is known for {inner.dst_mac}"
        run.step("encapsulate", netns, inner, action="drop", note=detail)
        cause = run.cause("neighbour", netns, interface=link.name, detail=detail, drop_reason="VXLAN_NO_REMOTE")
        return Fate("dropped", netns, link.name, inner, cause)
    target = _target(run, netns, link, targets, inner)
    family, remote = address(target)
    local = 0 if parameters.local is None else address(parameters.local)[1]
    outer = Packet(
        family, UDP, local, remote, sport=None, dport=parameters.dstport, sport_range=(32768, 60999),
        size=inner.size + _VXLAN_OVERHEAD[family], ttl=parameters.ttl or 0, df=parameters.df == "set", mark=inner.mark,
    )  # fmt: skip
    oif = parameters.dev if family == 6 else None
    way = routing.output(run, underlying, routing.key_of(outer, oif=oif), any_source=True)
    circular = _circular(run, netns, underlying, link, inner, target, way)
    if circular is not None:
        return circular
    if isinstance(way, routing.Route) and way.kind == "local" and overlay.vxlan_device(underlying, link, outer.dport):
        what = "a VXLAN whose remote is this namespace itself (encap_bypass_if_local)"
        return device.unmodelled(run, netns, link, frame, what)
    note = f"{link.name}: VNI {parameters.vni} to {target}"
    fate = _carry(run, netns, underlying, frame, outer, note, oif, parameters.vni)
    if fate.verdict != "delivered":
        return _not_arrived(fate, inner, outer)
    far = overlay.vxlan_device(fate.netns, link, fate.packet.dport)
    if far is None:  # a rule may have led it to another port, too
        detail = f"no VXLAN device with VNI {parameters.vni} on port {outer.dport}"
        return _nobody(run, fate, inner, detail, "VXLAN_VNI_NOT_FOUND")
    if far[1].vxlan is not None and far[1].vxlan.learning and inner.src_mac is not None:  # vxlan_snoop
        vtep = format_address(outer.family, fate.packet.src)
        written = _written(*far, inner.src_mac)
        if written and vtep not in written:
            detail = f"{far[1].name}: {inner.src_mac} is behind {written[0]} by its FDB, and came from {vtep}"
            return _nobody(run, fate, inner, detail, "VXLAN_ENTRY_EXISTS")
        run.vteps[far[0].name, far[1].name, inner.src_mac] = vtep
    return _out(run, far, frame, fate.packet.mark, f"{far[1].name}: VNI {parameters.vni}")


def _written(netns: Netns, link: Link, mac: str) -> list[str]:
    """The VTEPs that somebody wrote down for a MAC: what comes from another one is dropped (vxlan_snoop)."""
    return [
        entry.dst
        for entry in netns.snapshot.fdb
        if entry.dev == link.name
        and entry.mac == mac
        and entry.dst is not None
        and entry.state in ("permanent", "static")
    ]


def _target(run: Run, netns: Netns, link: Link, targets: list[str], inner: Packet) -> str:
    """Whom it goes to: a frame for one MAC is sent to all, and only who has that takes it (vxlan_xmit)."""
    for target in targets if len(targets) > 1 else ():
        for owner in netns.world.owners(*address(target)):
            far = overlay.vxlan_device(owner, link)
            if far is not None and inner.dst_mac is not None and wire.heard(*far).with_mac(inner.dst_mac):
                return target
    at = 0 if len(targets) == 1 else run.choose([f"{inner.dst_mac} is behind {target}" for target in targets])
    return targets[at]


# --- IP in IP, GRE


def _ip_tunnel(run: Run, netns: Netns, underlying: Netns, link: Link, frame: Frame) -> Onward:
    """Put a packet, or a frame, into an IP packet and send that (ip_tunnel_xmit, ip6_tnl_xmit)."""
    inner, tunnel = frame.packet, link.tunnel
    assert tunnel is not None
    family: Family = 4 if overlay.IP_TUNNELS[link.kind or ""] == 4 else 6
    target = tunnel.remote
    if target is None and link.kind in ("ipip", "sit"):
        target = frame.next_hop  # rt_nexthop: whom the route names
    remote = address(target) if target is not None else None
    if remote is None or remote[0] != family or not _carries(link, inner):
        return device.unmodelled(run, netns, link, frame, f"what a {link.kind} tunnel does with this packet")
    local = 0 if tunnel.local is None else address(tunnel.local)[1]
    outer = Packet(
        family, _protocol(link, inner), local, remote[1], size=inner.size + _overhead(link, family),
        ttl=tunnel.ttl or (inner.ttl if family == 4 else 0), tos=inner.tos if tunnel.tos & 1 else tunnel.tos,
        df=tunnel.pmtudisc or (inner.family == 4 and inner.df),
    )  # fmt: skip
    way = routing.output(run, underlying, routing.key_of(outer, mark=0, oif=tunnel.dev))
    wrong = _circular(run, netns, underlying, link, inner, target, way)
    if wrong is None and family == 4:
        wrong = _too_big(run, netns, underlying, link, inner, outer, way)
    if wrong is not None:
        return wrong
    note = f"{link.name}: {link.kind} to {target}{f', key {tunnel.key}' if tunnel.key else ''}"
    kind = link.kind or ""
    return carry_ip(run, netns, underlying, frame, outer, note, kind=kind, key=tunnel.key, oif=tunnel.dev)


def carry_ip(
    run: Run, netns: Netns, underlying: Netns, frame: Frame, outer: Packet, note: str, *,
    kind: str, key: str | None = None, oif: str | None = None,
) -> Onward:  # fmt: skip
    """Send the outer packet; at its end the device that knows both ends takes the inner one out (ip_tunnel_rcv)."""
    inner = frame.packet
    fate = _carry(run, netns, underlying, frame, outer, note, oif, None, mark=inner.mark)
    if fate.verdict != "delivered":
        return _not_arrived(fate, inner, outer)
    arrived = fate.packet
    far = overlay.tunnel_device(fate.netns, kind, arrived.src, arrived.dst, key)
    if far is None:
        with_key = f" with key {key}" if key else ""
        detail = f"no {kind} device takes what comes from {format_address(arrived.family, arrived.src)}{with_key}"
        return _nobody(run, fate, inner, detail, "NO_SOCKET")
    return _out(run, far, frame, arrived.mark, f"{far[1].name}: {kind}")


def _carries(link: Link, inner: Packet) -> bool:
    """Whether a tunnel takes packets of a family (ipip_tunnel_xmit, sit_tunnel_xmit, ip6_tnl_start_xmit)."""
    return link.kind not in ("ipip", "sit") or inner.family == {"ipip": 4, "sit": 6}[link.kind]


def _protocol(link: Link, inner: Packet) -> int:
    if "gre" in (link.kind or ""):
        return GRE
    return IPIP if inner.family == 4 else IPV6_IN_IP


def _overhead(link: Link, family: Family) -> int:
    """The bytes that the headers take (ip_tunnel_calc_hlen_gre, ip6_tnl_xmit)."""
    size = _HEADER[family]
    if "gre" in (link.kind or ""):
        size += _GRE_HEADER + (_KEY if link.tunnel is not None and link.tunnel.key is not None else 0)
    if family == 6:
        size += _ENCAP_LIMIT
    return size + (_ETHERNET if link.kind in overlay.ETHERNET else 0)


def _too_big(
    run: Run, netns: Netns, underlying: Netns, link: Link, inner: Packet, outer: Packet, route: Route | NoRoute
) -> Fate | None:
    """A packet that the outer way has no room for is told to its sender at once (tnl_update_pmtu)."""
    if not outer.df or isinstance(route, routing.NoRoute):
        return None
    limit = mtu.of(underlying, route) - (outer.size - inner.size)
    if inner.size <= limit or (inner.family == 4 and not inner.df) or (inner.family == 6 and limit < _MIN_MTU6):
        return None
    detail = f"{inner.size} bytes do not fit the {limit} that {link.name} can carry by {route.dev}"
    run.step("encapsulate", netns, inner, action="drop", note=detail)
    cause = run.cause("mtu", netns, interface=link.name, detail=detail, drop_reason="PKT_TOO_BIG")
    kind = "frag-needed" if inner.family == 4 else "packet-too-big"
    return Fate("too-big", netns, link.name, inner, cause, answer=Answer(kind, netns, inner.in_dev, mtu=limit))


# --- of all


def _circular(
    run: Run, netns: Netns, underlying: Netns, link: Link, inner: Packet, target: str | None, route: Route | NoRoute
) -> Fate | None:
    """The way to the other end leads into the tunnel itself (udp_tunnel_dst_lookup, ip_tunnel_xmit, ip6_tnl_xmit)."""
    if not isinstance(route, routing.Route) or (underlying, route.dev) != (netns, link.name):
        return None
    detail = f"the way to {target}, the other end of {link.name}, leads into {link.name} itself: {route.text}"
    run.step("encapsulate", netns, inner, action="drop", note=detail)
    cause = run.cause("route", netns, interface=link.name, detail=detail)
    return Fate("dropped", netns, link.name, inner, cause)


def _carry(
    run: Run, netns: Netns, underlying: Netns, frame: Frame, outer: Packet, note: str, oif: str | None,
    vni: int | None, mark: int | None = None,
) -> Fate:  # fmt: skip
    """Send the outer packet (iptunnel_xmit, udp_tunnel_xmit_skb).

    The socket stays that of the process that sent the inner packet; a `mark` is set after the route was chosen.
    """
    from netdoctor.simulate import send

    inner = frame.packet
    if _depth(inner) >= _MOST_TUNNELS:
        detail = f"a tunnel in a tunnel, {_MOST_TUNNELS} deep: the kernel takes it for a loop"
        run.step("encapsulate", netns, inner, action="drop", note=detail)
        cause = run.cause("route", netns, detail=detail, drop_reason="RECURSION_LIMIT")
        return Fate("dropped", netns, inner.out_dev, inner, cause)
    outer.inner, outer.has_socket, outer.uid, outer.gid = inner, inner.has_socket, inner.uid, inner.gid
    other = underlying is not netns
    if other:
        outer.mark = 0
    if run.writes:
        run.step("encapsulate", netns, inner, note=note)
        run.steps[-1] = _with_outer(run, outer, vni)

    def chosen(packet: Packet) -> None:
        if mark is not None and not other:
            packet.mark = mark

    phase, run.phase = run.phase, "next"  # the outer packet is for the kernel's tunnel, not for a process
    fate = run.travel(partial(send.send, run, underlying, outer, oif=oif, chosen=chosen))
    run.phase = phase
    return fate


def _depth(packet: Packet) -> int:
    """How many tunnels a packet is in already (dev_xmit_recursion)."""
    return 0 if packet.inner is None or packet.proto in (ICMP, ICMPV6) else 1 + _depth(packet.inner)


def _with_outer(run: Run, outer: Packet, vni: int | None) -> Step:
    step = run.steps[-1]
    assert step.packet is not None
    return msgspec.structs.replace(step, packet=msgspec.structs.replace(step.packet, outer=outer_view(outer, vni)))


def _not_arrived(fate: Fate, inner: Packet, outer: Packet) -> Fate:
    """What became of the outer packet is what becomes of the inner one (iptunnel_xmit)."""
    if fate.verdict == "left":
        fate.next_hop = format_address(outer.family, outer.dst)
    fate.packet = inner
    fate.answer = None
    fate.errno = None
    return fate


def _nobody(run: Run, fate: Fate, inner: Packet, detail: str, reason: str) -> Fate:
    run.step("decapsulate", fate.netns, inner, action="drop", note=detail)
    cause = run.cause("link", fate.netns, detail=detail, drop_reason=reason)
    return Fate("dropped", fate.netns, fate.interface, inner, cause)


def _out(run: Run, far: tuple[Netns, Link], frame: Frame, mark: int, note: str) -> Onward:
    """The inner packet comes out; a mark that the outer one got here stays on it (ip_tunnel_rcv, vxlan_rcv)."""
    netns, link = far
    inner = frame.packet
    frames.scrub(inner, other_namespace=True)
    inner.mark = mark
    frame.prerouted = False
    run.step("decapsulate", netns, inner, note=note)
    if link.kind not in overlay.ETHERNET:
        inner.src_mac = inner.dst_mac = None
        inner.pkttype = "host"
        fate = layer2.ingress(run, netns, link, frame)
        if fate is not None:
            return fate
        return partial(receive.receive_ip, run, netns, link, frame)
    if inner.dst_mac == frames.OUTSIDE:
        inner.dst_mac = link.mac
    return partial(device.receive, run, netns, link, frame)
