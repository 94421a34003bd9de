"""Scripts that build hosts are text in which every value is quoted."""

from __future__ import annotations

import json
import subprocess

from netdoctor.lab import build
from netdoctor.lab.topology import Bridge, Host, Pod, Server

HOSTILE = "x'; touch /tmp/oops; '"
POD = Pod(
    name="web",
    namespace="shop",
    bridge="cni0",
    port="vetha",
    addresses=("10.0.0.2/24", "fd00::2/64"),
    gateways=("10.0.0.1",),
)


def words(script: str) -> list[str]:
    """What a shell makes of a script, without running a command of it."""
    functions = "".join(
        f"{name}() {{ printf '%s\\n' {name} \"$@\"; }}\n" for name in ("ip", "bridge", "sysctl", "mkdir", "touch")
    )
    shell = subprocess.run(["sh", "-c", functions + script], capture_output=True, text=True, check=True)
    return shell.stdout.splitlines()


def test_a_hostile_name_stays_one_word() -> None:
    """A topology's values never become commands."""
    host = Host(
        name="a", bridges=(Bridge(HOSTILE, (HOSTILE,), HOSTILE),), loopback=(HOSTILE,), sysctls={HOSTILE: HOSTILE}
    )
    said = words(build.furnish(host)) + words(build.uplink(HOSTILE, [HOSTILE], HOSTILE))
    assert "touch" not in said
    assert HOSTILE in said


def test_a_hostile_command_or_route_stays_words() -> None:
    said = words(
        build.finish(Host(name="a", routes=("10.0.0.0/8 via $(touch /tmp/oops)",), commands=(("ip", HOSTILE),)))
    )
    assert "touch" not in said
    assert said[-2:] == ["ip", HOSTILE]


def test_hairpin_is_set_as_the_topology_says() -> None:
    host = Host(name="a", bridges=(Bridge("cni0"),), pods=(POD,))
    assert "bridge link set dev vetha hairpin on" in build.furnish(host)


def test_a_pod_without_a_bridge_hangs_on_a_routed_veth() -> None:
    pod = Pod(name="web", port="cali1", addresses=("10.0.0.2/32",), routes=("169.254.1.1 dev eth0 scope link",))
    script = build.furnish(Host(name="a", pods=(pod,)))
    assert "master" not in script
    assert "ip -n cni-00000000 route add 169.254.1.1 dev eth0 scope link" in script


def written(script: str) -> list[dict[str, object]]:
    return [json.loads(line.split("'")[3]) for line in script.splitlines() if line.startswith("mkdir")]


def test_a_pod_leaves_the_result_that_libcni_caches() -> None:
    (cached,) = written(build.furnish(Host(name="a", pods=(POD,))))
    assert [cached["kind"], cached["netns"]] == ["cniCacheV1", "/run/netns/cni-00000000"]
    assert ["K8S_POD_NAME", "web"] in cached["cniArgs"]


def test_a_container_leaves_the_state_that_docker_keeps() -> None:
    pod = Pod(name="app", port="vetha", addresses=("172.17.0.2/16",), container=True, servers=(Server(80),))
    config, host_config = written(build.furnish(Host(name="a", pods=(pod,))))
    assert [config["Name"], host_config] == ["/app", {"NetworkMode": "default"}]


def test_identities_are_the_same_on_every_run() -> None:
    host = Host(name="a", pods=(POD,))
    assert build.furnish(host) == build.furnish(host)
