"""Topologies are data that is checked when it is read."""

from __future__ import annotations

import json

import pytest

from netdoctor.lab import topology
from netdoctor.lab.topology import Pod, pod_name
from netdoctor.model.errors import LabError

MINIMAL = {"about": "two hosts", "hosts": [{"name": "a"}, {"name": "b"}]}


def decode(**changes: object) -> topology.Topology:
    return topology.decode(json.dumps({**MINIMAL, **changes}).encode(), "test")


@pytest.mark.parametrize("name", topology.names())
def test_every_topology_that_ships_can_be_read_and_its_rules_are_there(name: str) -> None:
    found = topology.load(name)
    files = [file for host in found.hosts for file in host.rules.values()]
    assert [True] * len(files) == [(topology.folder() / file).is_file() for file in files]
    assert "Healthy" in found.about


def test_the_topologies_that_rules_use_are_installed() -> None:
    assert {"two-pods", "docker-bridge", "two-hosts"} <= set(topology.names())


def test_an_unknown_topology_is_refused_with_the_list() -> None:
    with pytest.raises(LabError, match=r"no topology 'three-pods'; there are: docker-bridge, two-hosts, two-pods"):
        topology.load("three-pods")


def test_a_name_cannot_lead_out_of_the_folder() -> None:
    with pytest.raises(LabError, match="no topology"):
        topology.load("../topologies/two-pods")


def test_an_unknown_field_is_an_error_that_names_it() -> None:
    with pytest.raises(LabError, match=r"topology test: .*`bridgez`"):
        decode(hosts=[{"name": "a", "bridgez": []}])


def test_two_places_of_one_name_are_refused() -> None:
    with pytest.raises(LabError, match="two hosts or pods are called a"):
        decode(hosts=[{"name": "a"}, {"name": "a"}])


def test_a_wire_to_nowhere_is_refused() -> None:
    with pytest.raises(LabError, match="a wire leads to c, which is no host"):
        decode(wires=[{"hosts": ["a", "c"], "devs": ["eth0", "eth0"]}])


def test_pods_are_named_with_their_namespace_and_containers_without() -> None:
    pod = Pod(name="web", namespace="shop", addresses=(), port="veth0")
    container = Pod(name="web", addresses=(), port="veth0", container=True)
    assert (pod_name(pod), pod_name(container)) == ("shop/web", "web")
