"""Builds client, router and server in namespaces of its own, then runs programs and sends frames there as it is told.

Knows nothing of netdoctor: it reads one JSON request a line and answers with one line.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

SETUP = """
netns add client
netns add router
netns add server
link add eth0 netns client address 02:00:00:00:01:02 type veth peer name in0 netns router address 02:00:00:00:01:01
link add eth0 netns server address 02:00:00:00:02:02 type veth peer name out0 netns router address 02:00:00:00:02:01
-n client addr add 10.1.0.2/24 dev eth0
-n client addr add 2001:db8:1::2/64 dev eth0 nodad
-n server addr add 10.2.0.2/24 dev eth0
-n server addr add 2001:db8:2::2/64 dev eth0 nodad
-n router addr add 10.1.0.1/24 dev in0
-n router addr add 2001:db8:1::1/64 dev in0 nodad
-n router addr add 10.2.0.1/24 dev out0
-n router addr add 2001:db8:2::1/64 dev out0 nodad
-n client link set lo up
-n router link set lo up
-n server link set lo up
-n client link set eth0 up
-n server link set eth0 up
-n router link set in0 up
-n router link set out0 up
-n client route add default via 10.1.0.1
-n client route add ::/0 via 2001:db8:1::1
-n server route add default via 10.2.0.1
-n server route add ::/0 via 2001:db8:2::1
-n router neigh replace 10.1.0.2 lladdr 02:00:00:00:01:02 dev in0 nud permanent
-n router neigh replace 2001:db8:1::2 lladdr 02:00:00:00:01:02 dev in0 nud permanent
-n router neigh replace 10.2.0.2 lladdr 02:00:00:00:02:02 dev out0 nud permanent
-n router neigh replace 2001:db8:2::2 lladdr 02:00:00:00:02:02 dev out0 nud permanent
-n client neigh replace 10.1.0.1 lladdr 02:00:00:00:01:01 dev eth0 nud permanent
-n client neigh replace 2001:db8:1::1 lladdr 02:00:00:00:01:01 dev eth0 nud permanent
-n server neigh replace 10.2.0.1 lladdr 02:00:00:00:02:01 dev eth0 nud permanent
-n server neigh replace 2001:db8:2::1 lladdr 02:00:00:00:02:01 dev eth0 nud permanent
"""

ROUTER_SYSCTLS = {"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"}


def enter(name: str) -> int:
    """Move this process into a namespace and return a handle of the one it came from."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    target = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    _setns(target)
    os.close(target)
    return before


def leave(before: int) -> None:
    """Go back."""
    _setns(before)
    os.close(before)


def _setns(handle: int) -> None:
    if _libc.setns(handle, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Agent:
    def __init__(self) -> None:
        self.wires: dict[tuple[str, str], socket.socket] = {}

    def build(self) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
        os.mkdir("/run/netns")  # noqa: PTH102
        os.environ["XTABLES_LOCKFILE"] = "/run/xtables.lock"
        batch = "\n".join(line for line in SETUP.strip().splitlines() if not line.startswith("-n"))
        subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
        for name in ("client", "router", "server"):
            lines = [line.partition(f"-n {name} ")[2] for line in SETUP.splitlines() if line.startswith(f"-n {name} ")]
            subprocess.run(["ip", "-n", name, "-batch", "-"], input="\n".join(lines), text=True, check=True)
        before = enter("router")
        for name, value in ROUTER_SYSCTLS.items():
            Path("/proc/sys/net", name).write_text(value, encoding="ascii")
        leave(before)

    def run(self, argv: list[str], netns: str, stdin: str = "") -> dict[str, Any]:
        before = enter(netns)
        try:
            done = subprocess.run(
                argv, input=stdin, capture_output=True, text=True, timeout=60, errors="replace", check=False
            )
        finally:
            leave(before)
        return {"status": done.returncode, "out": done.stdout, "err": done.stderr}

    def send(self, netns: str, dev: str, frames: list[str]) -> dict[str, Any]:
        """Put whole Ethernet frames on a wire."""
        wire = self.wires.get((netns, dev))
        if wire is None:
            before = enter(netns)
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            wire.bind((dev, 0))
            leave(before)
            self.wires[netns, dev] = wire
        for frame in frames:
            wire.send(bytes.fromhex(frame))
        return {}

    def local(self, netns: str, family: int, dst: str, packet: str, mark: int = 0) -> dict[str, Any]:
        """Send an IP packet, header included, from a raw socket: it passes OUTPUT with a socket."""
        before = enter(netns)
        try:
            kind = socket.AF_INET if family == 4 else socket.AF_INET6
            with socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
                if mark:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
                raw.sendto(bytes.fromhex(packet), (dst, 0))
        except PermissionError as error:
            return {"error": str(error)}
        finally:
            leave(before)
        return {}


def main() -> None:
    agent = Agent()
    agent.build()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        verb = request.pop("do")
        print(json.dumps(getattr(agent, verb)(**request)), flush=True)


if __name__ == "__main__":
    main()
