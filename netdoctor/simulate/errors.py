"""What the sender learns when a packet does not get through: the ICMP error or reset on its way back, and the errno.

Knows nothing of why the packet died. Kernel: net/ipv4/icmp.c:icmp_send, icmp_err_convert; net/ipv6/icmp.c;
net/ipv4/netfilter/nf_reject_ipv4.c; net/ipv4/tcp_ipv4.c:tcp_v4_err; net/ipv4/udp.c:__udp4_lib_err.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import ACK, ICMP, ICMPV6, RST, TCP, UDP, Packet, format_address
from netdoctor.simulate import device, routing, send
from netdoctor.simulate.conntrack import ICMP_ERRORS
from netdoctor.simulate.frame import Frame
from netdoctor.simulate.trace import SenderError
from netdoctor.topology.addresses import is_multicast

if TYPE_CHECKING:
    from netdoctor.simulate.flows import Resolved
    from netdoctor.simulate.run import Answer, Fate, Onward, Run

# name: type, code, errno, whether a connected UDP socket is told (icmp_err_convert[].fatal)
ICMP_NAMES: dict[str, tuple[int, int, str, bool]] = {
    "icmp-net-unreachable": (3, 0, "ENETUNREACH", False),
    "icmp-host-unreachable": (3, 1, "EHOSTUNREACH", False),
    "icmp-proto-unreachable": (3, 2, "ENOPROTOOPT", True),
    "icmp-port-unreachable": (3, 3, "ECONNREFUSED", True),
    "frag-needed": (3, 4, "EMSGSIZE", True),
    "icmp-net-prohibited": (3, 9, "ENETUNREACH", True),
    "icmp-host-prohibited": (3, 10, "EHOSTUNREACH", True),
    "icmp-admin-prohibited": (3, 13, "EHOSTUNREACH", True),
    "ttl-exceeded": (11, 0, "EHOSTUNREACH", False),
    "icmp6-no-route": (1, 0, "ENETUNREACH", False),
    "icmp6-adm-prohibited": (1, 1, "EACCES", True),
    "icmp6-beyond-scope": (1, 2, "EHOSTUNREACH", False),
    "icmp6-addr-unreachable": (1, 3, "EHOSTUNREACH", False),
    "icmp6-port-unreachable": (1, 4, "ECONNREFUSED", True),
    "icmp6-policy-fail": (1, 5, "EACCES", True),
    "icmp6-reject-route": (1, 6, "EACCES", True),
    "packet-too-big": (2, 0, "EMSGSIZE", True),
    "hop-limit-exceeded": (3, 0, "EHOSTUNREACH", False),
}


def learned(run: Run, resolved: Resolved, fate: Fate) -> SenderError | None:
    """Return what the sender of a request learns of its fate; None where it got through or nobody can say.

    Kernel: net/ipv4/tcp_ipv4.c:tcp_v4_err, net/ipv4/udp.c:__udp4_lib_err
    """
    if fate.verdict in ("delivered", "left", "unknown"):
        return None
    packet = fate.packet
    local = resolved.local and fate.netns is resolved.netns and packet.has_socket
    if fate.answer is not None:
        told = _tell(run, resolved, fate, fate.answer)
        if fate.verdict == "rejected" and local and packet.proto != TCP:
            return SenderError("local", told.icmp, told.from_, told.reaches_sender, "EPERM")
        if told.reaches_sender is not False:
            return told
        return SenderError("timeout", told.icmp, told.from_, reaches_sender=False, errno=_timeout(packet))
    if local and fate.errno is not None and not (fate.silent and packet.proto == TCP):
        return SenderError("local", reaches_sender=True, errno=fate.errno)
    return SenderError("timeout", None, None, None, _timeout(packet))


def _timeout(packet: Packet) -> str | None:
    return "ETIMEDOUT" if packet.proto == TCP else None


def _tell(run: Run, resolved: Resolved, fate: Fate, answer: Answer) -> SenderError:
    """Send the error back, and see what the sender learns (icmp_send, nf_send_reset)."""
    offending = fate.packet
    if answer.kind in ("tcp-reset", "icmp6-tcp-reset", "tcp-rst"):
        back = _reset(offending)
        kind = "reset"
    else:
        made = _icmp_error(offending, answer)
        if made is None:
            return SenderError("timeout", None, None, None, _timeout(offending))
        back = made
        kind = "icmp"
    if fate.verdict == "rejected" and offending.connection is not None:
        back.connection, back.ctstate = offending.connection, "RELATED"  # nf_ct_attach
        back.direction = "REPLY" if offending.direction == "ORIGINAL" else "ORIGINAL"
    with run.aside():
        run.phase = "next"
        end = run.travel(_start(run, fate, answer, back, kind))
    name = None if kind == "reset" else answer.kind
    origin = format_address(end.packet.family, end.packet.src) if end.packet.src else None
    reaches = None if end.verdict == "unknown" else _arrived(resolved, end)
    errno = _errno(resolved, kind, answer.kind) if reaches else None
    return SenderError("reset" if kind == "reset" else "icmp", name, origin, reaches, errno)


def _start(run: Run, fate: Fate, answer: Answer, back: Packet, kind: str) -> Onward:
    """Where the error sets out: from the namespace itself, or straight out of the bridge port (nf_send_reset)."""
    offending = fate.packet
    port = answer.netns.link(offending.phys_in) if answer.bridge is not None else None
    if kind == "reset" and port is not None:
        back.src_mac, back.dst_mac = offending.dst_mac, offending.src_mac
        back.ttl = routing.default_ttl(answer.netns, back.family)  # nf_reject_skb_v4_tcp_reset
        frame = Frame(back, answer.netns, answer.bridge)
        return partial(device.transmit, run, answer.netns, port, frame)
    return partial(send.send, run, answer.netns, back, any_source=True)


def _reset(offending: Packet) -> Packet:
    return Packet(
        offending.family, TCP, offending.dst, offending.src, sport=offending.dport, dport=offending.sport,
        sport_range=offending.sport_range, tcp_flags=RST | ACK, ttl=0,
        size=40 if offending.family == 4 else 60,
    )  # fmt: skip


def _icmp_error(offending: Packet, answer: Answer) -> Packet | None:
    """The error, with the packet that it is about inside; none is sent about another error (icmp_send)."""
    known = ICMP_NAMES.get(answer.kind)
    if known is None or is_multicast(offending.family, offending.dst):
        return None
    if offending.proto in ICMP_ERRORS and offending.icmp_type in ICMP_ERRORS[offending.proto]:
        return None
    family = offending.family
    own = offending.dst if routing.is_local(answer.netns, family, offending.dst) else 0
    inner = offending.clone()
    return Packet(
        family, ICMP if family == 4 else ICMPV6, own, offending.src, icmp_type=known[0], icmp_code=known[1],
        ttl=0, inner=inner, size=min(576 if family == 4 else 1280, 28 + offending.size),
    )  # fmt: skip


def _arrived(resolved: Resolved, end: Fate) -> bool:
    """Whether the error reached the sender and is about its flow (tcp_v4_err, __udp4_lib_err)."""
    if not resolved.local:
        return end.verdict == "left"
    if end.verdict != "delivered" or end.netns is not resolved.netns:
        return False
    sent = resolved.sent
    inner = end.packet.inner
    if inner is not None:
        return (inner.src, inner.dst, inner.sport, inner.dport) == (sent.src, sent.dst, sent.sport, sent.dport)
    back = end.packet
    return (back.dst, back.src, back.dport, back.sport) == (sent.src, sent.dst, sent.sport, sent.dport)


def _errno(resolved: Resolved, kind: str, name: str) -> str | None:
    if kind == "reset":
        return "ECONNREFUSED"
    _, _, errno, fatal = ICMP_NAMES[name]
    if resolved.sent.proto == UDP and not fatal:
        return None
    return errno
