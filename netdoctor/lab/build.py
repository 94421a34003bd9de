"""A topology's hosts as shell scripts, one for each host, so that a lab is up in a quarter of a second.

Knows nothing of processes: it only writes text. Every value of the topology is quoted.
"""

from __future__ import annotations

import hashlib
import json
from shlex import join, quote
from typing import TYPE_CHECKING

from netdoctor.lab.topology import pod_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netdoctor.lab.topology import Bridge, Host, Pod


def netns_name(number: int) -> str:
    """Return the name of a pod under /run/netns, such as runtimes make up: what it is called is in their state."""
    return f"cni-{number:08x}"


def furnish(host: Host) -> str:
    """Return the script that makes the bridges, pods and sysctls of a host; wires come later."""
    lines = ["set -e"]
    lines += _addresses("ip", "lo", host.loopback)
    for bridge in host.bridges:
        lines += _bridge(bridge)
    for number, pod in enumerate(host.pods):
        lines += _pod(pod, netns_name(number))
        lines += _state_of_runtime(host, pod, netns_name(number))
    lines += _sysctls("", host.sysctls)
    return "\n".join(lines)


def mac(host: str, dev: str) -> str:
    """Return the MAC of a wire's end: locally administered, and the same on every run."""
    digest = hashlib.sha256(f"{host} {dev}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (2, *digest[:5]))


def uplink(dev: str, addresses: Iterable[str], bridge: str | None) -> str:
    """Return the script that gives a wire's end its addresses and its bridge."""
    master = f" master {quote(bridge)}" if bridge else ""
    return "\n".join(["set -e", *_addresses("ip", dev, addresses), f"ip link set {quote(dev)}{master} up"])


def finish(host: Host) -> str:
    """Return the script that adds routes and what else the topology says, once the wires are there."""
    lines = ["set -e", *(f"ip route add {join(route.split())}" for route in host.routes)]
    lines += [join(command) for command in host.commands]
    return "\n".join(lines)


def _bridge(bridge: Bridge) -> Iterator[str]:
    mac = f"address {quote(bridge.mac)} " if bridge.mac else ""
    yield f"ip link add {quote(bridge.name)} {mac}type bridge"
    yield f"ip link set {quote(bridge.name)} up"
    yield from _addresses("ip", bridge.name, bridge.addresses)


def _pod(pod: Pod, netns: str) -> Iterator[str]:
    mac = f" address {quote(pod.mac)}" if pod.mac else ""
    port, dev = quote(pod.port), quote(pod.dev)
    inside = f"ip -n {netns}"
    yield f"ip netns add {netns}"
    yield f"ip link add {port} type veth peer name {dev}{mac} netns {netns}"
    if pod.bridge:
        yield f"ip link set {port} master {quote(pod.bridge)} up"
        yield f"bridge link set dev {port} hairpin {'on' if pod.hairpin else 'off'}"
    else:
        yield f"ip link set {port} up"
    no_dad = " ".join(f"net.ipv6.conf.{name}.accept_dad=0" for name in ("all", "default", pod.dev))
    yield f"[ ! -e /proc/sys/net/ipv6 ] || ip netns exec {netns} sysctl -qw {no_dad}"
    yield f"{inside} link set lo up"
    yield f"{inside} link set {dev} up"
    yield from _addresses(inside, pod.dev, pod.addresses)
    for gateway in pod.gateways:
        yield f"{inside} route add default via {quote(gateway)} dev {dev}"
    for route in pod.routes:
        yield f"{inside} route add {join(route.split())}"
    yield from _sysctls(f"ip netns exec {netns} ", pod.sysctls)


def _addresses(ip: str, dev: str, addresses: Iterable[str]) -> Iterator[str]:
    for address in addresses:
        nodad = " nodad" if ":" in address else ""
        yield f"{ip} address add {quote(address)} dev {quote(dev)}{nodad}"


def _sysctls(prefix: str, sysctls: dict[str, str]) -> Iterator[str]:
    if sysctls:
        yield f"{prefix}sysctl -qw {join(f'{name}={value}' for name, value in sysctls.items())}"


def _state_of_runtime(host: Host, pod: Pod, netns: str) -> Iterator[str]:
    """Write what a runtime keeps about the pod or container on disk; it names the namespace."""
    identity = hashlib.sha256(f"{host.name} {pod_name(pod)}".encode()).hexdigest()
    if pod.container:
        yield from _docker_state(pod, netns, identity)
    else:
        yield _file(f"/var/lib/cni/results/podnet-{identity}-{pod.dev}", _cni_result(pod, netns, identity))


def _cni_result(pod: Pod, netns: str, identity: str) -> object:
    """Return what libcni keeps: api.go, `cachedInfo`."""
    path = f"/run/netns/{netns}"
    return {
        "kind": "cniCacheV1", "containerId": identity, "networkName": "podnet", "ifName": pod.dev, "netns": path,
        "cniArgs": [
            ["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", pod.namespace], ["K8S_POD_NAME", pod.name],
            ["K8S_POD_INFRA_CONTAINER_ID", identity],
        ],
        "result": {
            "cniVersion": "1.0.0", "interfaces": [{"name": pod.dev, "sandbox": path}],
            "ips": [{"address": one, "interface": 0} for one in pod.addresses],
        },
    }  # fmt: skip


def _docker_state(pod: Pod, netns: str, identity: str) -> Iterator[str]:
    """Write what Docker keeps: moby daemon/container/container.go, `config.v2.json` and `hostconfig.json`."""
    folder = f"/var/lib/docker/containers/{identity}"
    ports = {f"{one.port}/{one.proto}": None for one in pod.servers}
    address, _, length = pod.addresses[0].partition("/")
    endpoint = {
        "IPAddress": address,
        "IPPrefixLen": int(length),
        "Gateway": next(iter(pod.gateways), ""),
        "MacAddress": pod.mac or "",
    }
    config = {
        "ID": identity, "Name": f"/{pod.name}", "State": {"Running": True, "Pid": 0}, "Config": {"Labels": {}},
        "NetworkSettings": {"SandboxKey": f"/run/netns/{netns}", "Ports": ports, "Networks": {"bridge": endpoint}},
    }  # fmt: skip
    yield _file(f"{folder}/config.v2.json", config)
    yield _file(f"{folder}/hostconfig.json", {"NetworkMode": "default"})


def _file(path: str, value: object) -> str:
    folder = path.rpartition("/")[0]
    return f"mkdir -p {quote(folder)}; printf '%s\\n' {quote(json.dumps(value))} > {quote(path)}"
