"""Recordings of real kube-proxies, Dockers and podmans are read without an error, whole and with every name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netdoctor.collect import saved
from netdoctor.model import store
from netdoctor.model.snapshot import Port

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Namespace, Snapshot

CHECKOUT = Path(__file__).parents[3]
RECORDINGS = CHECKOUT / "fixtures/recordings"
MORE = CHECKOUT.parent / "shared/recordings"  # a larger collection may lie beside the checkout


def folders() -> list[Path]:
    return sorted(path.parent for base in (RECORDINGS, MORE) for path in base.rglob("meta.json"))


def namespace(snapshot: Snapshot, name: str) -> Namespace:
    return next(netns for netns in snapshot.namespaces if netns.name == name)


@pytest.mark.parametrize("folder", folders(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_recording_is_read_without_an_error(folder: Path) -> None:
    snapshot, not_understood = saved.read(str(folder))

    assert [gap for gap in snapshot.unread if "among the files" not in gap.why] == []
    assert snapshot.namespaces[0].name == "host"
    assert snapshot.namespaces[0].rulesets or snapshot.namespaces[0].nft
    assert snapshot == store.decode(store.encode(snapshot))
    assert not any(
        name.endswith((".json", "-save.txt"))
        for name in not_understood
        if "docker-version" not in name and "services" not in name
    )


def read(name: str) -> Snapshot:
    return saved.read(str(RECORDINGS / name))[0]


def test_the_backend_is_read_from_the_header_of_the_ruleset() -> None:
    assert [
        [(ruleset.backend, ruleset.family) for ruleset in read(name).namespaces[0].rulesets]
        for name in ("kube-proxy-v1.26.1-iptables-legacy-h-dual-stack", "kube-proxy-v1.30.5-iptables-nft-a-clusterip")
    ] == [
        [("legacy", "ip"), ("legacy", "ip6")],
        [("nft", "ip"), ("nft", "ip6")],
    ]


def test_a_ruleset_is_kept_word_for_word() -> None:
    folder = "docker-20.10.24-iptables-nft-macvlan"
    assert [(RECORDINGS / folder / "iptables-save-c.txt").read_text()] == [
        ruleset.text for ruleset in read(folder).namespaces[0].rulesets
    ]


def test_routes_of_both_families_in_one_file_are_told_apart() -> None:
    routes = read("kube-proxy-v1.30.5-nftables-h-dual-stack").namespaces[0].routes
    assert {route.family: route.dst for route in routes if route.dst.endswith("/0")} == {
        "ip": "0.0.0.0/0",
        "ip6": "::/0",
    }
    assert {("ip", False), ("ip6", True)} == {(route.family, ":" in route.dst) for route in routes}


def test_both_ends_of_every_veth_find_each_other() -> None:
    snapshot = read("docker-20.10.24-iptables-legacy-user-networks")
    ends = {
        (netns.name, link.name): (link.parent_netns, link.parent)
        for netns in snapshot.namespaces
        for link in netns.links
        if link.kind == "veth" and link.parent_netns != "?"
    }
    assert len(ends) == 12
    assert all(ends[other[0] or "", other[1] or ""] == end for end, other in ends.items())


def test_a_veth_whose_other_end_was_not_saved_stays_unknown() -> None:
    (uplink,) = (
        link for link in read("docker-20.10.24-iptables-nft-macvlan").namespaces[0].links if link.name == "eth0"
    )
    assert uplink.parent_netns == "?"


def test_a_macvlan_lies_on_the_interface_that_its_network_names() -> None:
    links = namespace(read("docker-20.10.24-iptables-nft-macvlan"), "w1").links
    assert [(link.parent, link.parent_netns) for link in links if link.kind == "macvlan"] == [("eth0", "host")]


def test_a_container_in_the_hosts_network_is_no_namespace_of_its_own() -> None:
    snapshot = read("docker-20.10.24-iptables-nft-host-none-shared")
    assert [netns.name for netns in snapshot.namespaces] == ["host", "none"]
    assert {one.name: one.netns for one in snapshot.workloads} == {"w1": "host", "share": "host", "none": "none"}


def test_containers_and_networks_have_their_names_addresses_and_ports() -> None:
    snapshot = read("docker-29.7.2-nftables-default-bridge-published")
    web = next(one for one in snapshot.workloads if one.name == "web")
    assert (web.netns, web.addresses, web.networks) == ("web", ("172.17.0.2",), ("bridge",))
    assert Port("tcp", 80, 8080, "0.0.0.0") in web.ports
    assert next(network.bridge for network in snapshot.networks if network.name == "bridge") == "docker0"


def test_podmans_networks_are_read() -> None:
    snapshot = read("podman-4.3.1-netavark-iptables-nft-bridge-published")
    assert [(network.name, network.bridge, network.internal) for network in snapshot.networks] == [
        ("podman", "podman0", False),
        ("pn", "podman1", False),
        ("pint", "podman2", True),
    ]
    assert [one.name for one in snapshot.workloads] == ["web", "plain", "inner"]
