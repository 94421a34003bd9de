"""What a generated network is: namespaces, the steps that furnish them, servers, and the flows to be asked about.

Knows nothing of how it was thought up, nor of who builds it. Everything is data, so that it can be cut down
and printed.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field, replace

RULE_TOOLS = (
    "iptables-legacy-restore",
    "ip6tables-legacy-restore",
    "iptables-nft-restore",
    "ip6tables-nft-restore",
    "nft",
)


@dataclass(frozen=True)
class Step:
    """One tool run in a namespace, its input, which is `lines`; `sysctl` takes NAME=VALUE."""

    netns: str
    tool: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


@dataclass(frozen=True)
class Server:
    """An echo server."""

    netns: str
    proto: str
    address: str  # "": every address of both families
    port: int
    dev: str = ""
    transparent: bool = False


@dataclass(frozen=True)
class Call:
    """A flow: who sends what to whom."""

    netns: str
    dst: str
    proto: str  # tcp, udp, icmp
    dport: int | None
    sport: int
    src: str | None = None
    mark: int = 0
    uid: int | None = None
    gid: int | None = None
    tos: int = 0
    ttl: int | None = None
    df: bool | None = None
    payload: int = 8

    @property
    def family(self) -> int:
        return 6 if ":" in self.dst else 4

    @property
    def size(self) -> int | None:
        """Of the IP packet, in bytes; a TCP segment's is the kernel's choice."""
        if self.proto == "tcp":
            return None
        return self.payload + (28 if self.family == 4 else 48)

    def __str__(self) -> str:
        extra = {
            name: value for name in ("src", "mark", "uid", "gid", "tos", "ttl", "df") if (value := getattr(self, name))
        }
        port = f":{self.dport}" if self.dport else ""
        said = "".join(f" {name}={value}" for name, value in extra.items())
        return f"{self.netns}:{self.sport} -> {self.dst}{port}/{self.proto} payload={self.payload}{said}"


@dataclass(frozen=True)
class Network:
    """Everything that is built, and what is asked."""

    seed: int
    spaces: tuple[str, ...]
    steps: tuple[Step, ...]
    servers: tuple[Server, ...]
    calls: tuple[Call, ...]
    node: str = "node"  # where the snapshot is taken
    hidden: frozenset[str] = frozenset()  # namespaces that the snapshot does not hold: the outside
    uplinks: dict[str, str] = field(default_factory=dict)  # hidden namespace -> the node's interface towards it
    labels: frozenset[str] = frozenset()  # what was built in, for the table of hits

    def places(self) -> list[tuple[str, str]]:
        """Return where rules count: namespace and the program that prints them."""
        found: dict[tuple[str, str], None] = {}
        for step in self.steps:
            if step.tool in RULE_TOOLS:
                found.setdefault((step.netns, step.tool.replace("-restore", "-save")))
        return list(found)

    def without(self, step: int, line: int | None = None) -> Network:
        """Return the network without one step, or without one line of it."""
        steps = list(self.steps)
        if line is None:
            del steps[step]
        else:
            lines = steps[step].lines
            steps[step] = replace(steps[step], lines=(*lines[:line], *lines[line + 1 :]))
        return replace(self, steps=tuple(steps))

    def script(self, call: Call) -> str:
        """Return a shell script that builds the network and asks one flow of both."""
        lines = [
            f"# generated with seed {self.seed}; run it as root from a checkout. The real client is `{call}`.",
            "unshare --net --mount --pid --fork --kill-child --mount-proc sh -e <<'ALL'",
            "mount -t tmpfs tmpfs /run; mkdir /run/netns; mount -t tmpfs tmpfs /var/lib",
        ]
        for name in self.spaces:
            lines += [f"ip netns add {name}", f"ip -n {name} link set lo up"]
            lines.append(
                f"ip netns exec {name} sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0"
            )
        for step in self.steps:
            inside = f"ip netns exec {step.netns} "
            if step.tool == "sysctl":
                words = (f"net.{one.replace('/', '.')}" for one in step.lines)
                lines.append(inside + "sysctl -qw " + " ".join(shlex.quote(word) for word in words))
            else:
                tool = {
                    "ip": "ip -batch -",
                    "ip6": "ip -6 -batch -",
                    "bridge": "bridge -batch -",
                    "ipset": "ipset restore",
                    "nft": "nft -f -",
                }
                lines.append(f"{inside}{tool.get(step.tool, step.tool)} <<'EOF'\n{step.text}EOF")
        by_space: dict[str, list[tuple[object, ...]]] = {}
        for server in self.servers:
            said = (server.proto, server.address, server.port, *([True] if server.transparent else []))
            by_space.setdefault(server.netns, []).append(said)
        for name, listening in by_space.items():
            given = shlex.quote(json.dumps(listening))
            lines.append(f"ip netns exec {name} python3 netdoctor/lab/traffic.py serve {given} >/dev/null 2>&1 &")
        asked = {
            "proto": ("icmpv6" if call.family == 6 else "icmp") if call.proto == "icmp" else call.proto,
            "dst": call.dst, "dport": call.dport, "src": call.src, "sport": call.sport, "mark": call.mark,
            "uid": call.uid, "gid": call.gid, "tos": call.tos, "ttl": call.ttl, "df": call.df, "size": call.size,
            "timeout": 1,
        }  # fmt: skip
        inside = f"ip netns exec {self.node} ./dev run"
        lines += [
            "sleep 0.5",
            f"{inside} snapshot -o /run/snapshot.json.gz",
            f"ip netns exec {call.netns} python3 netdoctor/lab/traffic.py ask {shlex.quote(json.dumps(asked))}",
            f"printf '%s\\n' {shlex.quote(json.dumps(self.flow(call)))} >/run/flow",
            f"{inside} trace --snapshot /run/snapshot.json.gz --flows /run/flow || :",
            "ALL",
        ]
        return "\n".join(lines)

    def flow(self, call: Call) -> dict[str, object]:
        """Return the flow as the simulator is asked about it."""
        port = f"[{call.dst}]:{call.dport}" if call.family == 6 else f"{call.dst}:{call.dport}"
        asked: dict[str, object] = {
            "from": "host" if call.netns == self.node else call.netns,
            "to": port if call.dport is not None else call.dst,
            "sport": call.sport,
        }
        if call.netns in self.hidden:
            asked |= {"from": call.src, "in": self.uplinks[call.netns]}
        else:
            asked |= {name: getattr(call, name) for name in ("src", "mark") if getattr(call, name)}
            asked |= {"uid": call.uid or 0, "gid": call.gid or 0}
        if call.proto != "icmp":
            asked["proto"] = call.proto
        asked |= {name: getattr(call, name) for name in ("tos", "ttl") if getattr(call, name)}
        if call.df is not None:
            asked["df"] = call.df
        if call.size is not None:
            asked |= {"size": call.size, "reply_size": call.size}
        return asked
