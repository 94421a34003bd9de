"""A packet leaves a namespace: POSTROUTING, its size, the neighbour. Knows nothing of who made it.

Kernel: net/ipv4/ip_output.c:ip_output, ip_finish_output2; net/ipv6/ip6_output.c:ip6_output.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import format_address
from netdoctor.simulate import device, mtu, neighbour
from netdoctor.simulate.hooks import At, pass_hook
from netdoctor.simulate.run import Fate, Onward, Run

if TYPE_CHECKING:
    from netdoctor.simulate.frame import Frame
    from netdoctor.simulate.routing import Route
    from netdoctor.topology.namespace import Netns


def output(run: Run, netns: Netns, route: Route, frame: Frame) -> Onward:
    """Take a routed packet through POSTROUTING and to its neighbour (ip_output, ip6_output)."""
    packet = frame.packet
    packet.out_dev = route.dev  # a forwarded packet keeps the device that it came in by (ip_output, indev)
    fate = pass_hook(At(run, netns, "POSTROUTING", packet, route))
    if fate is not None:
        return fate
    packet.in_dev = None
    frame.netns = frame.sender = netns
    frame.dev = route.dev
    frame.prerouted = False
    link = netns.link(route.dev)
    if link is None:
        detail = f"interface {route.dev} is not in the snapshot"
        return Fate(
            "unknown", netns, route.dev, packet, run.cause("unmodelled", netns, interface=route.dev, detail=detail)
        )
    if link.link_type == "loopback":
        frame.looped = route
        frame.next_hop = None
        return partial(device.transmit, run, netns, link, frame)
    frame.looped = None
    too_big = mtu.check_output(run, netns, packet, route)
    if too_big is not None:
        return too_big
    family, hop = route.next_hop(packet)
    frame.next_hop = format_address(family, hop)
    wrong = neighbour.resolve(run, netns, link, frame, family, hop)
    if wrong is not None:
        return wrong
    packet.src_mac = link.mac
    return partial(device.transmit, run, netns, link, frame)
