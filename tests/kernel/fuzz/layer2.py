"""Rules that see frames, aimed at the flows: nft's netdev, bridge and arp families, and inet's ingress.

Knows nothing of what they do. They count, so that it is seen which of them matched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.kernel.fuzz.network import Step

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from tests.kernel.fuzz.rules import Sample
    from tests.kernel.fuzz.topologies import Space

BRIDGE_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")


def step(rng: random.Random, space: Space, seen: Sequence[Sample]) -> Step:
    """Return the step that loads a few tables of one namespace."""
    lines: list[str] = []
    for number in range(rng.choice((1, 1, 2, 3))):
        kinds = {"netdev": 4, "inet": 1, "arp": 1, "bridge": 5 if space.ports else 0}
        family = rng.choices(list(kinds), list(kinds.values()))[0]
        lines += [f"table {family} l{number} {{", *_chain(rng, space, family, seen), "}"]
    return Step(space.name, "nft", tuple(lines))


def _chain(rng: random.Random, space: Space, family: str, seen: Sequence[Sample]) -> list[str]:
    priority: str | int = rng.choice((-300, -200, -50, 100, 200, 300))
    if family == "bridge":
        hook = rng.choice(BRIDGE_HOOKS)
        priority = 0 if rng.random() < 0.05 else priority  # beside bridge netfilter: nobody knows which is asked first
    elif family == "arp":
        hook = rng.choice(("input", "output"))
    else:
        side = "ingress" if family == "inet" or rng.random() < 0.6 else "egress"
        hook = f'{side} device "{rng.choice([*space.devices, *space.ports])}"'
    lines = [f"chain c {{ type filter hook {hook} priority {priority}; policy accept;"]
    for _ in range(rng.choice((1, 2, 2, 3))):
        words = _arp(rng, seen) if family == "arp" else _frame(rng, space, family, hook, rng.choice(seen))
        lines.append(" ".join([*words, "counter", _verdict(rng, family)]).strip())
    return [*lines, "}"]


def _verdict(rng: random.Random, family: str) -> str:
    choices = {"drop": 3, "accept": 2, "": 3, "continue": 1, "return": 1}
    if family != "arp":
        choices |= {"meta mark set 0x1": 1.5, "meta mark set 0x10": 1.5}
    return rng.choices(list(choices), list(choices.values()))[0]


def _turn(rng: random.Random) -> str:
    return "!= " if rng.random() < 0.12 else ""


def _frame(rng: random.Random, space: Space, family: str, hook: str, one: Sample) -> list[str]:
    word = "ip" if one.family == 4 else "ip6"
    proto = one.proto if one.proto != "icmp" else "icmp" if one.family == 4 else "ipv6-icmp"
    macs = list(space.macs.values()) or ["02:00:00:00:00:77"]
    choices = [
        f"{word} saddr {_turn(rng)}{one.src}", f"{word} daddr {_turn(rng)}{one.dst}",
        f"meta l4proto {_turn(rng)}{proto}",
        f"meta protocol {_turn(rng)}{word}", f"meta mark {_turn(rng)}{rng.choice((0, 1, 0x10))}",
        f"meta pkttype {_turn(rng)}{rng.choice(('host', 'broadcast', 'multicast'))}",
    ]  # fmt: skip
    if one.proto != "icmp":
        choices += [f"{one.proto} dport {_turn(rng)}{one.dport}", f"{one.proto} sport {_turn(rng)}{one.sport}"] * 2
    else:
        echo = f"icmp{'' if one.family == 4 else 'v6'} type {rng.choice(('echo-request', 'echo-reply'))}"
        choices += [echo] * 2
    if family != "inet" and "egress" not in hook and hook != "output":
        choices += [f"ether saddr {_turn(rng)}{rng.choice(macs)}", f"ether daddr {_turn(rng)}{rng.choice(macs)}"]
    if family == "netdev":
        choices.append("arp operation " + rng.choice(("request", "reply")))
    if family == "bridge":
        names = space.ports
        choices += [f'iifname {_turn(rng)}"{rng.choice(names)}"', f'oifname {_turn(rng)}"{rng.choice(names)}"']
        choices.append(f"arp daddr ip {one.dst if one.family == 4 else '10.0.1.1'}")
    picked = rng.sample(choices, rng.choice((1, 1, 2)))
    return picked[:1] if len({_header(word_) for word_ in picked} - {""}) > 1 else picked


def _header(match: str) -> str:
    """The header that nft takes a match to ask for: it refuses two of one layer."""
    first = match.split(maxsplit=1)[0]
    return (
        "l3" if first in {"ip", "ip6", "arp"} or "protocol" in match else "l4" if first not in {"meta", "ether"} else ""
    )


def _arp(rng: random.Random, seen: Sequence[Sample]) -> list[str]:
    one = rng.choice([sample for sample in seen if sample.family == 4] or list(seen))
    address = one.dst if one.family == 4 else "10.0.1.1"
    return rng.sample(
        (
            f"arp operation {rng.choice(('request', 'reply'))}",
            f"arp daddr ip {_turn(rng)}{address}",
            f"arp saddr ip {_turn(rng)}{one.src if one.family == 4 else address}",
        ),
        rng.choice((1, 1, 2)),
    )
