"""Asks the simulator and the kernel about every flow of a network, and says where they differ.

Knows nothing of how networks are thought up.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from netdoctor.lab import process
from netdoctor.model import store
from netdoctor.model.flow import Flow
from netdoctor.netfilter.nft import ruleset
from netdoctor.simulate.engine import Simulator
from netdoctor.topology.world import World
from tests.kernel.fuzz.network import RULE_TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.model.snapshot import Snapshot
    from netdoctor.simulate.trace import Outcome, Step, Trace
    from tests.kernel.fuzz.network import Call, Network

CHECKOUT = Path(__file__).resolve().parents[3]
TABLES = {"raw", "mangle", "nat", "filter", "security"}  # kept by iptables-nft, which prints them itself
PATIENCE, MORE_PATIENCE = 0.03, 0.4  # seconds
# What stands in an answer, whose group a server has, what a second answer meets, which no trace follows, how fast
# packets came before, and the identification of a packet.
UNTOLD = re.compile(
    r"-m string|--gid-owner|skgid|-m connbytes|--u32 \"2&|--ctexpire|-m (?:limit|quota|hashlimit|recent)"
)
NO_WAY = "the outside has no way back"


class Kernel:
    """The agent in namespaces of its own; it ends with this process."""

    def __init__(self) -> None:
        self._owner = process.keeper("fuzz")
        inside = process.enter(process.first_inside(self._owner.pid), user=os.geteuid() != 0)
        environment = process.environment() | {"PYTHONPATH": str(CHECKOUT)}
        self._agent = subprocess.Popen(
            [*inside, sys.executable, "-m", "tests.kernel.fuzz.agent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=environment, cwd=CHECKOUT,
        )  # fmt: skip
        assert self._agent.stdout is not None
        assert self._agent.stdout.readline() == "ready\n"

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        assert self._agent.stdin is not None
        assert self._agent.stdout is not None
        self._agent.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._agent.stdin.flush()
        line = self._agent.stdout.readline()
        assert line, "the agent died"
        return json.loads(line)

    def close(self) -> None:
        self._agent.kill()
        self._agent.wait()
        process.close(self._owner)


@dataclass
class Observed:
    """What the kernel did with a flow."""

    arrived: list[Any] | None  # namespace, source, its port, destination, its port
    answers: int
    followed: bool  # the next packet in the same direction arrived too
    error: str | None
    unresolved: bool  # a neighbour of the sender did not answer
    hits: dict[str, int]  # "NETNS PROGRAM TABLE CHAIN NUMBER" -> packets

    @property
    def connects(self) -> bool:
        """What INTERFACE means by it: the request, its first answer and the next packet get through."""
        return self.arrived is not None and self.followed


@dataclass
class Difference:
    """A flow about which they differ."""

    network: Network
    call: Call
    said: list[str]
    trace: Trace

    def __str__(self) -> str:
        return f"seed {self.network.seed}: {self.call}: " + "; ".join(self.said)


@dataclass
class Examined:
    """A network that was built and asked."""

    network: Network
    document: bytes  # the snapshot as it is written
    observed: list[Observed]
    refused: list[str] = field(default_factory=list)  # steps that could not be carried out

    def snapshot(self) -> Snapshot:
        """Read the snapshot anew: nothing that was computed of it before is kept."""
        return store.decode(self.document)


def examine(kernel: Kernel, network: Network) -> Examined:
    """Build a network, take a snapshot of it and send every flow; a flow that differs twice."""
    try:
        snapshot, refused = built(kernel, network)
        observed = [observe(kernel, network, call) for call in network.calls]
        examined = Examined(network, store.encode(snapshot), observed, refused)
        # A packet that another flow left behind may have counted, or a process been late: what differs is sent again.
        for at, (call, _, _, said) in enumerate(list(differences(examined))):
            if said:
                observed[at] = observe(kernel, network, call, MORE_PATIENCE)
        return examined
    finally:
        kernel.ask("clear")


def built(kernel: Kernel, network: Network) -> tuple[Snapshot, list[str]]:
    """Build a network; return the snapshot of it, and the steps that were refused."""
    steps = [(step.netns, step.tool, step.text) for step in network.steps]
    failed = kernel.ask("build", spaces=network.spaces, steps=steps)["failed"]
    refused = [f"{network.steps[at].netns} {network.steps[at].tool}: {said.strip()}" for at, said in failed]
    servers = [
        (s.netns, s.proto, s.address, s.port, s.dev, s.transparent, s.netns in network.hidden) for s in network.servers
    ]
    refused += [f"server {one}" for one in kernel.ask("serve", servers=servers)["failed"]]
    kernel.ask("settle")
    snapshot = store.decode(kernel.ask("snapshot", netns=network.node)["document"].encode())
    kernel.ask("count", places=network.places())
    return _without(snapshot, network.hidden), refused


def observe(kernel: Kernel, network: Network, call: Call, patience: float = PATIENCE) -> Observed:
    """Send one flow."""
    flow = {name: getattr(call, name) for name in call.__dataclass_fields__}
    seen = kernel.ask("ask", flow=flow, patience=patience)
    added = kernel.ask("count", places=network.places())["added"]
    hits = {f"{place} {key}": value for place, found in added.items() for key, value in found.items()}
    return Observed(seen["arrived"], seen["answers"], seen["followed"], seen["error"], seen["unresolved"], hits)


def _without(snapshot: Snapshot, hidden: frozenset[str]) -> Snapshot:
    """Return the snapshot of somebody who may not look into some namespaces."""
    if not hidden:
        return snapshot
    kept = []
    for one in snapshot.namespaces:
        if one.name in hidden:
            continue
        links = tuple(
            msgspec.structs.replace(link, parent_netns="?") if link.parent_netns in hidden else link
            for link in one.links
        )
        kept.append(msgspec.structs.replace(one, links=links))
    return msgspec.structs.replace(snapshot, namespaces=tuple(kept))


def simulator(snapshot: Snapshot) -> Simulator:
    """Return what is asked about the flows of a network."""
    return Simulator(World(snapshot), outside_answers=True)


def flow_of(network: Network, call: Call) -> Flow:
    """Return the flow that a call is."""
    asked = network.flow(call)
    if call.proto != "tcp":
        asked["payload"] = f"n{call.sport:07d}".ljust(call.payload, ".")
    return msgspec.convert(asked, Flow)


def differences(examined: Examined) -> Iterator[tuple[Call, Trace, Observed, list[str]]]:
    """Yield for each flow what both say, and in what they differ."""
    snapshot = examined.snapshot()
    asked = simulator(snapshot)
    texts = rule_texts(examined.network) | native_texts(examined.network, snapshot)
    for call, observed in zip(examined.network.calls, examined.observed, strict=True):
        trace = asked.trace(flow_of(examined.network, call))
        yield call, trace, observed, compare(examined.network, texts, call, trace, observed)


def rule_texts(network: Network) -> dict[str, str]:
    """Return each rule's text under the key that counts it."""
    found: dict[str, str] = {}
    for step in network.steps:
        if step.tool not in RULE_TOOLS or step.tool == "nft":
            continue
        table, numbers = "", dict[str, int]()
        for line in step.lines:
            if line.startswith("*"):
                table, numbers = line[1:], {}
            elif line.startswith("-A "):
                chain = line.split()[1]
                numbers[chain] = numbers.get(chain, 0) + 1
                key = f"{step.netns} {step.tool.replace('-restore', '-save')} {table} {chain} {numbers[chain]}"
                found[key] = line
            elif line.startswith(":") and " - " not in line:
                chain, policy = line[1:].split()[:2]
                found[f"{step.netns} {step.tool.replace('-restore', '-save')} {table} {chain} 0"] = f"-j {policy}"
    return found


