"""VXLAN: which VTEP gets a frame, the outer packet's way, and the frame coming out. Knows nothing of what is inside.

Kernel: drivers/net/vxlan/vxlan_core.c:vxlan_xmit_one, vxlan_rcv.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import UDP, Packet, format_address
from netdoctor.simulate import device
from netdoctor.simulate import frame as frames
from netdoctor.simulate.run import Fate, Onward, Run, outer_view
from netdoctor.topology.addresses import address

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Link
    from netdoctor.simulate.frame import Frame
    from netdoctor.simulate.trace import Step
    from netdoctor.topology.namespace import Netns

_OVERHEAD = {4: 50, 6: 70}
_ZERO = "00:00:00:00:00:00"


def remotes(netns: Netns, link: Link, mac: str | None) -> list[str]:
    """Return the VTEPs that a MAC's frames go to: its FDB entry, else the zero entry or the device's remote.

    Kernel: drivers/net/vxlan/vxlan_core.c:vxlan_xmit
    """
    exact = [e.dst for e in netns.snapshot.fdb if e.dev == link.name and e.mac == mac and e.dst is not None]
    if exact:
        return exact[:1]
    zero = [e.dst for e in netns.snapshot.fdb if e.dev == link.name and e.mac == _ZERO and e.dst is not None]
    remote = None if link.vxlan is None else link.vxlan.remote
    return zero or ([remote] if remote is not None else [])


def leads_outside(netns: Netns, link: Link) -> bool:
    """Return whether a broadcast on the device goes to some VTEP that is no namespace of this world."""
    return any(not netns.world.owners(*address(remote)) for remote in remotes(netns, link, None))


def ask(run: Run, netns: Netns, link: Link, frame: Frame) -> str | None:
    """Return the MAC that answers for the next hop behind one of the VTEPs that broadcasts go to, None for nobody.

    Kernel: drivers/net/vxlan/vxlan_core.c:vxlan_xmit_one, vxlan_rcv
    """
    if frame.next_hop is None:
        return None
    family, hop = address(frame.next_hop)
    for remote in remotes(netns, link, None):
        for other in netns.world.owners(*address(remote)):
            far = _device(other, link)
            if far is not None and any(value == hop for value, _ in other.interface_addresses(far, family)):
                run.step(
                    "neighbour", netns, frame.packet, note=f"{frame.next_hop} is {far.mac}, {other.name} {far.name}"
                )
                return far.mac
    return None


def _device(netns: Netns, link: Link) -> Link | None:
    """The VXLAN device of a namespace that takes another's frames (vxlan_find_vni): same VNI and port."""
    if link.vxlan is None:
        return None
    for other in netns.snapshot.links:
        if (
            other.vxlan is not None
            and (other.vxlan.vni, other.vxlan.dstport) == (link.vxlan.vni, link.vxlan.dstport)
            and other.is_up
        ):
            return other
    return None


def encapsulate(run: Run, netns: Netns, link: Link, frame: Frame) -> Onward:
    """Put a frame into a UDP packet and send that (vxlan_xmit_one). The mark stays on the outer packet."""
    from netdoctor.simulate import send

    inner = frame.packet
    assert link.vxlan is not None
    targets = remotes(netns, link, inner.dst_mac)
    if not targets:
        detail = f"{link.name}: no VTEP is known for {inner.dst_mac}"
        run.step("encapsulate", netns, inner, action="drop", note=detail)
        cause = run.cause("neighbour", netns, interface=link.name, detail=detail, drop_reason="VXLAN_NO_REMOTE")
        return Fate("dropped", netns, link.name, inner, cause)
    at = 0 if len(targets) == 1 else run.choose([f"{inner.dst_mac} is behind {target}" for target in targets])
    family, remote = address(targets[at])
    local = 0 if link.vxlan.local is None else address(link.vxlan.local)[1]
    outer = Packet(
        family, UDP, local, remote, sport=None, dport=link.vxlan.dstport, sport_range=(32768, 60999),
        size=inner.size + _OVERHEAD[family], ttl=link.vxlan.ttl or 64, df=link.vxlan.df == "set", mark=inner.mark,
        inner=inner,
        # skb->sk stays that of the process that sent the inner packet (iptunnel_xmit, skb_scrub_packet).
        has_socket=inner.has_socket, uid=inner.uid, gid=inner.gid,
    )  # fmt: skip
    if run.writes:
        run.step("encapsulate", netns, inner, note=f"{link.name}: VNI {link.vxlan.vni} to {targets[at]}")
        run.steps[-1] = _with_outer(run, outer, link.vxlan.vni)
    phase, run.phase = run.phase, "next"  # the outer packet is for the kernel's tunnel socket, not for a process
    fate = run.travel(partial(send.send, run, netns, outer, oif=link.vxlan.dev if family == 6 else None))
    run.phase = phase
    return _arrived(run, link, frame, fate, outer)


def _with_outer(run: Run, outer: Packet, vni: int | None) -> Step:
    import msgspec

    step = run.steps[-1]
    assert step.packet is not None
    return msgspec.structs.replace(step, packet=msgspec.structs.replace(step.packet, outer=outer_view(outer, vni)))


def _arrived(run: Run, link: Link, frame: Frame, fate: Fate, outer: Packet) -> Onward:
    """What became of the outer packet is what becomes of the inner one, unless it arrived (vxlan_rcv)."""
    inner = frame.packet
    if fate.verdict != "delivered":
        if fate.verdict == "left":
            fate.next_hop = format_address(outer.family, outer.dst)
        fate.packet = inner
        fate.answer = None
        fate.errno = None
        return fate
    far = _device(fate.netns, link) if link.vxlan is not None and outer.dport == link.vxlan.dstport else None
    if far is None or far.vxlan is None:  # a rule may have led it to another port
        detail = f"no VXLAN device with VNI {link.vxlan.vni if link.vxlan else None} on port {outer.dport}"
        run.step("decapsulate", fate.netns, inner, action="drop", note=detail)
        cause = run.cause("link", fate.netns, detail=detail, drop_reason="VXLAN_VNI_NOT_FOUND")
        return Fate("dropped", fate.netns, fate.interface, inner, cause)
    frames.scrub(inner, other_namespace=True)
    inner.mark = fate.packet.mark  # what the rules of this end gave the outer packet stays (skb_scrub_packet)
    frame.prerouted = False
    if inner.dst_mac == frames.OUTSIDE:
        inner.dst_mac = far.mac
    run.step("decapsulate", fate.netns, inner, note=f"{far.name}: VNI {far.vxlan.vni}")
    return partial(device.receive, run, fate.netns, far, frame)
