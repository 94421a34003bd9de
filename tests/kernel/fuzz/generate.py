"""From a seed to a network: a topology, flows through it, and rulesets that are aimed at the flows.

Knows nothing of namespaces that exist.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.kernel.fuzz import layer2, native, rules, topologies
from tests.kernel.fuzz.network import Call, Network, Step
from tests.kernel.fuzz.topologies import CLOSED, INTERNET, NOBODY, PORTS, VIPS

if TYPE_CHECKING:
    from tests.kernel.fuzz.topologies import Plan

TABLES = ("raw", "mangle", "nat", "filter", "security")
FLOWS = 30
MODES = (
    ("nft",), ("legacy",), ("nft", "legacy"), ("native",), ("native", "nft"), ("native", "legacy"),
    ("nft", "native", "legacy"),
)  # fmt: skip


def network(seed: int, flows: int = FLOWS) -> Network:
    """Return the network of a seed: the same on every machine."""
    rng = random.Random(seed)
    made = topologies.plan(rng)
    backends = _backends(made)
    calls = _calls(made, flows)
    seen = rules.samples(calls, lambda netns, family: _own(made, netns, family), backends)
    steps = made.steps()
    steps += _rulesets(made, seen, backends)
    return Network(
        seed, tuple(made.spaces), tuple(steps), tuple(made.servers), tuple(calls), hidden=frozenset(made.hidden),
        uplinks=dict(made.uplinks), labels=frozenset(made.labels),
    )  # fmt: skip


def _own(made: Plan, netns: str, family: int) -> str:
    """The address by which a place usually sends."""
    found = [value for value, dev in made.spaces[netns].addresses if (":" in value) == (family == 6) and dev != "lo"]
    return found[0] if found else ("127.0.0.1" if family == 4 else "::1")


def _backends(made: Plan) -> dict[str, tuple[str, int]]:
    """Whither virtual addresses lead."""
    found = {}
    for family in made.families:
        pods = [
            value for name, space in made.spaces.items() if name[0] in "pqcs" and name != "peer"
            for value, _ in space.addresses if (":" in value) == (family == 6)
        ]  # fmt: skip
        pods.append(_own(made, "gw", family))
        for vip in VIPS[family]:
            found[vip] = (made.rng.choice(pods), made.rng.choice((53, 80, 8080)))
    return found


def _calls(made: Plan, count: int) -> list[Call]:
    rng = made.rng
    places = [name for name in made.spaces if name != "lan"]
    weights = [3 if name == "node" or name[0] in "pqcm" else 1 for name in places]
    targets = [
        (value, server.port, server.proto)
        for server in made.servers
        for value, _ in made.spaces[server.netns].addresses
        if server.address in {"", value} or (server.address == "0.0.0.0" and ":" not in value)
    ]
    targets += rng.sample([(value, server.port, server.proto) for server in made.servers
                           for value, _ in made.spaces[server.netns].addresses], 8)  # fmt: skip
    calls = []
    for number in range(count):
        family = rng.choice(made.families)
        here = rng.choices(places, weights)[0]
        fitting = [one for one in targets if (":" in one[0]) == (family == 6)]
        kind = rng.choices(("server", "vip", "internet", "echo", "closed", "nobody", "own"), (53, 14, 4, 22, 2, 3, 2))[
            0
        ]
        proto = rng.choice(("tcp", "udp"))
        dst, port = rng.choice(INTERNET[family]), rng.choice(PORTS)
        if kind == "server" and fitting:
            dst, port, proto = rng.choice(fitting)
        elif kind == "vip":
            dst = rng.choice(VIPS[family])
            proto, port = rng.choice((("tcp", 80), ("udp", 53)))
        elif kind == "echo":
            proto, port = "icmp", None
            dst = rng.choice([*[one[0] for one in fitting], dst, *VIPS[family]])
        elif kind == "closed":
            dst, port = rng.choice([one[0] for one in fitting] or [dst]), CLOSED
        elif kind == "nobody":
            dst = rng.choice(NOBODY[family])
        elif kind == "own":
            dst = rng.choice([_own(made, here, family), "127.0.0.1" if family == 4 else "::1"])
        src = None
        if here in made.hidden:
            src = _own(made, here, family) if rng.random() < 0.6 else INTERNET[family][0]
            if dst in {value for value, _ in made.spaces[here].addresses} or kind in {"own", "internet"}:
                dst = _own(made, "node", family)
        elif rng.random() < 0.12:
            own = [value for value, _ in made.spaces[here].addresses if (":" in value) == (family == 6)]
            src = rng.choice(own) if own else None
        seen = here not in made.hidden
        payload = rng.choice((8, 8, 20, 100, 1380 if rng.random() < 0.6 else 30))
        calls.append(Call(
            here, dst, proto, port, 20000 + number, src=src,
            mark=rng.choice(rules.MARKS) if rng.random() < 0.2 and seen else 0,
            uid=rng.choice((1000, 1500)) if rng.random() < 0.12 and proto != "icmp" and seen else None,
            tos=rng.choice((0x10, 0x28, 0x02 if proto != "tcp" else 0x48)) if rng.random() < 0.12 else 0,
            ttl=rng.choice((1, 2, 3, 200)) if rng.random() < 0.06 else None,
            df=rng.choice((True, False)) if rng.random() < 0.15 else None,
            payload=8 if proto == "tcp" else payload,
        ))  # fmt: skip
    return calls


def _rulesets(made: Plan, seen: list[rules.Sample], backends: dict[str, tuple[str, int]]) -> list[Step]:
    rng = made.rng
    steps: list[Step] = []
    if seen and rng.random() < 0.18:
        made.labels.add("rules that see frames")
        netns = rng.choice(["node", "node", "node", *[name for name in made.spaces if name[0] in "pq"]])
        steps.append(layer2.step(rng, made.spaces[netns], seen))
    filtering = ["node"] + [name for name in made.spaces if name[0] in "pqcs" and rng.random() < 0.08]
    for netns in filtering:
        space = made.spaces[netns]
        made_sets, kinds = rules.sets(rng, space, seen) if rng.random() < 0.5 else (None, {})
        if made_sets is not None:
            steps.append(made_sets)
        modes = rng.choices(MODES, (4, 4, 2, 3, 2, 2, 1))[0]
        for backend in modes:
            made.labels.add(f"iptables {backend}" if backend != "native" else "native nft")
            if backend == "native":
                steps.append(native.Native(rng, space, seen, six=made.six).step())
                continue
            for family in made.families:
                likely = {"nat": 0.95, "filter": 0.8}
                if space.guarded:
                    likely |= {"raw": 0.9, "filter": 0.95}
                if space.proxied:
                    likely["mangle"] = 0.9
                tables = [table for table in TABLES if rng.random() < likely.get(table, 0.35)]
                if netns != "node":
                    tables = [table for table in tables if table in {"filter", "nat"}]
                if tables:
                    ruleset = rules.Ruleset(rng, space, family, seen, kinds)
                    steps.append(ruleset.step(backend, tables, backends if netns == "node" else {}))
    return steps
