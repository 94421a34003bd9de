"""An IP packet comes in: PREROUTING, the routing decision, and on to a process or to the next interface.

Knows nothing of devices. Kernel: net/ipv4/ip_input.c:ip_rcv, ip_rcv_finish_core; net/ipv6/ip6_input.c.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import format_address
from netdoctor.simulate import arp, ipvlan, routing
from netdoctor.simulate.hooks import At, pass_hook
from netdoctor.simulate.run import Fate, Onward, Run
from netdoctor.topology.addresses import is_loopback, is_multicast

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Link
    from netdoctor.simulate.frame import Frame
    from netdoctor.topology.namespace import Netns


def receive_ip(run: Run, netns: Netns, link: Link, frame: Frame) -> Onward:
    """Take an IP packet in on a device (ip_rcv, ipv6_rcv)."""
    packet = frame.packet
    if packet.arp is not None:
        return arp.receive(run, netns, link, frame)
    packet.in_dev, packet.out_dev = link.name, None
    packet.steered = None  # what bridge netfilter's TPROXY gave is taken away again (ip_rcv_core: skb_orphan)
    if link.link_type != "loopback":
        note = f"port {packet.phys_in}" if packet.phys_in else None
        run.step("receive", netns, packet, note=note)
        wrong = _not_for_us(run, netns, link, frame)
        if wrong is not None:
            return wrong
        if packet.family == 6 and (is_loopback(6, packet.src) or is_loopback(6, packet.dst)):
            detail = f"::1 from outside on {link.name}"
            run.step("receive", netns, packet, action="drop", note=detail)
            cause = run.cause("martian", netns, interface=link.name, detail=detail)
            return Fate("martian", netns, link.name, packet, cause)
    if not frame.prerouted:
        before = packet.dst
        fate = pass_hook(At(run, netns, "PREROUTING", packet))
        if fate is not None:
            return fate
        if packet.dst != before:
            frame.looped = None  # the route of the sending half counts no longer (nf_nat_ipv4_pre_routing)
    return partial(route_in, run, netns, link, frame)


def _not_for_us(run: Run, netns: Netns, link: Link, frame: Frame) -> Fate | None:
    """A frame with another's MAC is not for us (eth_type_trans, ip_rcv_core)."""
    packet = frame.packet
    if packet.pkttype != "otherhost":
        return None
    detail = f"the frame is for {packet.dst_mac}, {link.name} is {link.mac}"
    run.step("receive", netns, packet, action="drop", note=detail)
    cause = run.cause("neighbour", netns, interface=link.name, detail=detail, drop_reason="OTHERHOST")
    return Fate("dropped", netns, link.name, packet, cause)


def route_in(run: Run, netns: Netns, link: Link, frame: Frame) -> Onward:
    """Decide where a packet that came in goes (ip_rcv_finish)."""
    from netdoctor.simulate import deliver, forward

    packet = frame.packet
    state = (netns.name, link.name, packet.tuple(), packet.mark, run.phase, run.muted)
    if state in run.visited and frame.looped is None:
        return _loop(run, netns, link, frame)
    run.visited.add(state)
    if frame.looped is not None:
        return partial(deliver.deliver, run, netns, link.name, packet)
    taken = ipvlan.deliver_l3s(run, netns, link, packet)
    if taken is not None:
        return taken
    route = routing.arrive(run, netns, packet, link.name)
    if isinstance(route, Fate):
        return route
    if route.kind == "local":
        return partial(deliver.deliver, run, netns, link.name, packet)
    if route.kind in ("broadcast", "multicast") or is_multicast(packet.family, packet.dst):
        return partial(deliver.deliver, run, netns, link.name, packet)
    run.step("route", netns, packet, hook="input", action="forward", note=route.text)
    return partial(forward.forward, run, netns, link, frame, route)


def _loop(run: Run, netns: Netns, link: Link, frame: Frame) -> Fate:
    packet = frame.packet
    detail = f"{format_address(packet.family, packet.dst)} is routed in a circle until its time to live is used up"
    run.step("route", netns, packet, action="loop", note=detail, hook="input")
    cause = run.cause("route", netns, interface=link.name, detail=detail, drop_reason="IP_INHDR")
    from netdoctor.simulate.run import Answer

    kind = "ttl-exceeded" if packet.family == 4 else "hop-limit-exceeded"
    return Fate("loop", netns, link.name, packet, cause, answer=Answer(kind, netns, link.name))
