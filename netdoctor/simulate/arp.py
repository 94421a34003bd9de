"""An ARP request and its answer on their way past the rules that see frames.

Knows nothing of who has an address (neighbour.py does). Kernel: net/ipv4/arp.c:arp_send_dst, arp_rcv.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import Arp, Packet
from netdoctor.simulate import device, layer2
from netdoctor.simulate.frame import BROADCAST, OUTSIDE, Frame
from netdoctor.simulate.run import Fate, Run

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Link
    from netdoctor.simulate.trace import Cause
    from netdoctor.topology.namespace import Netns
    from netdoctor.topology.wire import Exit, Station

_SIZE = 28


@dataclass(frozen=True, slots=True)
class Exchange:
    """Whether the question was heard, and the answer too; else what stopped them."""

    heard: bool
    answered: bool
    stopped: Cause | None = None


_UNHINDERED = Exchange(heard=True, answered=True)


def exchange(run: Run, netns: Netns, link: Link, station: Station, sender: int, hop: int) -> Exchange:
    """Say what becomes of a request to a station that would answer, and of its answer (arp_solicit, arp_process)."""
    if not layer2.anywhere(netns.world):
        return _UNHINDERED
    key = ("arp", link.name, station.netns.name, station.link.name, sender, hop)
    return run.remembered(netns, key, lambda: _exchange(run, netns, link, station, sender, hop))


def _exchange(run: Run, netns: Netns, link: Link, station: Station, sender: int, hop: int) -> Exchange:
    stopped = _stopped(run, _sent(run, netns, link, _request(link, sender, hop), station.link.mac, BROADCAST))
    if stopped is not None:
        return Exchange(heard=False, answered=False, stopped=stopped)
    reply = _reply(station.link.mac, link.mac, hop, sender)
    stopped = _stopped(run, _sent(run, station.netns, station.link, reply, link.mac))
    return Exchange(heard=True, answered=stopped is None, stopped=stopped)


def exchange_outside(run: Run, netns: Netns, link: Link, way: Exit, sender: int, hop: int) -> Exchange:
    """Say the same of a station that no snapshot holds: the rules of this end only (arp_solicit, arp_rcv)."""
    if not layer2.anywhere(netns.world):
        return _UNHINDERED
    key = ("arp outside", link.name, way.netns.name, way.link.name, sender, hop)
    return run.remembered(netns, key, lambda: _exchange_outside(run, netns, link, way, sender, hop))


def _exchange_outside(run: Run, netns: Netns, link: Link, way: Exit, sender: int, hop: int) -> Exchange:
    stopped = _stopped(run, _sent(run, netns, link, _request(link, sender, hop), OUTSIDE, BROADCAST))
    if stopped is None:
        reply = _reply(OUTSIDE, link.mac, hop, sender)
        reply.src_mac, reply.dst_mac = OUTSIDE, link.mac
        frame = Frame(reply, way.netns, way.link.name)
        stopped = _stopped(run, run.travel(partial(device.receive, run, way.netns, way.link, frame)))
    return Exchange(heard=False, answered=stopped is None, stopped=stopped)


def _request(link: Link, sender: int, hop: int) -> Packet:
    return Packet(4, 0, sender, hop, size=_SIZE, arp=Arp(1, link.mac, sender, None, hop))


def _reply(mac: str | None, asker_mac: str | None, hop: int, asker: int) -> Packet:
    return Packet(4, 0, hop, asker, size=_SIZE, arp=Arp(2, mac, hop, asker_mac, asker))


def _sent(run: Run, netns: Netns, link: Link, packet: Packet, mac: str | None, group: str | None = None) -> Fate:
    """Let a message out by a device, to one station (arp_xmit)."""
    packet.src_mac, packet.dst_mac, packet.to_group = link.mac, mac, group
    frame = Frame(packet, netns, link.name)
    fate = layer2.arp(run, netns, "OUTPUT", link, frame)
    return fate or run.travel(partial(device.transmit, run, netns, link, frame))


def _stopped(run: Run, fate: Fate) -> Cause | None:
    """What stopped a message, of all that may: rules. The wires were looked at before."""
    cause = fate.cause
    if fate.verdict == "unknown" and cause is not None:
        what = f"{fate.netns.name}: {cause.detail}"
        return None if run.choose([f"{what}: ARP assumed to pass", f"{what}: ARP assumed to be lost"]) == 0 else cause
    if fate.verdict == "dropped" and cause is not None and cause.kind in {"rule", "policy"}:
        return cause
    return None


def receive(run: Run, netns: Netns, link: Link, frame: Frame) -> Fate:
    """A message has come in by a device (arp_rcv)."""
    fate = layer2.arp(run, netns, "INPUT", link, frame)
    return fate or Fate("delivered", netns, link.name, frame.packet)
