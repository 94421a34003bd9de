"""What runtimes keep on disk becomes workloads and networks; what is torn or hostile becomes a note."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from netdoctor.collect.workloads import allowed, discover, pod_owner
from netdoctor.model.snapshot import Network, Port, Workload

if TYPE_CHECKING:
    from pathlib import Path

DOCKER_ID = "c4e0a5eabed52057d5dc053fddf1ea2a1a465d51e15855f3c48ceba483bf4355"


def put(root: Path, path: str, content: Any) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def docker_state(**changes: Any) -> dict[str, Any]:
    return {
        "ID": DOCKER_ID,
        "Name": "/web",
        "Path": "nginx",
        "Args": ["--password=hunter2"],
        "State": {"Running": True, "Pid": 4711},
        "Config": {
            "Env": ["TOKEN=hunter2"],
            "Cmd": ["--password=hunter2"],
            "Labels": {"com.docker.compose.service": "web", "secret": "hunter2"},
        },
        "NetworkSettings": {
            "SandboxKey": "/var/run/docker/netns/6d5dc053fddf",
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "53/udp": None},
            "Networks": {
                "shop": {
                    "IPAddress": "172.20.0.2",
                    "IPPrefixLen": 16,
                    "Gateway": "172.20.0.1",
                    "NetworkID": "0123456789abcdef",
                }
            },
        },
        **changes,
    }


def test_a_running_docker_container_is_read_with_its_network_and_without_its_secrets(tmp_path: Path) -> None:
    folder = f"var/lib/docker/containers/{DOCKER_ID}"
    put(tmp_path, f"{folder}/config.v2.json", docker_state())
    put(tmp_path, f"{folder}/hostconfig.json", {"NetworkMode": "shop", "Binds": ["/secret:/secret"]})
    (tmp_path / "sys/class/net/br-0123456789ab/bridge").mkdir(parents=True)

    found = discover(tmp_path)

    assert found.unread == ()
    assert [one.netns_path for one in found.workloads] == ["/var/run/docker/netns/6d5dc053fddf"]
    assert [one.workload for one in found.workloads] == [
        Workload(
            runtime="docker",
            id=DOCKER_ID,
            name="web",
            owner="web",
            pid=4711,
            state="running",
            network_mode="shop",
            networks=("shop",),
            addresses=("172.20.0.2",),
            ports=(Port("tcp", 80, 8080, "0.0.0.0"),),
            labels={"com.docker.compose.service": "web"},
        )
    ]
    assert found.networks == (
        Network(
            runtime="docker",
            name="shop",
            id="0123456789abcdef",
            bridge="br-0123456789ab",
            subnets=("172.20.0.0/16",),
            gateways=("172.20.0.1",),
        ),
    )
    assert b"hunter2" not in msgspec.json.encode(found.workloads[0].workload)


def test_a_stopped_docker_container_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, "var/lib/docker/containers/a/config.v2.json", docker_state(State={"Running": False, "Pid": 0}))
    assert discover(tmp_path) == ((), (), ())


def test_docker_state_is_read_where_its_daemon_keeps_it(tmp_path: Path) -> None:
    put(tmp_path, "etc/docker/daemon.json", {"data-root": "/srv/docker", "insecure-registries": []})
    put(tmp_path, "srv/docker/containers/a/config.v2.json", docker_state())
    assert [one.workload.name for one in discover(tmp_path).workloads] == ["web"]


def oci(annotations: dict[str, str], netns: str | None) -> dict[str, Any]:
    return {
        "process": {"args": ["--password=hunter2"], "env": ["TOKEN=hunter2"]},
        "annotations": annotations,
        "linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": netns}] if netns else [{"type": "pid"}]},
    }


def test_a_pod_of_containerd_is_named_by_its_bundle(tmp_path: Path) -> None:
    folder = "run/containerd/io.containerd.runtime.v2.task/k8s.io/abc"
    notes = {
        "io.kubernetes.cri.container-type": "sandbox",
        "io.kubernetes.cri.sandbox-name": "cart-7f9c5d8b6-x2x4z",
        "io.kubernetes.cri.sandbox-namespace": "shop",
    }
    put(tmp_path, f"{folder}/config.json", oci(notes, "/var/run/netns/cni-1"))
    put(tmp_path, f"{folder}/init.pid", "812")
    put(tmp_path, "run/containerd/io.containerd.runtime.v2.task/moby/def/config.json", oci(notes, None))

    (found,) = discover(tmp_path).workloads

    assert found.netns_path == "/var/run/netns/cni-1"
    assert found.workload == Workload(
        runtime="containerd",
        id="abc",
        name="cart-7f9c5d8b6-x2x4z",
        pod="cart-7f9c5d8b6-x2x4z",
        pod_namespace="shop",
        owner="cart",
        pid=812,
        state="running",
    )


def test_a_container_of_nerdctl_is_named_too(tmp_path: Path) -> None:
    put(
        tmp_path,
        "run/containerd/io.containerd.runtime.v2.task/default/abc/config.json",
        oci({"nerdctl/name": "web", "nerdctl/namespace": "default"}, None),
    )
    assert [(one.workload.name, one.workload.network_mode) for one in discover(tmp_path).workloads] == [("web", "host")]


def test_podman_takes_names_from_storage_and_addresses_from_cni(tmp_path: Path) -> None:
    static, run = "var/lib/containers/storage/overlay-containers", "run/containers/storage/overlay-containers"
    put(tmp_path, f"{static}/containers.json", [{"id": "aaa", "names": ["web"]}, {"id": "bbb", "names": ["old"]}])
    for identity in ("aaa", "bbb"):
        notes = {"io.container.manager": "libpod"}
        put(tmp_path, f"{static}/{identity}/userdata/config.json", oci(notes, f"/run/netns/netns-{identity}"))
        put(tmp_path, f"{run}/{identity}/userdata/pidfile", "99\n")
    put(tmp_path, "run/libpod/exits/bbb", "0")
    put(
        tmp_path,
        "var/lib/cni/results/pn-aaa-eth0",
        {
            "kind": "cniCacheV1",
            "containerId": "aaa",
            "networkName": "pn",
            "cniArgs": [["K8S_POD_NAMESPACE", "web"], ["K8S_POD_NAME", "web"]],
            "capabilityArgs": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
            "result": {"ips": [{"address": "10.89.5.4/24"}]},
        },
    )
    put(
        tmp_path,
        "etc/containers/networks/pn.json",
        {
            "name": "pn",
            "id": "b01c",
            "driver": "bridge",
            "network_interface": "podman1",
            "subnets": [{"subnet": "10.89.5.0/24", "gateway": "10.89.5.1"}],
            "options": {"isolate": "true", "password": "hunter2"},
        },
    )

    found = discover(tmp_path)

    assert [(one.workload, one.netns_path) for one in found.workloads] == [
        (
            Workload(
                runtime="podman",
                id="aaa",
                name="web",
                pid=99,
                state="running",
                networks=("pn",),
                addresses=("10.89.5.4",),
                ports=(Port("tcp", 80, 8080),),
            ),
            "/run/netns/netns-aaa",
        )
    ]
    assert found.networks == (
        Network(
            runtime="podman",
            name="pn",
            id="b01c",
            driver="bridge",
            bridge="podman1",
            subnets=("10.89.5.0/24",),
            gateways=("10.89.5.1",),
            options={"isolate": "true"},
        ),
    )


def test_a_pod_of_cri_o_is_named_by_its_annotations(tmp_path: Path) -> None:
    folder = "run/containers/storage/overlay-containers/ccc/userdata"
    notes = {
        "io.container.manager": "cri-o",
        "io.kubernetes.cri-o.ContainerType": "sandbox",
        "io.kubernetes.container.name": "POD",
        "io.kubernetes.pod.name": "dns-default-8x9zq",
        "io.kubernetes.pod.namespace": "openshift-dns",
        "io.kubernetes.cri-o.IP.0": "10.128.0.5",
        "io.kubernetes.cri-o.Labels": '{"app":"dns","password":"hunter2"}',
    }
    put(tmp_path, f"{folder}/config.json", oci(notes, "/var/run/netns/dd"))
    put(tmp_path, f"{folder}/pidfile", "17")

    (found,) = discover(tmp_path).workloads

    assert found.workload == Workload(
        runtime="cri-o",
        id="ccc",
        name="dns-default-8x9zq",
        pod="dns-default-8x9zq",
        pod_namespace="openshift-dns",
        owner="dns-default",
        pid=17,
        state="running",
        addresses=("10.128.0.5",),
        labels={"app": "dns"},
    )


def test_a_pod_that_only_cni_knows_stands_for_itself(tmp_path: Path) -> None:
    put(
        tmp_path,
        "var/lib/cni/results/cbr0-abc-eth0",
        {
            "kind": "cniCacheV1",
            "containerId": "abc",
            "networkName": "cbr0",
            "netns": "/run/netns/web",
            "config": "c2VjcmV0",
            "cniArgs": [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", "shop"], ["K8S_POD_NAME", "web"]],
            "result": {"ips": [{"address": "10.244.0.2/24"}]},
        },
    )
    assert [(one.workload, one.netns_path) for one in discover(tmp_path).workloads] == [
        (
            Workload(
                runtime="cni",
                id="abc",
                name="web",
                pod="web",
                pod_namespace="shop",
                owner="web",
                state="running",
                networks=("cbr0",),
                addresses=("10.244.0.2",),
            ),
            "/run/netns/web",
        )
    ]


def test_a_cni_configuration_list_is_a_network(tmp_path: Path) -> None:
    plugin = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24", "gateway": "10.244.0.1"}]]},
    }
    put(tmp_path, "etc/cni/net.d/10-cbr0.conflist", {"name": "cbr0", "plugins": [plugin, {"type": "portmap"}]})
    assert discover(tmp_path).networks == (
        Network(
            runtime="cni",
            name="cbr0",
            driver="bridge",
            bridge="cni0",
            subnets=("10.244.0.0/24",),
            gateways=("10.244.0.1",),
        ),
    )


def test_an_lxc_container_is_found_by_the_cgroup_of_its_init(tmp_path: Path) -> None:
    (tmp_path / "var/lib/lxc/box").mkdir(parents=True)
    for pid, inner in (("100", "1"), ("101", "2")):
        put(tmp_path, f"proc/{pid}/cgroup", "0::/lxc.payload.box/init.scope\n")
        put(tmp_path, f"proc/{pid}/status", f"Name:\tsystemd\nNSpid:\t{pid}\t{inner}\nNSpgid:\t1\n")
    assert [one.workload for one in discover(tmp_path).workloads] == [
        Workload(runtime="lxc", id="box", name="box", pid=100, state="running")
    ]


HOSTILE = [
    "",
    "{",
    '{"ID": ',
    "null",
    "[]",
    "7",
    '{"ID": 7}',
    '{"State": {"Running": "yes"}}',
    "[" * 100_000,
    '{"NetworkSettings": {"Ports": {"80/tcp": [7]}}}',
]
STATE_FILES = [
    "var/lib/docker/containers/a/config.v2.json",
    "run/containerd/io.containerd.runtime.v2.task/k8s.io/a/config.json",
    "run/containers/storage/overlay-containers/a/userdata/config.json",
    "var/lib/containers/storage/overlay-containers/containers.json",
    "etc/containers/networks/a.json",
    "etc/cni/net.d/a.conflist",
    "etc/docker/daemon.json",
    "var/lib/cni/results/a",
]


@pytest.mark.parametrize("path", STATE_FILES)
@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_a_torn_or_hostile_file_is_noted_and_ends_nothing(tmp_path: Path, path: str, content: str) -> None:
    put(tmp_path, path, content)
    put(tmp_path, "var/lib/docker/containers/good/config.v2.json", docker_state())

    found = discover(tmp_path)

    assert [one.workload.name for one in found.workloads] == ["web"]
    assert all(one.what == "workloads" and path.rpartition("/")[0] in one.why for one in found.unread)


def test_a_fifo_and_a_huge_file_do_not_hold_the_snapshot_up(tmp_path: Path) -> None:
    put(tmp_path, "var/lib/cni/results/fine", "{}")
    (tmp_path / "etc/cni/net.d").mkdir(parents=True)
    os.mkfifo(tmp_path / "etc/cni/net.d/a.conflist")
    with put(tmp_path, "etc/cni/net.d/b.conflist", "").open("wb") as stream:
        stream.truncate(9 << 20)
    assert [one.why.rpartition(": ")[2] for one in discover(tmp_path).unread] == [
        "not a regular file",
        "too large for a state file",
    ]


def test_a_hostile_namespace_path_names_no_namespace(tmp_path: Path) -> None:
    settings = {"SandboxKey": "/\0"}
    put(tmp_path, "var/lib/docker/containers/a/config.v2.json", docker_state(NetworkSettings=settings))
    (found,) = discover(tmp_path).workloads
    assert found.inode(frozenset()) is None


def test_only_labels_on_the_list_are_kept() -> None:
    assert allowed({"app": "web", "password": "hunter2"}) == {"app": "web"}
    assert allowed(None) == {}


@pytest.mark.parametrize(
    ("pod", "labels", "owner"),
    [
        ("cart-7f9c5d8b6-x2x4z", {}, "cart"),
        ("kube-proxy-x2x4z", {}, "kube-proxy"),
        ("db-0", {}, "db-0"),
        ("web", {}, "web"),
        ("shop-web-abc", {"pod-template-hash": "web"}, "shop"),
    ],
)
def test_a_pod_is_owned_by_the_name_that_outlives_it(pod: str, labels: dict[str, str], owner: str) -> None:
    assert owner == pod_owner(pod, labels)