def native_texts(network: Network, snapshot: Snapshot) -> dict[str, str]:
    """Return each native rule that counts, as `rule_texts` does; it is known by its handle."""
    found: dict[str, str] = {}
    for namespace in snapshot.namespaces:
        netns = network.node if namespace.name == "host" else namespace.name
        if namespace.nft is None or not namespace.nft.json or (netns, "nft") not in network.places():
            continue
        for (family, name), table in ruleset.parse(namespace.nft.json).items():
            for chain in table.chains.values() if name not in TABLES else ():
                for rule in chain.rules:
                    # A verdict in front of the counter ends the rule without being counted.
                    if "counter" in rule.text.split() and "vmap" not in rule.text.partition("counter")[0]:
                        found[f"{netns} nft {family} {name} {chain.name} {rule.handle}"] = f"{chain.name}: {rule.text}"
    return found


def is_unknown(trace: Trace) -> bool:
    """Whether the simulator did not decide."""
    return trace.connects == "unknown" or any(one.probability is None for one in trace.outcomes)


def undecided(trace: Trace) -> list[str]:
    """Return what the simulator could not decide, each once, without the places where it stood."""
    found: dict[str, None] = {}
    for outcome in trace.outcomes:
        parts = [part for part in (outcome, outcome.reply, outcome.next) if part is not None and part.cause is not None]
        for why in outcome.undecided or [part.cause.detail or "" for part in parts if part.cause is not None]:
            said = why.partition(": ")[2] if " rule " in why.partition(": ")[0] else why
            found.setdefault(said.partition(": assumed")[0])
    return sorted(found, key=lambda one: not one.startswith("hook order"))


