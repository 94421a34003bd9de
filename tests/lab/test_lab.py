"""A lab is a real network: packets flow in the healthy one, and what breaks it stops them."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netdoctor.lab import state
from netdoctor.lab.lab import Backend, Lab
from netdoctor.lab.topology import Host, Server, Topology
from netdoctor.model.errors import LabError
from netdoctor.model.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kernel
WEB, CART = "shop/web-6c8", "shop/cart-7f9"
SERVICE = "svc/shop/cart:http"
OUTSIDE = "203.0.113.1:443"
CNI_COMMENT = 'name: "podnet" id: "node"'
CNI_MASQUERADE = (
    "-s",
    "10.244.0.0/24",
    "!",
    "-o",
    "cni0",
    "-m",
    "comment",
    "--comment",
    CNI_COMMENT,
    "-j",
    "MASQUERADE",
)


def connects(lab: Lab, from_: str, to: str) -> str:
    return lab.client(Flow(from_=from_, to=to), timeout=0.6).connects


@pytest.mark.parametrize(
    ("from_", "to"),
    [
        (WEB, SERVICE),
        (WEB, "svc/shop/cart:dns"),
        (CART, SERVICE),
        ("node", SERVICE),
        (WEB, "shop/cart-7f9:8080"),
        (WEB, CART),
        (WEB, OUTSIDE),
        (WEB, "203.0.113.1"),
        (WEB, "203.0.113.1:53/udp"),
        (WEB, "[fd00:10:96::10]:80"),
        (CART, "[fd00:10:96::10]:80"),
        (WEB, "2001:db8::1"),
        ("outside", "192.0.2.10:10250"),
    ],
)
def test_packets_flow_on_the_healthy_node(two_pods: Lab, from_: str, to: str) -> None:
    assert connects(two_pods, from_, to) == "yes"


def test_the_world_outside_does_not_know_the_way_to_pods(two_pods: Lab) -> None:
    result = two_pods.client(Flow(from_="outside", to="10.244.0.3:8080"))
    assert (result.connects, result.error) == ("no", "ENETUNREACH")


def test_a_service_is_called_by_its_caller_and_the_world_outside_by_the_node(two_pods: Lab) -> None:
    """The server says whom it saw: the pod itself, and the node that masquerades for it."""
    seen = [two_pods.client(Flow(from_=WEB, to=to, sport=41234)).peer for to in (SERVICE, OUTSIDE)]
    assert seen == ["10.244.0.2 41234", "192.0.2.10 41234"]


BREAKS = {
    "answers bypass the translation": (("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0"), WEB, SERVICE),
    "a port does not send back": (("bridge", "link", "set", "dev", "vethb", "hairpin", "off"), CART, SERVICE),
    "a pod meets its own address": (("iptables", "-t", "nat", "-F", "KUBE-POSTROUTING"), CART, SERVICE),
    "pods leave with their own address": (
        ("iptables", "-t", "nat", "-D", "POSTROUTING", *CNI_MASQUERADE),
        WEB,
        OUTSIDE,
    ),
    "nothing is forwarded": (("sysctl", "-qw", "net.ipv4.ip_forward=0"), WEB, OUTSIDE),
    "a policy drops": (("iptables", "-P", "FORWARD", "DROP"), WEB, OUTSIDE),
}


@pytest.mark.parametrize("what", BREAKS)
def test_what_breaks_the_node_stops_the_real_packet(two_pods: Lab, what: str) -> None:
    command, from_, to = BREAKS[what]
    assert connects(two_pods, from_, to) == "yes"
    two_pods.run("node", command, check=True)
    result = two_pods.client(Flow(from_=from_, to=to), timeout=0.6)
    assert (result.connects, result.error) == ("no", "timeout")


@pytest.mark.parametrize(
    ("from_", "to"),
    [
        ("app", OUTSIDE),
        ("job", "app:80"),
        ("job", "192.0.2.10:8080"),
        ("app", "192.0.2.10:8080"),
        ("outside", "192.0.2.10:8080"),
        ("node", "127.0.0.1:8080"),
    ],
)
def test_packets_flow_on_the_healthy_docker_host(
    build: Callable[..., Lab], backend: Backend, from_: str, to: str
) -> None:
    assert connects(build("docker-bridge", backend), from_, to) == "yes"


@pytest.mark.parametrize(
    ("from_", "to"),
    [
        ("shop/web-1", "svc/shop/db"),
        ("shop/web-2", "svc/shop/db"),
        ("shop/db-0", "svc/shop/db"),
        ("shop/web-1", "svc/shop/cart"),
        ("shop/cart-1", "svc/shop/cart"),
        ("node-1", "svc/shop/db"),
        ("shop/web-1", "shop/web-2"),
        ("shop/web-2", OUTSIDE),
    ],
)
def test_packets_flow_between_two_healthy_nodes(build: Callable[..., Lab], from_: str, to: str) -> None:
    assert connects(build("two-hosts"), from_, to) == "yes"


def test_a_host_sees_only_its_own_pods_processes_and_state(build: Callable[..., Lab]) -> None:
    lab = build("two-pods")
    words = ["sh", "-c", "ls /run/netns /var/lib/cni/results; ls /sys/class/net; hostname; ps -wweo args"]
    seen = lab.run("outside", words, check=True).stdout
    assert seen.startswith("/run/netns:\n\n/var/lib/cni/results:\neth0\nlo\noutside\n")
    assert ("443" in seen, "8080" in seen) == (True, False)


def test_a_program_in_a_pod_sees_the_hosts_files_and_the_pods_network(build: Callable[..., Lab]) -> None:
    lab = build("two-pods")
    seen = lab.run(WEB, ["sh", "-c", "ls /run/netns; cat /proc/net/dev"], check=True).stdout
    assert "cni-00000001" in seen
    assert "cni0" not in seen


def test_rules_and_commands_use_the_tool_of_the_backend(two_pods: Lab, backend: Backend) -> None:
    lines = {
        tool: two_pods.run("node", [f"iptables-{tool}-save"]).stdout.count("KUBE-SVC-") for tool in ("nft", "legacy")
    }
    assert {"nft", "legacy"} - {backend} == {tool for tool, count in lines.items() if count == 0}
    named = {"nft": "nf_tables", "legacy": "legacy"}[backend]
    assert named in two_pods.run("node", ["iptables", "--version"]).stdout


def test_the_state_is_the_same_after_traffic_and_different_after_a_change(two_pods: Lab) -> None:
    before = two_pods.state("node")
    connects(two_pods, WEB, SERVICE)
    connects(two_pods, CART, SERVICE)
    assert state.differences(before, two_pods.state("node")) == []
    two_pods.run("node", ["ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.1"], check=True)
    assert state.differences(before, two_pods.state("node")) == [
        "+ node routes: 198.51.100.0/24 via 192.0.2.1 dev eth0"
    ]


def test_ip_forward_off_and_on_again_is_not_as_it_was(build: Callable[..., Lab]) -> None:
    """The kernel rewrites the value of every interface, so a naive undo is seen."""
    lab = build("two-pods")
    lab.run("node", ["sysctl", "-qw", "net.ipv4.conf.eth0.forwarding=0"], check=True)
    before = lab.state("node")
    lab.run("node", ["sysctl", "-qw", "net.ipv4.ip_forward=0"], check=True)
    lab.run("node", ["sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
    assert "+ node sysctls: net.ipv4.conf.eth0.forwarding = 1" in state.differences(before, lab.state("node"))


def test_a_place_that_is_not_there_is_refused_with_the_list(build: Callable[..., Lab]) -> None:
    with pytest.raises(
        LabError, match=r"nothing is called 'shop/db' .* there are: node, shop/web-6c8, shop/cart-7f9, outside"
    ):
        build("two-pods").run("shop/db", ["true"])


def test_a_command_that_fails_is_told_in_its_own_words(build: Callable[..., Lab]) -> None:
    with pytest.raises(LabError, match=r"ip route add nonsense on node failed: Error: .*nonsense"):
        build("two-pods").run("node", ["ip", "route", "add", "nonsense"], check=True)


def test_a_command_that_hangs_is_ended(build: Callable[..., Lab]) -> None:
    lab = build("two-pods")
    with pytest.raises(LabError, match="sleep 61 on node took more than 0 s"):
        lab.run("node", ["sleep", "61"], timeout=0.2)
    assert "sleep 61" not in lab.run("node", ["ps", "-eo", "args"]).stdout


def test_rules_that_do_not_load_are_an_error_that_says_why() -> None:
    lab = Lab(
        Topology(about="broken", hosts=(Host(name="a", commands=(("iptables-nft", "-A", "NOWHERE", "-j", "DROP"),)),))
    )
    with pytest.raises(LabError, match=r"cannot build a: .*No chain"), lab:
        pass


def test_labs_side_by_side_do_not_collide() -> None:
    """Four of the same name at once, each with its own packets."""

    def once(number: int) -> str:
        with Lab("two-pods", backend="nft" if number % 2 else "legacy") as lab:
            return lab.client(Flow(from_=WEB, to=SERVICE)).connects

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(once, range(4))) == ["yes"] * 4


def test_a_lab_built_in_a_thread_outlives_it() -> None:
    """Its owner is the process, not the thread that happened to make it."""
    lab = Lab(Topology(about="one", hosts=(Host(name="a", servers=(Server(80),)),)))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lab.__enter__).result()
    try:
        assert lab.client(Flow(from_="a", to="127.0.0.1:80")).connects == "yes"
    finally:
        lab.close()


def test_this_machine_is_not_touched() -> None:
    """Its links, rules, mounts and named namespaces are the same while a lab runs and afterwards."""

    def machine() -> list[str]:
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        named = sorted(path.name for path in Path("/run/netns").glob("*"))
        return [links, *named, Path("/proc/self/mountinfo").read_text()]

    before = machine()
    with Lab("two-pods"):
        during = machine()
    assert [before, before] == [during, machine()]


def test_what_is_orphaned_in_a_host_is_reaped(build: Callable[..., Lab]) -> None:
    """A program that leaves children behind leaves no zombies."""
    lab = build("two-pods")
    lab.run("node", ["sh", "-c", "(sleep 0.1 &) ; exit 0"], check=True)
    left = lab.run("node", ["sh", "-c", "sleep 0.4; ps -eo stat"], check=True).stdout
    assert "Z" not in left
