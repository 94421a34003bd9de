"""SYNPROXY: the kernel shakes hands with the client first, and with the server only when the client has proved itself.

Knows nothing of how the client's packets come here (engine.py sends them) or of which rule asked for it.

    client --SYN--> proxy          the rule takes it (`taken`)
    client <-SYN+ACK-- proxy       a cookie, sent through OUTPUT (`syn_ack`)
    client --ACK--> proxy          must meet a SYNPROXY rule again, so conntrack must not have picked it up
    proxy --SYN--> server          with the client's address, through OUTPUT (`server_syn`)
    proxy <-SYN+ACK-- server       taken before it leaves, or is delivered (`take_syn_ack`)
    proxy --ACK--> server, client <-ACK-- proxy

Kernel: net/ipv4/netfilter/ipt_SYNPROXY.c:synproxy_tg4, net/netfilter/nf_synproxy_core.c, net/netfilter/nft_synproxy.c.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from netdoctor.netfilter.effect import CtTemplate
from netdoctor.netfilter.packet import ACK, SYN, Packet
from netdoctor.simulate import routing, send
from netdoctor.simulate.conntrack import tcp_kind
from netdoctor.simulate.run import Fate

if TYPE_CHECKING:
    from netdoctor.simulate.hooks import At
    from netdoctor.simulate.run import Onward, Run

_LOOSE = "net.netfilter.nf_conntrack_tcp_loose"


def taken(at: At, where: dict[str, Any]) -> Fate:
    """Take a client's SYN or ACK away from its way; what bears no cookie of this proxy is dropped.

    Kernel: net/ipv4/netfilter/ipt_SYNPROXY.c:synproxy_tg4, net/netfilter/nf_synproxy_core.c:synproxy_recv_client_ack
    """
    run, netns, packet = at.run, at.netns, at.packet
    asked = run.proxied.setdefault(netns.name, set())
    if tcp_kind(packet.tcp_flags) != "ack":
        asked.add(packet.tuple())
    mine = packet.tuple() in asked
    detail = "SYNPROXY answers it itself" if mine else "SYNPROXY has sent it no cookie"
    dev = packet.in_dev if packet.in_dev is not None else packet.out_dev
    cause = run.cause("rule", netns, interface=dev, detail=detail, drop_reason="NETFILTER_DROP", **where)
    return Fate("dropped", netns, dev, packet, cause, silent=True, proxied=mine)


def syn_ack(run: Run, fate: Fate) -> Onward:
    """Answer the client's SYN with a cookie, by the connection that the SYN may have (synproxy_send_client_synack)."""
    asked = fate.packet
    back = _made(fate, asked, reverse=True)
    back.tcp_flags = SYN | ACK
    if asked.connection is not None:
        back.connection, back.ctstate, back.direction = asked.connection, "ESTABLISHED", "REPLY"
    return partial(send.send, run, fate.netns, back, any_source=True)


def server_syn(run: Run, fate: Fate) -> Onward:
    """Open the connection to the server, with the client's addresses (synproxy_send_server_syn)."""
    syn = _made(fate, fate.packet)
    syn.tcp_flags = SYN
    run.step("synproxy", fate.netns, syn, note="the client answered the cookie: the server gets a SYN of the proxy")
    return partial(send.send, run, fate.netns, syn, any_source=True, template=CtTemplate(synproxy=True))


def not_answered(run: Run, fate: Fate, end: Fate, what: str) -> Fate:
    """Return how a flow ends where `end` is what became of `what` (synproxy_send_client_synack).

    The client's TCP believes that it is connected, or goes on asking; the server hears nothing.
    """
    netns = fate.netns
    why = end.cause.detail or end.cause.text if end.cause is not None else None
    detail = f"SYNPROXY answers, but {what}: {why or end.verdict}"
    if end.verdict == "unknown":
        return Fate("unknown", netns, fate.interface, fate.packet, run.cause("unmodelled", netns, detail=detail))
    if end.cause is not None and end.verdict not in ("delivered", "refused"):
        return Fate(
            "dropped", netns, fate.interface, fate.packet,
            msgspec.structs.replace(end.cause, detail=detail, step=run.last_step()), silent=True,
        )  # fmt: skip
    loose = netns.number(_LOOSE, 1)
    if loose:
        detail = f"SYNPROXY answers, but {what}: conntrack takes it for a connection ({_LOOSE} is {loose})"
    cause = run.cause("conntrack", netns, detail=detail, sysctl=_LOOSE if loose else None)
    return Fate("dropped", netns, fate.interface, fate.packet, cause, silent=True)


def take_syn_ack(at: At) -> Fate | None:
    """Take the server's SYN+ACK, acknowledge it, and tell the client that data may come; None for any other packet.

    Kernel: net/netfilter/nf_synproxy_core.c:ipv4_synproxy_hook
    """
    packet, run, netns = at.packet, at.run, at.netns
    connection = packet.connection
    if connection is None or not connection.proxied or tcp_kind(packet.tcp_flags) != "synack":
        return None
    if packet.direction != "REPLY" or "lo" in (packet.in_dev, packet.out_dev):
        return None
    fate = Fate("dropped", netns, packet.in_dev, packet)
    run.step(
        "synproxy", netns, packet, hook=at.hook, note="the server's answer is for the proxy: the client gets an ACK"
    )
    acknowledges = _made(fate, packet, reverse=True)
    forward = _made(fate, packet)
    acknowledges.tcp_flags = forward.tcp_flags = ACK
    with run.aside():
        run.phase = "next"
        run.travel(partial(send.send, run, netns, acknowledges, any_source=True))
    forward.connection, forward.ctstate, forward.direction = connection, "ESTABLISHED", "REPLY"
    return run.travel(partial(send.send, run, netns, forward, any_source=True))


def _made(fate: Fate, like: Packet, *, reverse: bool = False) -> Packet:
    """A segment of the proxy, between the ends that another one has (synproxy_build_ip, synproxy_send_tcp)."""
    src, dst = (like.dst, like.src) if reverse else (like.src, like.dst)
    sport, dport = (like.dport, like.sport) if reverse else (like.sport, like.dport)
    return Packet(
        like.family, like.proto, src, dst, sport=sport, dport=dport, df=True, size=like.size,
        ttl=routing.default_ttl(fate.netns, like.family), tcp_mss=like.tcp_mss, tcp_options=like.tcp_options,
    )  # fmt: skip
