"""The copy that TEE, or nft's `dup`, sends to a gateway beside the packet, and whether it can change the flow's fate.

Knows nothing of rules. Kernel: net/ipv4/netfilter/nf_dup_ipv4.c:nf_dup_ipv4, net/ipv6/netfilter/nf_dup_ipv6.c.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import ICMPV6
from netdoctor.simulate import output, routing, send
from netdoctor.simulate.fib import Key
from netdoctor.simulate.frame import Frame
from netdoctor.simulate.hooks import At, pass_hook

if TYPE_CHECKING:
    from netdoctor.netfilter.effect import Tee
    from netdoctor.netfilter.packet import Packet
    from netdoctor.simulate.run import Fate

_DISCOVERY = {133, 134, 135, 136, 137}
_MOST = 2  # copies of copies that are followed
# So a copy ends without anybody noticing. Its neighbour is missed seconds later, when the flow has long been answered.
_UNSEEN = {"dropped", "martian", "left", "link-down", "no-neighbour", "not-forwarded"}


def send_copy(at: At, tee: Tee) -> str | None:
    """Send the copy (nf_dup_ipv4, nf_dup_ipv6). Returns None where nobody notices it, else why nothing can be said.

    A copy that arrives, or is refused with an ICMP error, races with the packet itself.
    """
    packet, run = at.packet, at.run
    if packet.duplicate and at.hook in ("OUTPUT", "POSTROUTING"):
        return None
    if packet.proto == ICMPV6 and packet.icmp_type in _DISCOVERY:
        return None  # nobody believes what has passed a router, or is not about an address of his own
    if run.muted > _MOST:
        return f"a copy of a copy that TEE makes in {at.netns.name}"
    copy = _copy(at)
    if copy.ttl <= 0:
        return None
    with run.aside():
        fate = _sent(at, copy, tee)
    if fate is None or (fate.verdict in _UNSEEN and (fate.answer is None or fate.verdict == "no-neighbour")):
        return None
    return f"a copy that TEE makes in {at.netns.name}, and that is {fate.verdict} in {fate.netns.name},"


def _copy(at: At) -> Packet:
    copy = at.packet.clone()
    copy.duplicate = True
    copy.connection, copy.ctstate, copy.direction = None, "UNTRACKED", "ORIGINAL"
    copy.in_dev = copy.phys_in = copy.phys_out = None
    copy.bridged = False
    if at.hook in ("PREROUTING", "INPUT"):
        copy.ttl -= 1
    return copy


def _sent(at: At, copy: Packet, tee: Tee) -> Fate | None:
    """Route the copy as if its gateway were its destination, and let it out (nf_dup_ipv4_route, ip_local_out)."""
    key = Key(copy.family, tee.gateway, 0, tos=copy.tos, oif=tee.oif)
    route = routing.output(at.run, at.netns, key, any_source=True)
    if isinstance(route, routing.NoRoute):
        return None
    if route.gateway is None:
        route = replace(route, gateway=(copy.family, tee.gateway))
    copy.out_dev = route.dev
    sending = At(at.run, at.netns, "OUTPUT", copy, route)
    fate = pass_hook(sending, send.reroute)
    if fate is not None:
        return fate
    assert sending.route is not None
    way = sending.route
    return at.run.travel(partial(output.output, at.run, at.netns, way, Frame(copy, at.netns, way.dev)))
