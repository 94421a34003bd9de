"""Builds a topology in real namespaces, runs programs and real clients in it, and tells its state.

Knows nothing of snapshots, rules or fixes. Each host has namespaces of its own and sees only its own pods.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Self

from netdoctor.lab import build, process, state, target, topology
from netdoctor.lab.topology import pod_name
from netdoctor.model.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from netdoctor.lab.topology import Server, Topology, Wire
    from netdoctor.model.flow import Flow

Backend = Literal["nft", "legacy"]
TRAFFIC = str(Path(__file__).with_name("traffic.py"))
CLIENT_SECONDS = 1.5  # a connect, or an answer, that takes longer does not come


@dataclass(frozen=True, slots=True)
class ClientResult:
    """What a real client saw."""

    connects: Literal["yes", "no"]
    error: str | None  # "timeout", "ECONNREFUSED", …
    peer: str | None  # "ADDRESS PORT" of the client as the server saw it; None for echo requests
    exchanges: int  # of two: the first answer, and the answer to a second packet


class Lab:
    """A throw-away network; use it as a context manager. It ends with the process that made it, even by SIGKILL.

    `iptables`, `ip6tables` and their kin in commands and rules are those of `backend`.
    """

    def __init__(self, name: str | Topology, *, backend: Backend = "nft") -> None:
        self.topology = topology.load(name) if isinstance(name, str) else name
        self.backend: Backend = backend
        self.user = os.geteuid() != 0
        self._owner: subprocess.Popen[bytes] | None = None  # its end is the end of all others
        self._processes: list[subprocess.Popen[bytes]] = []
        self._pids: dict[str, int] = {}  # host -> the first process of its namespaces
        self._homes: dict[str, str] = {}  # host or pod -> host
        self._paths: dict[str, str] = {}  # pod -> its namespace under the host's /run/netns

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything: no namespace, process or mount is left when this returns."""
        if self._owner is not None:
            process.close(self._owner)
            self._owner = None
        for one in self._processes:
            process.close(one)
        self._processes.clear()
        self._pids.clear()

    # --- building

    def _build(self) -> None:
        self._owner = process.keeper("lab")
        inside = process.first_inside(self._owner.pid)
        for host in self.topology.hosts:
            keeper = process.keeper(host.name, inside)
            self._processes.append(keeper)
            self._pids[host.name] = process.first_inside(keeper.pid)
            self._homes[host.name] = host.name
            for number, pod in enumerate(host.pods):
                self._homes[pod_name(pod)] = host.name
                netns = build.netns_name(number)
                self._paths[pod_name(pod)] = f"/proc/{self._pids[host.name]}/root/run/netns/{netns}"
        for host in self.topology.hosts:
            self._script(host.name, build.furnish(host))
        for wire in self.topology.wires:
            self._wire(wire)
        for host in self.topology.hosts:
            self._script(host.name, build.finish(host))
            for family, file in host.rules.items():
                self._load(host.name, family, (topology.folder() / file).read_text())
        for host in self.topology.hosts:
            self._serve(host.name, host.servers)
            for pod in host.pods:
                self._serve(pod_name(pod), pod.servers)

    def _script(self, where: str, script: str) -> None:
        done = self.run(where, ["sh", "-c", script])
        if done.returncode != 0:
            raise LabError(f"cannot build {where}: {_last_line(done)}")

    def _wire(self, wire: Wire) -> None:
        """A veth pair; the pid by which ip(8) finds the far namespace is that of this process's own pid namespace."""
        near, far = (self._pids[host] for host in wire.hosts)
        who = ("-U", "--preserve-credentials") if self.user else ()
        one, other = (
            ("name", dev, "address", build.mac(host, dev)) for host, dev in zip(wire.hosts, wire.devs, strict=True)
        )
        words = ("ip", "link", "add", *one, "type", "veth", "peer", *other, "netns", str(far))
        done = subprocess.run(
            ["nsenter", "-t", str(near), *who, "-n", *words], capture_output=True, text=True, timeout=30, check=False,
            env=process.environment(), stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode != 0:
            raise LabError(f"cannot wire {' to '.join(wire.hosts)}: {_last_line(done)}")
        for host, dev, addresses, bridge in zip(wire.hosts, wire.devs, wire.addresses, wire.bridges, strict=True):
            self._script(host, build.uplink(dev, addresses, bridge))

    def _load(self, host: str, family: str, text: str) -> None:
        program = "iptables-restore" if family == "ip" else "ip6tables-restore"
        self.run(host, [program], input=text, check=True)

    def _serve(self, where: str, servers: Sequence[Server]) -> None:
        if servers:
            given = json.dumps([(one.proto, one.address, one.port) for one in servers])
            command = (*self._entry(where), sys.executable, "-I", "-S", TRAFFIC, "serve", given)
            self._processes.append(process.start(command))

    # --- using

    @property
    def places(self) -> tuple[str, ...]:
        """Every host and pod."""
        return tuple(self._homes)

    def _entry(self, where: str) -> tuple[str, ...]:
        home = self._homes.get(where)
        if home is None:
            raise LabError(f"nothing is called {where!r} in this topology", f"there are: {', '.join(self._homes)}")
        if home not in self._pids:
            raise LabError("this lab has ended", "build another")
        return process.enter(self._pids[home], netns=self._paths.get(where), user=self.user)

    def words(self, where: str, argv: Sequence[str]) -> tuple[str, ...]:
        """Return the command that runs `argv` there, for those who start it themselves. Raises: LabError."""
        # nsenter forks to enter the pid namespace; what it started must not outlive it.
        return (*self._entry(where), "setpriv", "--pdeathsig", "KILL", self._tool(argv[0]), *argv[1:])

    def run(
        self,
        where: str,
        argv: Sequence[str],
        *,
        input: str | None = None,  # noqa: A002  # as subprocess.run has it
        timeout: float = 60,
        check: bool = False,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on a host or in a pod; a pod's sees the host's mounts and processes, as with `nsenter -n`.

        Raises: LabError where it takes longer than `timeout` seconds, or where `check` and it fails.
        """
        words = self.words(where, argv)
        said = " ".join((self._tool(argv[0]), *argv[1:]))
        try:
            done = subprocess.run(
                words, input=input, capture_output=True, text=True, errors="replace", timeout=timeout, check=False,
                env={**process.environment(), **(env or {})}, stdin=subprocess.DEVNULL if input is None else None,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise LabError(f"{said} on {where} took more than {timeout:.0f} s") from None
        if check and done.returncode != 0:
            raise LabError(f"{said} on {where} failed: {_last_line(done)}")
        return done

    def start(
        self, where: str, argv: Sequence[str], stdout: int | IO[bytes] = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a program and leave it running; it ends with the lab."""
        started = subprocess.Popen(
            self.words(where, argv), stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.DEVNULL,
            env=process.environment(), start_new_session=True,
        )  # fmt: skip
        self._processes.append(started)
        return started

    def _tool(self, name: str) -> str:
        """`iptables`, `ip6tables-save`, … of the lab's backend."""
        base, dash, rest = name.partition("-")
        if base in {"iptables", "ip6tables"} and rest in {"", "save", "restore"}:
            return f"{base}-{self.backend}{dash}{rest}"
        return name

    def client(
        self, flow: Flow, *, dst: str | None = None, dport: int | None = None, timeout: float = CLIENT_SECONDS
    ) -> ClientResult:
        """Send a real flow from `flow.from_` and say what the client saw: two exchanges, over TCP in one connection.

        `dst` (with `dport`) is called instead of `flow.to`. Without `flow.sport`, a fresh port: a conntrack entry of an
        earlier try would answer for the state that it was made in. Raises: FlowError, LabError.
        """
        if dst is None:
            called = target.resolve(self.topology, flow)
        else:
            port = flow.dport if dport is None else dport
            called = target.Target(dst, flow.proto or ("icmp" if port is None else "tcp"), port)
        given = json.dumps({
            "proto": called.proto, "dst": called.address, "dport": called.port, "src": flow.src, "sport": flow.sport,
            "mark": flow.mark, "uid": flow.uid, "gid": flow.gid, "tos": flow.tos, "ttl": flow.ttl, "size": flow.size,
            "df": flow.df, "timeout": timeout,
        })  # fmt: skip
        words = [sys.executable, "-I", "-S", TRAFFIC, "ask", given]
        done = self.run(flow.from_, words, timeout=timeout * 8)
        if done.returncode != 0:
            raise LabError(f"the client on {flow.from_} failed: {_last_line(done)}")
        return ClientResult(**json.loads(done.stdout))

    def state(self, host: str) -> dict[str, str]:
        """Return the state of a host and its pods, "as it was": equal before a change and after its undo."""
        places = [host, *(name for name, home in self._homes.items() if home == host != name)]
        return {
            f"{place} {title}": text
            for place in places
            for title, text in state.read(lambda argv, at=place: self.run(at, argv, check=True).stdout).items()  # type: ignore[misc]
        }


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    said = (done.stderr or done.stdout).strip().splitlines()
    return said[-1] if said else f"exit status {done.returncode}"