def unsent(network: Network, call: Call, observed: Observed) -> bool:
    """Whether the outside itself had no way: nothing was sent."""
    lost = observed.unresolved or observed.error in {"ENETUNREACH", "EHOSTUNREACH"}
    return call.netns in network.hidden and lost


def compare(network: Network, texts: dict[str, str], call: Call, trace: Trace, observed: Observed) -> list[str]:
    """Return in what the trace differs from what was observed: nothing, where any outcome fits it."""
    if unsent(network, call, observed):
        return []
    best: list[str] | None = None
    for outcome in trace.outcomes:
        said = list(_unlike(network, texts, call, outcome, observed))
        if not said:
            return []
        if best is None or len(said) < len(best):
            best = said
    return best or []


def _unlike(network: Network, texts: dict[str, str], call: Call, outcome: Outcome, observed: Observed) -> Iterator[str]:
    if outcome.verdict == "unknown":
        return
    arrived = observed.arrived
    expects = outcome.connects
    final = outcome.final
    if outcome.verdict == "delivered":
        assert final is not None
        yield from _elsewhere(network, call, outcome, arrived)
    elif outcome.verdict == "left":
        assert final is not None
        if arrived is not None:
            yield from _elsewhere(network, call, outcome, arrived)
        elif _would_hear(network, call, outcome) and not (call.proto == "tcp" and _takes_back(outcome)):
            yield f"simulated left for {final.dst}:{final.dport}, where it did not arrive"
        else:
            expects = "no"
    elif arrived is not None and not _ignores_echo(outcome):
        yield f"simulated {outcome.verdict} ({_why(outcome)}), arrived at {arrived}"
    if (
        outcome.reply is not None
        and (outcome.reply.cause is not None)
        and (outcome.reply.cause.detail or "").startswith(NO_WAY)
    ):
        return  # ours has one
    if expects == "yes" and not observed.connects:
        yield f"simulated yes, the kernel got {observed.answers} answers, then {observed.error}"
    elif expects == "no" and observed.connects:
        yield f"simulated no ({_why(outcome)}), the kernel let it through"
    yield from _other_rules(network, texts, call, outcome, observed)


def _ignores_echo(outcome: Outcome) -> bool:
    """Whether the request is there, and only nobody answers it."""
    return outcome.cause is not None and "echo_ignore" in (outcome.cause.sysctl or "")


def _why(outcome: Outcome) -> str:
    for part in (outcome, outcome.reply, outcome.next):
        if part is not None and part.cause is not None:
            cause = part.cause
            where = "request" if part is outcome else "reply" if part is outcome.reply else "next"
            return (
                f"{where} {part.verdict}: {cause.kind} {cause.netns} {cause.text or cause.detail or cause.chain or ''}"
            )
    return outcome.verdict


def _elsewhere(network: Network, call: Call, outcome: Outcome, arrived: list[Any] | None) -> Iterator[str]:
    final = outcome.final
    assert final is not None
    if arrived is None:
        if call.proto == "tcp" and _takes_back(outcome):
            return
        yield f"simulated arrival at {final.netns} {final.dst}:{final.dport}, it did not arrive"
        return
    netns = network.node if final.netns == "host" else final.netns
    wanted = [netns, final.src, final.sport, final.dst, final.dport]
    got = list(arrived)
    if outcome.verdict == "left":
        wanted[0] = got[0] if got[0] in network.hidden else "outside"
    if wanted[2] is None:  # picked freely by the kernel
        low, high = final.sport_range or (0, 65535)
        got[2] = None if low <= got[2] <= high else got[2]
    if call.proto == "icmp":
        wanted[4] = got[4] = None
    if wanted != got:
        yield f"simulated arrival {wanted}, real {got}"


def _takes_back(outcome: Outcome) -> bool:
    """Whether a listener forgets a SYN at once, because its answer has no way or is refused: nobody sees it arrive."""
    loud = {
        "rejected",
        "unreachable",
        "no-neighbour",
        "delivered",
        "refused",
        "link-down",
        "too-big",
        "left",
        "unknown",
        "ttl-exceeded",
    }
    if outcome.connects == "yes" or outcome.reply is None:
        return False
    # The error that a copy brings about some time later does so too.
    return outcome.reply.verdict in loud or any(step.action == "TEE" for step in outcome.reply.steps)


