"""Builds a topology in real namespaces, runs programs and real clients in it, and tells its state.

Knows nothing of snapshots, rules or fixes. Each host is a net, mount and pid namespace of its own and sees only its own pods.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from netdoctor.lab import process, state, topology
from netdoctor.model.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from netdoctor.lab.topology import Host, Pod, Server, Topology
    from netdoctor.model.flow import Flow

Backend = Literal["nft", "legacy"]
TRAFFIC = str(Path(__file__).with_name("traffic.py"))
CLIENT_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class ClientResult:
    """What a real client saw."""

    connects: Literal["yes", "no"]
    error: str | None  # "timeout", "ECONNREFUSED", …
    peer: str | None  # "ADDRESS PORT" of the client as the server saw it
    exchanges: int  # of two


class Lab:
    """A throw-away network; use it as a context manager."""

    def __init__(self, name: str | Topology, *, backend: Backend = "nft") -> None:
        self.topology = topology.load(name) if isinstance(name, str) else name
        self.backend: Backend = backend
        self.user = os.geteuid() != 0
        self._processes: list[subprocess.Popen[bytes]] = []
        self._pids: dict[str, int] = {}
        self._paths: dict[str, str] = {}  # pod -> its namespace under the host's /run/netns
        self._hosts: dict[str, Host] = {}  # pod or host -> host

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
        """End everything. The first process is the pid namespace of all others."""
        for one in reversed(self._processes):
            one.kill()
        for one in self._processes:
            one.wait()
            for stream in (one.stdout, one.stderr):
                if stream is not None:
                    stream.close()
        self._processes.clear()

    # --- building

    def _build(self) -> None:
        outer = process.outer()
        self._processes.append(outer)
        inside = process.innermost(outer.pid)
        for host in self.topology.hosts:
            started = process.start((
                *process.enter(inside, user=self.user), "unshare", *process.NAMESPACES, "sh", "-c", process.PRIVATE,
            ))  # fmt: skip
            self._processes.append(started)
            self._pids[host.name] = process.innermost(started.pid)
            self._hosts[host.name] = host
        for host in self.topology.hosts:
            self._furnish(host)
        for wire in self.topology.wires:
            self._wire(wire)
        for host in self.topology.hosts:
            self._start_routes_and_rules(host)
        for host in self.topology.hosts:
            self._serve(host.name, host.servers)
            for pod in host.pods:
                self._serve(pod_name(pod), pod.servers)

    def _furnish(self, host: Host) -> None:
        """Bridges, pods and sysctls, in one shell."""
        lines = ["set -e"]
        lines += [f"ip address add {address} dev lo" for address in host.loopback]
        for bridge in host.bridges:
            mac = f"address {bridge.mac}" if bridge.mac else ""
            lines += [f"ip link add {bridge.name} {mac} type bridge", f"ip link set {bridge.name} up"]
            lines += [f"ip address add {address} dev {bridge.name} {_nodad(address)}" for address in bridge.addresses]
        for number, pod in enumerate(host.pods):
            lines += self._pod_lines(host, pod, number)
        lines += [f"sysctl -qw {name}={value}" for name, value in host.sysctls.items()]
        self._shell(host.name, lines)

    def _pod_lines(self, host: Host, pod: Pod, number: int) -> list[str]:
        # Runtimes make such names up; what a pod is called stands in their state.
        netns = f"cni-{number:08x}"
        name = pod_name(pod)
        self._hosts[name] = host
        self._paths[name] = f"/proc/{self._pids[host.name]}/root/run/netns/{netns}"
        mac = f"address {pod.mac}" if pod.mac else ""
        inside = f"ip -n {netns}"
        lines = [
            f"ip netns add {netns}",
            f"ip link add {pod.port} type veth peer name {pod.dev} {mac} netns {netns}",
            f"ip link set {pod.port} master {pod.bridge} up",
            f"bridge link set dev {pod.port} hairpin {'on' if pod.hairpin else 'off'}",
            # Duplicate address detection would keep a namespace that lives for seconds busy for its first two.
            f"ip netns exec {netns} sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0"
            f" net.ipv6.conf.{pod.dev}.accept_dad=0",
            f"{inside} link set lo up",
            f"{inside} link set {pod.dev} up",
        ]
        lines += [f"{inside} address add {address} dev {pod.dev} {_nodad(address)}" for address in pod.addresses]
        lines += [f"{inside} route add default via {gateway}" for gateway in pod.gateways]
        lines.append(_state_file(host, pod, netns))
        return lines

    def _wire(self, wire: topology.Wire) -> None:
        first, second = wire.hosts
        # Only the network namespace is entered, so that the second host's process id means the same there.
        who = ("-U", "--preserve-credentials") if self.user else ()
        self._run_checked([
            "nsenter", "-t", str(self._pids[first]), *who, "-n",
            "ip", "link", "add", wire.devs[0], "type", "veth", "peer", "name", wire.devs[1], "netns", str(self._pids[second]),
        ])  # fmt: skip
        for host, dev, addresses in zip(wire.hosts, wire.devs, wire.addresses, strict=True):
            self._shell(host, [
                "set -e", *(f"ip address add {address} dev {dev} {_nodad(address)}" for address in addresses), f"ip link set {dev} up"
            ])  # fmt: skip

    def _start_routes_and_rules(self, host: Host) -> None:
        lines = ["set -e", *(f"ip route add {route}" for route in host.routes)]
        self._shell(host.name, lines)
        for family, file in host.rules.items():
            text = (topology.folder() / file).read_text()
            program = f"{'iptables' if family == 'ip' else 'ip6tables'}-{self.backend}-restore"
            self.run(host.name, [program], input=text, check=True)

    def _serve(self, where: str, servers: Sequence[Server]) -> None:
        if not servers:
            return
        given = json.dumps([(one.proto, one.address, one.port) for one in servers])
        command = (*self._entry(where), sys.executable, "-I", "-S", TRAFFIC, "serve", given)
        self._processes.append(process.start(command))

    # --- using

    def _entry(self, where: str) -> tuple[str, ...]:
        host = self._hosts.get(where)
        if host is None:
            known = ", ".join(self._hosts)
            raise LabError(f"nothing is called {where!r} in this topology", f"there are: {known}")
        return process.enter(self._pids[host.name], netns=self._paths.get(where), user=self.user)

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
        """Run a program on a host or in a pod. In a pod, the host's mounts and processes are seen, as with `nsenter -n`.

        `iptables` and its kin are replaced by those of the lab's backend. Raises: LabError where `check` and it fails.
        """
        words = [self._tool(argv[0]), *argv[1:]]
        environment = {**os.environ, "PATH": process.search_path(), **(env or {})}
        try:
            done = subprocess.run(
                [*self._entry(where), *words], input=input, capture_output=True, text=True, timeout=timeout, check=False,
                env=environment, stdin=subprocess.DEVNULL if input is None else None,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise LabError(f"{' '.join(words)} on {where} took more than {timeout:.0f} s") from None
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise LabError(f"{' '.join(words)} on {where} failed: {said[-1] if said else done.returncode}")
        return done

    def _tool(self, name: str) -> str:
        """`iptables`, `ip6tables-save`, … of the lab's backend."""
        base, dash, rest = name.partition("-")
        if base in {"iptables", "ip6tables"} and rest in {"", "save", "restore"}:
            return f"{base}-{self.backend}{dash}{rest}"
        return name

    def client(self, flow: Flow, *, dst: str, dport: int | None, timeout: float = CLIENT_SECONDS) -> ClientResult:
        """Send a real flow from `flow.from_` to an address, and say what the client saw. Without `sport`, a fresh port."""
        given = json.dumps({
            "proto": flow.proto or ("tcp" if dport is not None else "icmp"), "dst": dst, "dport": dport, "src": flow.src,
            "sport": flow.sport, "mark": flow.mark, "timeout": timeout,
        })  # fmt: skip
        done = self.run(
            flow.from_, [sys.executable, "-I", "-S", TRAFFIC, "ask", given], timeout=timeout * 8, check=True
        )
        return ClientResult(**json.loads(done.stdout))

    def state(self, host: str) -> dict[str, str]:
        """Return the state of a host and its pods in the sense of "as it was": equal before a change and after its undo."""
        places = [host, *(name for name, owner in self._hosts.items() if owner.name == host and name != host)]
        return {
            f"{place} {title}": text
            for place in places
            for title, text in state.read(lambda argv, place=place: self.run(place, argv, check=True).stdout).items()  # type: ignore[misc]
        }

    def _shell(self, where: str, lines: Sequence[str]) -> None:
        self.run(where, ["sh", "-c", "\n".join(lines)], check=True)

    def _run_checked(self, argv: Sequence[str]) -> None:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, "PATH": process.search_path()},
        )
        if done.returncode != 0:
            raise LabError(f"cannot build namespaces: {' '.join(argv)}: {done.stderr.strip()}")


