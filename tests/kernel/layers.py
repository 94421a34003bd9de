"""Hosts whose namespaces and devices a script makes with ip(8), asked twice: the simulator and the kernel.

In a script `ns NAME` makes a namespace and `at NAME COMMAND ...` runs something in it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from differential import Call, snapshot

from netdoctor.lab import process
from netdoctor.lab.lab import TRAFFIC
from netdoctor.lab.topology import Host, Topology, Wire
from netdoctor.model.flow import Flow
from netdoctor.simulate.engine import Simulator
from netdoctor.topology.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from netdoctor.lab.lab import Lab

ASK_MANY = str(Path(__file__).with_name("ask_many.py"))
PATIENCE = 2.5 if os.environ.get("NETDOCTOR_GUEST") else 1.0  # seconds: an emulated processor is slow
PRELUDE = """set -e
ns() {
  ip netns add "$1"; ip -n "$1" link set lo up
  ip netns exec "$1" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
}
at() { place=$1; shift; ip netns exec "$place" "$@"; }
pair() { # NAMESPACE DEV MAC PORT: a veth pair between a namespace and the host
  ip link add "$4" type veth peer name "$2" address "$3" netns "$1"; ip link set "$4" up; ip -n "$1" link set "$2" up
}
"""
SERVERS = [("tcp", "", 80), ("udp", "", 53)]


class Layers:
    """One or several hosts, each made by its script; every namespace in `servers` answers on 80/tcp and 53/udp.

    A place is a host's name, or HOST/NAMESPACE.
    """

    def __init__(
        self,
        build: Callable[..., Lab],
        scripts: Mapping[str, str],
        *,
        servers: Iterable[str],
        wires: Sequence[Wire] = (),
    ) -> None:
        hosts = tuple(Host(name=name, commands=(("sh", "-c", PRELUDE + text),)) for name, text in scripts.items())
        self.lab = build(Topology(about="layers", hosts=hosts, wires=tuple(wires)))
        for place in servers:
            words = self.lab.words(
                *self._in(place, [sys.executable, "-I", "-S", TRAFFIC, "serve", json.dumps(SERVERS)])
            )
            self.lab._processes.append(process.start(words))

    def _in(self, place: str, words: list[str]) -> tuple[str, list[str]]:
        host, _, netns = place.partition("/")
        return host, ["ip", "netns", "exec", netns, *words] if netns else words

    def sh(self, place: str, script: str) -> str:
        """Run a script somewhere; it must succeed."""
        return self.lab.run(*self._in(place, ["sh", "-ec", PRELUDE + script]), check=True).stdout

    def world(self) -> World:
        """Take a snapshot of every host."""
        taken = {host.name: snapshot(self.lab, host.name) for host in self.lab.topology.hosts}
        return World(taken if len(taken) > 1 else next(iter(taken.values())))

    def disagreements(self, calls: Iterable[Call]) -> list[str]:
        """Ask both about each call; return one line for each answer that differs, an `unknown` among them."""
        simulator = Simulator(self.world())
        asked: dict[str, list[Call]] = {}
        for call in calls:
            asked.setdefault(call.place, []).append(call)
        return [
            line
            for place, some in asked.items()
            for call, real in zip(some, self._ask(place, some), strict=True)
            if (line := self._compare(simulator, call, real))
        ]

    def _ask(self, place: str, calls: list[Call]) -> list[dict[str, object]]:
        for host in self.lab.topology.hosts:  # who was asked before has learnt who asks
            self.sh(host.name, "ip neigh flush all; ip -all netns exec ip neigh flush all")
        flows = [
            {"proto": call.proto, "dst": call.address, "dport": call.port, "timeout": PATIENCE}
            | ({} if call.port else {"sport": number + 1})
            for number, call in enumerate(calls)
        ]
        words = [sys.executable, "-I", "-S", ASK_MANY, TRAFFIC, json.dumps(flows)]
        return json.loads(self.lab.run(*self._in(place, words), check=True).stdout)

    def _compare(self, simulator: Simulator, call: Call, real: dict[str, object]) -> str | None:
        """Where chance decides, the kernel must have done one of the things that may happen."""
        host, _, netns = call.place.partition("/")
        sender = netns or "host"
        if len(self.lab.topology.hosts) > 1:
            sender = f"{host}:{sender}"
        trace = simulator.trace(Flow(from_=sender, to=call.address, proto=call.proto, dport=call.port))
        peers = {one.final.src for one in trace.outcomes if one.final is not None and one.connects == "yes"}
        seen = str(real["peer"]).partition(" ")[0] if real["peer"] else None
        said = {one.connects for one in trace.outcomes} if trace.connects == "sometimes" else {trace.connects}
        if real["connects"] in said and (real["connects"] == "no" or seen is None or seen in peers):
            return None
        causes = sorted({f"{(o.reply or o).cause or o.cause or o.verdict}" for o in trace.outcomes})
        return f"{call}: simulated {trace.connects} as {peers} ({causes}), kernel {real}"


def everyone(places: Mapping[str, Sequence[str]]) -> list[Call]:
    """Every place calls every other's addresses: echo requests, TCP and UDP."""
    return [
        Call(place, address, proto, port)
        for place in places
        for other, addresses in places.items()
        if other != place
        for address in addresses
        for proto, port in (("icmpv6" if ":" in address else "icmp", None), ("tcp", 80), ("udp", 53))
    ]
