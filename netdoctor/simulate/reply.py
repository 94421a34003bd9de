"""The answer, and the next packet in the original direction: made from what arrived. Knows nothing of their ways.

Kernel: net/ipv4/tcp_ipv4.c:tcp_v4_send_synack, net/ipv4/icmp.c:icmp_reply, net/ipv4/udp.c:udp_sendmsg.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import ACK, ICMP, ICMPV6, PSH, SYN, TCP, UDP, Packet
from netdoctor.simulate import sockets, tcp
from netdoctor.simulate.flows import default_size

if TYPE_CHECKING:
    from netdoctor.model.flow import Flow
    from netdoctor.netfilter.packet import Family
    from netdoctor.simulate.run import Fate
    from netdoctor.topology.namespace import Netns


def answer(flow: Flow, fate: Fate) -> Packet:
    """Return the first answer to a delivered request, as its socket or the kernel makes it.

    Kernel: net/ipv4/tcp_ipv4.c:tcp_v4_send_synack, net/ipv4/icmp.c:icmp_reply
    """
    request, netns = fate.packet, fate.netns
    family, proto = request.family, request.proto
    reply = Packet(
        family, proto, request.dst, request.src,
        sport=request.dport, dport=request.sport,
        sport_range=request.sport_range if request.sport is None else None,
        size=flow.reply_size if flow.reply_size is not None else default_size(family, proto),
        ttl=0,
        df=proto == TCP,
    )  # fmt: skip
    if proto in (ICMP, ICMPV6):
        reply.icmp_type = 0 if family == 4 else 129
        reply.icmp_code, reply.icmp_id = 0, request.icmp_id
        reply.sport = reply.dport = None
        reply.sport_range = request.sport_range
        reply.mark = request.mark if _reflects(netns, family) else 0
        reply.payload = request.payload
        reply.tos = request.tos
        reply.kernel_socket = True  # icmp_push_reply
        return reply
    reply.has_socket = True
    if fate.socket is not None:
        reply.uid, reply.mark = fate.socket.uid, fate.socket.mark
    if proto == TCP:
        reply.tcp_flags = SYN | ACK
        reply.tcp_options = tcp.synack_options(netns, request.tcp_options)
        reply.tcp_mss = 1460 if family == 4 else 1440
        if netns.number("net.ipv4.tcp_fwmark_accept", 0):
            reply.mark = request.mark
        return reply
    if proto == UDP and request.steered is None and (fate.socket is None or sockets.bound_to(fate.socket) is None):
        reply.src = 0  # bound to every address: the route chooses
    return reply


def _reflects(netns: Netns, family: Family) -> bool:
    return bool(netns.number("net.ipv4.fwmark_reflect" if family == 4 else "net.ipv6.fwmark_reflect", 0))


def next_packet(sent: Packet) -> Packet:
    """Return what follows in the original direction: TCP's ACK with data, a second datagram, a second echo request.

    Kernel: net/ipv4/tcp_output.c:tcp_send_ack
    """
    following = sent.clone()
    following.connection, following.ctstate, following.direction = None, None, "ORIGINAL"
    following.in_dev = following.out_dev = following.phys_in = following.phys_out = None
    following.bridged = False
    if sent.proto == TCP:
        following.tcp_flags = ACK | PSH
        following.tcp_mss = None
        following.tcp_options = tcp.established_options(sent.tcp_options)
    return following
