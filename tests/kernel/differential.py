"""One question asked twice: the simulator, of a snapshot, and the kernel, of which the snapshot was taken."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netdoctor.lab.topology import pod_name
from netdoctor.model import store
from netdoctor.model.flow import Flow
from netdoctor.simulate.engine import Simulator
from netdoctor.topology.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netdoctor.lab.lab import Lab
    from netdoctor.lab.topology import Host, Topology
    from netdoctor.model.snapshot import Snapshot
    from netdoctor.simulate.trace import Trace

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from netdoctor.cli.main import main; main(['snapshot', '-o', '-'])"
)
PATIENCE = 0.4  # seconds; nothing in a lab is further away
CLOSED = 9  # a port on which nobody listens


@dataclass(frozen=True, slots=True)
class Call:
    """A real client's call: where it runs, an address, and a port or none for echo requests."""

    place: str
    address: str
    proto: str
    port: int | None = None

    def __str__(self) -> str:
        port = f":{self.port}/{self.proto}" if self.port else ""
        return f"{self.place} -> {self.address}{port}"


def snapshot(lab: Lab, host: str) -> Snapshot:
    """Take a snapshot inside one host."""
    done = lab.run(host, [sys.executable, "-c", PROGRAM, str(CHECKOUT)], timeout=300, check=True)
    return store.decode(done.stdout.encode(), host)


def disagreements(lab: Lab, calls: Iterable[Call]) -> list[str]:
    """Ask both about each call; return one line for each answer that differs. An `unknown` is no answer.

    The snapshot is the first host's; other hosts are the outside, which answers.
    """
    simulator = Simulator(World(snapshot(lab, lab.topology.hosts[0].name)), outside_answers=True)
    return [line for call in calls if (line := _disagreement(lab, simulator, call))]


def _disagreement(lab: Lab, simulator: Simulator, call: Call) -> str | None:
    real = lab.client(Flow(from_=call.place, to=call.address, proto=call.proto, dport=call.port), timeout=PATIENCE)
    sender = _seen_from_first_host(lab.topology, call)
    trace = simulator.trace(Flow(from_=sender, to=call.address, proto=call.proto, dport=call.port))
    simulated = "no" if _leaves_for_nobody(lab.topology, trace) else trace.connects
    if simulated == real.connects:
        return None
    causes = sorted({one.cause.kind if one.cause else one.verdict for one in trace.outcomes})
    return f"{call}: simulated {simulated} ({', '.join(causes)}), kernel {real.connects} {real.error or ''}".rstrip()


def _leaves_for_nobody(topology: Topology, trace: Trace) -> bool:
    """Return whether packets go to an address, or by a next hop, that no other host has: nobody answers."""
    far = {one.partition("/")[0] for host in topology.hosts[1:] for one in _addresses(topology, host.name)}
    finals = [one.final for one in trace.outcomes if one.verdict == "left"]
    return any(final is not None and not {final.dst, final.next_hop or final.dst} <= far for final in finals)


def everyone_to_everything(topology: Topology) -> Iterator[Call]:
    """Every place calls every service, every server by each of its addresses, a closed port, and pings.

    What stands in no snapshot is not asked: closed ports of other hosts, and ways that only they know.
    """
    first = topology.hosts[0]
    own, far = set(_targets(topology, first)), {one for host in topology.hosts[1:] for one in _targets(topology, host)}
    services = {(one.address, one.proto, one.port) for one in topology.services}
    for place in (first.name, *(pod_name(pod) for pod in first.pods)):
        for address, proto, port in sorted(services | own | {one for one in far if one[2] != CLOSED}, key=str):
            yield Call(place, address, proto, port)
    public = {one.partition("/")[0] for one in _wired(topology, first.name)}
    for host in topology.hosts[1:]:
        for address, proto, port in sorted((one for one in own if one[0] in public), key=str):
            yield Call(host.name, address, proto, port)


def _targets(topology: Topology, host: Host) -> Iterator[tuple[str, str, int | None]]:
    places = [(host.servers, _addresses(topology, host.name)), *((pod.servers, pod.addresses) for pod in host.pods)]
    for servers, addresses in places:
        for address in (one.partition("/")[0] for one in addresses):
            yield from ((address, one.proto, one.port) for one in servers if one.address in {"", address})
            yield address, "icmpv6" if ":" in address else "icmp", None
            yield address, "tcp", CLOSED


def _addresses(topology: Topology, name: str) -> list[str]:
    found = [one for host in topology.hosts if host.name == name for bridge in host.bridges for one in bridge.addresses]
    found += _wired(topology, name)
    return found + [one for host in topology.hosts if host.name == name for one in host.loopback]


def _wired(topology: Topology, name: str) -> list[str]:
    return [
        one
        for wire in topology.wires
        for host, addresses in zip(wire.hosts, wire.addresses, strict=True)
        if host == name
        for one in addresses
    ]


def _seen_from_first_host(topology: Topology, call: Call) -> str:
    """Return FROM: `host`, a pod's name, or the address by which another host's packets come."""
    first = topology.hosts[0]
    if call.place == first.name:
        return "host"
    if call.place in {pod_name(pod) for pod in first.pods}:
        return call.place
    addresses = [one.partition("/")[0] for one in _addresses(topology, call.place)]
    return next(one for one in addresses if _family(one) == _family(call.address))


def _family(address: str) -> str:
    return "ip6" if ":" in address else "ip"