def _would_hear(network: Network, call: Call, outcome: Outcome) -> bool:
    """Whether somebody who is hidden listens where the packet left for."""
    final = outcome.final
    assert final is not None
    own = {
        line.split()[2].partition("/")[0]
        for step in network.steps
        if step.netns in network.hidden and step.tool == "ip"
        for line in step.lines
        if line.startswith("address add")
    }
    if final.dst not in own or (final.next_hop or final.dst) not in own or final.src in own:
        return False  # it is for nobody there, or seems to come from itself
    if call.proto == "icmp":
        return True
    return any(
        server.netns in network.hidden and (server.proto, server.port) == (call.proto, final.dport)
        and server.address in {"", final.dst}
        for server in network.servers
    )  # fmt: skip


def _other_rules(
    network: Network, texts: dict[str, str], call: Call, outcome: Outcome, observed: Observed
) -> Iterator[str]:
    """Rules that the simulator saw hit and the kernel did not count, and drops that it explains otherwise."""
    steps: list[Step] = [*outcome.steps]
    for part in (outcome.reply, outcome.next):
        if part is not None and not (outcome.verdict == "left" and observed.arrived is None):
            steps += part.steps
    if any((step.note or "").startswith(("assumed", "taken at random")) for step in steps):
        return  # of ways that end alike only one is shown
    said = {key: None for step in steps if (key := _key(network, step)) is not None and key in texts}
    if any(word in texts.get(key, "") for key in (*said, *observed.hits) for word in ("numgen", "-m statistic")):
        return
    if outcome.verdict == "loop":
        return  # nobody follows a circle to its end
    # Of an untracked SYN, what begins the connection for conntrack and nat is an acknowledgement that carries nothing.
    begins_late = call.proto == "tcp" and any(step.packet and step.packet.ctstate == "UNTRACKED" for step in steps)
    missing = next(
        (
            key
            for key in said
            if key not in observed.hits
            and not (begins_late and " nat " in key)
            and not _either_order(network, texts, key, connects=observed.connects)
        ),
        None,
    )
    if missing is not None:
        yield f"simulated a hit of {missing} ({texts[missing]}), which counted nothing"
    if missing is not None:
        return
    if any("no station" in (step.note or "") for step in steps):
        return  # a bridge floods a frame for nobody, and its copies pass the rules
    copied = any(step.action == "TEE" for step in steps)  # a copy passes OUTPUT too, and may bring about an error
    quiet = (observed.connects or _is_silent(outcome)) and not _turns_round(steps) and not copied
    if call.proto != "tcp" and outcome.verdict == "delivered" and quiet:
        yield from _unforeseen(network, texts, call, said, observed)
    if observed.connects:
        return
    said_set = set(said)
    dropped = {
        key for key in observed.hits if texts.get(key, "").find("-j DROP") >= 0 or "-j REJECT" in texts.get(key, "")
    }
    # Neighbour discovery and errors pass the rules too: only what asks for the flow's own protocol is its own.
    own = "iptables-" if call.family == 4 else "ip6tables-"
    dropped = {
        key
        for key in dropped
        if key.split()[1].startswith(own) and (call.family == 4 or f"-p {call.proto} " in texts[key])
    }
    greeted = any(step.action == "SYNPROXY" for step in steps)  # its client believes that it is connected, and sends
    if copied or greeted or _turns_round(steps) or not _is_silent(outcome):
        return  # what is dropped may be the error, or the redirect, that was sent back
    if dropped and not dropped & said_set and outcome.connects == "no":
        counted = "; ".join(f"{key} {texts[key]}" for key in sorted(dropped))
        yield f"simulated {_why(outcome)}, the kernel counted {counted}"


def _turns_round(steps: list[Step]) -> bool:
    """Whether a packet leaves by where it came in: its sender is sent a redirect too (ip_rt_send_redirect)."""
    return any(step.action == "forward" and f"dev {step.in_}" in (step.note or "") for step in steps)