def pod_name(pod: Pod) -> str:
    """Return what a pod is called: `shop/web`; a container has its name alone."""
    return pod.name if pod.container else f"{pod.namespace}/{pod.name}"


def _nodad(address: str) -> str:
    return "nodad" if ":" in address else ""


def _state_file(host: Host, pod: Pod, netns: str) -> str:
    """Return a shell line that writes what a runtime would have written about the pod."""
    identity = f"{abs(hash_of(host.name + pod_name(pod))):064x}"
    if pod.container:
        value = {
            "ID": identity, "Name": f"/{pod.name}", "State": {"Running": True, "Pid": 0}, "Config": {"Labels": {}},
            "NetworkSettings": {
                "SandboxKey": f"/run/netns/{netns}",
                "Networks": {"bridge": {"IPAddress": pod.addresses[0].partition("/")[0]}},
            },
        }  # fmt: skip
        path = f"/var/lib/docker/containers/{identity}/config.v2.json"
    else:
        value = {
            "kind": "cniCacheV1", "containerId": identity, "networkName": "podnet", "ifName": pod.dev,
            "netns": f"/run/netns/{netns}",
            "cniArgs": [["K8S_POD_NAMESPACE", pod.namespace], ["K8S_POD_NAME", pod.name]],
            "result": {"cniVersion": "0.4.0", "ips": [{"address": address} for address in pod.addresses]},
        }  # fmt: skip
        path = f"/var/lib/cni/results/podnet-{identity}-{pod.dev}"
    return f"mkdir -p {os.path.dirname(path)}; cat > {path} <<'END'\n{json.dumps(value)}\nEND"  # noqa: PTH120


def hash_of(text: str) -> int:
    """Return the same number for the same text on every run: container ids that stay."""
    number = 0xCBF29CE484222325
    for letter in text.encode():
        number = (number ^ letter) * 0x100000001B3 & ((1 << 256) - 1)
    return number
