"""The simulator: a flow in, a trace out. One walk is one whole round trip; it is walked once for each path of choices.

Knows nothing of how a packet moves (the files named after the kernel's parts do) or of what a diagnosis is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from netdoctor.netfilter.packet import ACK, ICMP, ICMPV6, family_name, format_address
from netdoctor.simulate import bypass, choices, device, errors, flows, layer2, receive, reply, send, synproxy
from netdoctor.simulate.frame import OUTSIDE, Frame
from netdoctor.simulate.run import Fate, Onward, Options, Run, port_of
from netdoctor.simulate.trace import Cause, Outcome, Reply, SenderError, Trace
from netdoctor.topology import wire
from netdoctor.topology.addresses import with_port

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from netdoctor.model.flow import Flow
    from netdoctor.model.snapshot import Link
    from netdoctor.netfilter.packet import Packet
    from netdoctor.simulate.choices import Choices
    from netdoctor.simulate.flows import Resolved
    from netdoctor.simulate.trace import Connects
    from netdoctor.topology.namespace import Netns
    from netdoctor.topology.world import World


class Simulator:
    """Asks a world what becomes of flows."""

    def __init__(
        self,
        world: World,
        *,
        outside_answers: bool = False,
        fresh: bool = False,
        steps: bool = True,
        max_branches: int = 256,
    ) -> None:
        """`outside_answers`: what left is answered; `fresh`: no conntrack entries; `steps`: whether the way is written
        down, or only where it ends; `max_branches`: forks at most.
        """
        self.world = world
        self.options = Options(outside_answers=outside_answers, fresh=fresh, steps=steps)
        self.max_branches = max_branches

    def trace(self, flow: Flow) -> Trace:
        """Follow one flow there and back. Raises: FlowError, UnknownNamespaceError."""
        flows.resolve(self.world, flow)  # a flow that cannot be asked is an error, not an outcome
        assumed: dict[str, None] = {}

        def walk(taken: Choices) -> Outcome:
            run = Run(self.world, taken, self.options)
            outcome = _round_trip(run, flows.resolve(self.world, flow))
            assumed.update(run.assumed)
            return outcome

        leaves, complete = choices.explore(walk, self.max_branches)
        shares = choices.merge(leaves, _key)
        outcomes = [
            msgspec.structs.replace(share.value, probability=_rounded(share.probability), undecided=share.assumed)
            for share in shares
        ]
        if not complete:
            outcomes = [msgspec.structs.replace(outcome, probability=None) for outcome in outcomes]
            outcomes.append(_too_many(self.world, flow, self.max_branches))
        return Trace(flow.id, flow, _connects(outcomes), tuple(assumed), tuple(outcomes))


def _rounded(probability: float | None) -> float | None:
    return None if probability is None else round(probability, 9)


def _key(outcome: Outcome) -> Hashable:
    """What makes two outcomes equal: everything but the way there."""

    def of(part: Outcome | Reply | None) -> Hashable:
        if part is None:
            return None
        cause = None if part.cause is None else msgspec.structs.replace(part.cause, step=None)
        return (part.verdict, part.final, cause, part.error)

    return (of(outcome), of(outcome.reply), of(outcome.next), outcome.connects)


def _too_many(world: World, flow: Flow, limit: int) -> Outcome:
    netns = world.first().name
    detail = f"more than {limit} ways are possible: the others were not followed"
    cause = Cause(kind="unmodelled", netns=netns, detail=detail)
    return Outcome(None, "unknown", None, cause, None, (), undecided=(f"flow {flow.id or flow.to}: {detail}",))


def _connects(outcomes: Sequence[Outcome]) -> Connects:
    """Say whether the flow connects: what every outcome says, else whether the sure ones already differ."""
    said = {outcome.connects for outcome in outcomes}
    if len(said) == 1:
        return said.pop()
    sure = {outcome.connects for outcome in outcomes if outcome.probability is not None}
    if {"yes", "no"} <= sure and (sure == said or "unknown" not in sure):
        return "sometimes"
    if said == {"yes", "no"} and all(outcome.probability is not None for outcome in outcomes):
        return "sometimes"
    return "unknown"


def _round_trip(run: Run, resolved: Resolved) -> Outcome:
    """Walk a request, its answer, and the next packet."""
    fate = run.travel(_start(run, resolved, resolved.packet))
    if fate.proxied:
        fate = _proxied(run, resolved, fate)
    if resolved.sent is None:  # it never got a source
        flows.with_source(resolved, resolved.packet)
    outcome = Outcome(1.0, fate.verdict, fate.final(), fate.cause, None, tuple(run.steps), connects="no")
    if fate.verdict == "unknown":
        return msgspec.structs.replace(outcome, connects="unknown")
    if fate.verdict == "left":
        return _left(run, resolved, fate, outcome)
    if fate.verdict != "delivered":
        return msgspec.structs.replace(outcome, error=errors.learned(run, resolved, fate))
    if fate.packet.proto in (ICMP, ICMPV6) and fate.packet.icmp_type not in (8, 128):
        return msgspec.structs.replace(outcome, connects="unknown")
    return _answered(run, resolved, fate, outcome, _reply_to(run, resolved, fate))


def _proxied(run: Run, resolved: Resolved, fate: Fate) -> Fate:
    """SYNPROXY shakes hands with the client, and then opens the connection to the server (synproxy_tg4)."""
    with run.aside():
        run.phase = "next"
        back = run.travel(synproxy.syn_ack(run, fate))
        if not _accepts(resolved, back)[0]:
            return synproxy.not_answered(run, fate, back, "its SYN+ACK does not get to the client")
        run.hops, run.visited = 0, set()
        ack = reply.next_packet(resolved.sent)
        ack.tcp_flags = ACK
        end = run.travel(_start(run, resolved, ack))
    if not end.proxied or end.netns is not fate.netns:
        return synproxy.not_answered(run, fate, end, "the client's ACK does not come to it")
    return run.travel(synproxy.server_syn(run, end))


def _start(run: Run, resolved: Resolved, packet: Packet) -> Onward:
    """The first stage of a packet in the original direction."""
    if resolved.local:
        return partial(_send, run, resolved, packet)
    link = resolved.netns.link(resolved.in_dev)
    assert link is not None
    flows.with_source(resolved, packet)
    frame = Frame(packet, resolved.netns, link.name)
    bridge = resolved.netns.bridge_of(link)
    if packet.dst_mac is None:
        packet.dst_mac = _asked_for(resolved.netns, link, packet) or (link.mac if bridge is None else bridge.mac)
    if packet.src_mac is None:
        packet.src_mac = OUTSIDE
    # Who sends from the same wire has asked for an address of here before, and is known since (neigh_event_ns).
    for dev in (link.name, *(() if bridge is None else (bridge.name,))):
        run.learned.setdefault((resolved.netns.name, dev, packet.family, packet.src), packet.src_mac)
    if link.kind == "bridge":  # no port is known: it comes up from the bridge itself
        packet.pkttype = "host"
        fate = layer2.ingress(run, resolved.netns, link, frame)
        return fate or partial(receive.receive_ip, run, resolved.netns, link, frame)
    return partial(device.from_outside, run, resolved.netns, link, frame)


def _asked_for(netns: Netns, link: Link, packet: Packet) -> str | None:
    """The MAC that the outside has for a destination on its own wire: of the one who has the address there."""
    for station in wire.heard(netns, link).stations:
        if any(value == packet.dst for value, _ in station.netns.interface_addresses(station.link, packet.family)):
            return station.link.mac
    return None


def _send(run: Run, resolved: Resolved, packet: Packet) -> Onward:
    """Send from a process; what it sent is noted when its source is known, before OUTPUT changes anything."""

    def chosen(packet: Packet) -> None:
        flows.with_source(resolved, packet)
        run.client = (resolved.netns, resolved.sent)

    connected = run.phase == "next" and resolved.chosen and packet.proto != ICMPV6
    return send.send(run, resolved.netns, packet, connects=True, connected=connected, chosen=chosen)


def _reply_to(run: Run, resolved: Resolved, fate: Fate) -> Onward:
    """The first stage of the answer to a delivered packet."""
    back = reply.answer(resolved.flow, fate)
    oif = fate.interface if fate.packet.family == 6 and fate.packet.src >> 118 == 0x3FA else None
    return partial(_send_reply, run, fate, back, oif)


def _send_reply(run: Run, fate: Fate, back: Packet, oif: str | None) -> Onward:
    preferred = fate.interface if back.proto == ICMPV6 else None
    foreign = fate.packet.steered is not None  # a transparent socket answers from an address that is not its own
    return send.send(run, fate.netns, back, oif=oif, preferred=preferred, any_source=foreign)


def _left(run: Run, resolved: Resolved, fate: Fate, outcome: Outcome) -> Outcome:
    """The packet left the snapshot. Where the outside answers, it answers only to an address of who sent it."""
    outcome = msgspec.structs.replace(outcome, connects="unknown")
    if not run.options.outside_answers or not fate.leaves_home or fate.exit is None:
        return outcome
    packet = fate.packet
    source = format_address(packet.family, packet.src)
    senders = {fate.netns.name} | ({fate.sender.name} if fate.sender is not None else set())
    owners = [owner.name for owner in run.world.owners(packet.family, packet.src)]
    if not senders & set(owners):
        detail = (
            f"the outside has no way back to {source}: it is no address of {fate.netns.name}, and nothing translated it"
        )
        cause = run.cause(
            "route", fate.netns, interface=fate.interface, detail=detail, family=family_name(packet.family)
        )
        lost = Reply("unreachable", None, matches_flow=False, cause=cause, error=None, steps=())
        return msgspec.structs.replace(outcome, reply=lost, connects="no")
    run.assume(f"{format_address(packet.family, packet.dst)} answers: it is outside the snapshot")
    back = reply.answer(resolved.flow, fate)
    back.has_socket, back.uid, back.ttl = False, None, 64
    if not back.src:
        back.src = packet.dst
    back.src_mac, back.dst_mac = OUTSIDE, packet.src_mac
    netns, link = fate.exit
    frame = Frame(back, netns, link.name)
    return _answered(run, resolved, fate, outcome, partial(device.from_outside, run, netns, link, frame))


def _answered(run: Run, resolved: Resolved, fate: Fate, outcome: Outcome, first: Onward) -> Outcome:
    """Walk the answer; if the sender takes it, walk the next packet."""
    there = len(run.steps)
    run.phase, run.hops, run.visited = "reply", 0, set()
    run.passed = {}
    end = run.travel(first)
    matches, wrong = _accepts(resolved, end)
    cause = end.cause
    if not matches and end.verdict in ("delivered", "left"):
        cause = bypass.explain(run, resolved, end, there, wrong)
    elif matches:
        run.step("deliver", end.netns, end.packet, action="accept", note="the sender takes the answer")
    answer = Reply(end.verdict, end.final(), matches, cause, _reply_error(end), tuple(run.steps[there:]))
    outcome = msgspec.structs.replace(outcome, reply=answer)
    if end.verdict == "unknown" or (end.verdict == "left" and resolved.local):
        return msgspec.structs.replace(outcome, connects="unknown")
    if not matches:
        return msgspec.structs.replace(outcome, connects="no")
    return _followed(run, resolved, fate, outcome)


def _followed(run: Run, resolved: Resolved, fate: Fate, outcome: Outcome) -> Outcome:
    """Walk the next packet in the original direction; it must arrive where the first one did."""
    here = len(run.steps)
    run.phase, run.hops, run.visited = "next", 0, set()
    end = run.travel(_start(run, resolved, reply.next_packet(resolved.sent)))
    same = end.verdict == fate.verdict and not end.proxied and (end.netns, end.packet.dst, end.packet.dport) == (
        fate.netns, fate.packet.dst, fate.packet.dport,
    )  # fmt: skip
    if not same and end.verdict == "delivered" and end.packet.proto in (ICMP, ICMPV6):
        # Who pings does not notice that another host answers.
        with run.aside():
            run.phase = "next"
            same = _accepts(resolved, run.travel(_reply_to(run, resolved, end)))[0]
    following = Reply(end.verdict, end.final(), same, end.cause, _reply_error(end), tuple(run.steps[here:]))
    said: Connects = "unknown" if end.verdict == "unknown" else "yes" if same else "no"
    return msgspec.structs.replace(outcome, next=following, connects=said)


def _reply_error(end: Fate) -> SenderError | None:
    if end.verdict in ("delivered", "left", "unknown"):
        return None
    return SenderError("timeout")


def _accepts(resolved: Resolved, end: Fate) -> tuple[bool, str]:
    """Whether the sender takes the answer: it must come from whom it called, to where it called from."""
    sent, back = resolved.sent, end.packet
    wanted = "delivered" if resolved.local else "left"
    if end.verdict != wanted:
        return False, ""
    if resolved.local and end.netns is not resolved.netns:
        return False, f"it arrives in {end.netns.name}"
    expected = with_port(sent.family, sent.dst, sent.dport)
    got = with_port(back.family, back.src, port_of(back, "src") if back.proto not in (ICMP, ICMPV6) else None)
    if (back.src, back.sport) != (sent.dst, sent.dport):
        return False, f"expects {expected}, got {got}"
    if (back.dst, back.dport) != (sent.src, sent.sport) or (back.icmp_id != sent.icmp_id):
        there, here = (
            with_port(back.family, back.dst, back.dport),
            with_port(sent.family, sent.src, sent.sport),
        )
        return False, f"it is for {there}, not for {here}"
    return True, ""