def _unforeseen(
    network: Network, texts: dict[str, str], call: Call, said: dict[str, None], observed: Observed
) -> Iterator[str]:
    """Rules that counted and were not simulated: of datagrams that got through, every packet is known."""
    if any("-m connbytes" in texts[key] for key in said):
        return  # a second answer may go another way
    for key in sorted(set(observed.hits) - set(said)):
        # An empty chain is not asked: its policy counts for nothing.
        if key not in texts or (key.endswith(" 0") and " nft " not in key) or UNTOLD.search(texts[key]):
            continue
        # What stands behind a counter may end the rule, which then is none that matched.
        last = texts[key].rpartition("counter")[2].split() if " nft " in key else ()
        if {"vmap", "map", "l4proto", "reset", "ct"} & set(last) or not _sees_only(call, key, texts[key]):
            continue
        if not _either_order(network, texts, key, connects=observed.connects):
            yield f"the kernel counted {key} ({texts[key]}), which was not simulated"
            return


def _sees_only(call: Call, key: str, text: str) -> bool:
    """Whether no packet but a flow's can match a rule: neighbour discovery passes the rules of IPv6 too."""
    program, family, *_ = key.split()[1:]
    if program != "nft":
        if program.startswith("ip6tables-") != (call.family == 6):
            return False
        return call.family == 4 or (call.proto == "udp" and re.search(r"(?<!! )-p udp\b", text) is not None)
    if family in {"bridge", "netdev", "arp"}:
        return False  # ARP, and what a bridge floods
    if call.family == 4 and (family == "ip" or re.search(r"\bip (saddr|daddr|ttl|length|dscp|ecn)\b", text)):
        return True
    return (
        call.proto == "udp" and re.search(r"\b(udp [sd]port|l4proto udp|protocol udp|nexthdr udp)\b", text) is not None
    )


def _is_silent(outcome: Outcome) -> bool:
    """Whether the flow ended without anything being sent back."""
    parts = [part for part in (outcome, outcome.reply, outcome.next) if part is not None]
    return all(part.verdict in {"delivered", "dropped", "martian"} for part in parts) and (
        outcome.reply is None or outcome.reply.matches_flow or outcome.reply.verdict != "delivered"
    )


def _either_order(network: Network, texts: dict[str, str], key: str, *, connects: bool) -> bool:
    """Whether both backends have the table: whichever binds or drops first, the other is not asked."""
    netns, program, table, *_ = key.split()
    if program == "nft":
        return not connects and _meets_an_equal(network, netns, " ".join(key.split()[2:4]))
    other = program.replace("-nft-", "-legacy-") if "-nft-" in program else program.replace("-legacy-", "-nft-")
    return (table == "nat" or not connects) and any(one.startswith(f"{netns} {other} {table} ") for one in texts)


def _meets_an_equal(network: Network, netns: str, table: str) -> bool:
    """Whether a native table has a chain at the hook and priority of another table's."""
    found: dict[str, set[str]] = {}
    for step in network.steps:
        name = ""
        for line in step.lines if (step.netns, step.tool) == (netns, "nft") else ():
            if line.startswith("table "):
                name = line.removeprefix("table ").removesuffix(" {")
            elif line.startswith("type "):
                found.setdefault(name, set()).add(line.partition(" hook ")[2].partition(";")[0])
    return any(found.get(table, set()) & hooks for other, hooks in found.items() if other != table)


def _key(network: Network, step: Step) -> str | None:
    if step.table is None or step.backend is None or step.chain is None or step.action == "translate":
        return None
    if step.rule is None and (step.stage == "nft" or not (step.action or "").startswith("policy")):
        return None
    netns = network.node if step.netns == "host" else step.netns
    if step.stage == "nft":
        return f"{netns} nft {step.family} {step.table} {step.chain} {step.handle}"
    program = f"{'ip6' if step.family == 'ip6' else 'ip'}tables-{step.backend}-save"
    return f"{netns} {program} {step.table} {step.chain} {step.rule or 0}"


def told(trace: Trace) -> Iterator[str]:
    """Yield a trace's steps, one line each."""
    for outcome in trace.outcomes:
        yield f"--- {outcome.verdict}, connects {outcome.connects}, probability {outcome.probability}"
        for title, part in (("request", outcome), ("reply", outcome.reply), ("next", outcome.next)):
            if part is None:
                continue
            yield f"{title}: {part.verdict} {part.cause.detail if part.cause else ''} {part.error}"
            steps = part.steps
            for step in steps:
                packet = step.packet
                assert packet is not None
                ends = f"{packet.src}:{packet.sport}>{packet.dst}:{packet.dport} {packet.ctstate}"
                ends += f" mark={packet.mark:#x} ttl={packet.ttl}"
                where = f"{step.netns} {step.hook or ''} {step.in_ or ''}>{step.out or ''}"
                yield f"  {step.stage:10} {where:34} {step.action or ''} {step.text or ''} {step.note or ''}  [{ends}]"
