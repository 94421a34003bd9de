"""Clients and servers are real: what they report is what a program would see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netdoctor.lab import traffic
from netdoctor.lab.topology import Host, Server, Topology
from netdoctor.model.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Callable

    from netdoctor.lab.lab import Lab

ALONE = Topology(
    about="a host that talks to itself",
    hosts=(
        Host(
            name="a",
            loopback=("192.0.2.1/32", "192.0.2.2/32"),
            servers=(Server(80), Server(53, "udp"), Server(81, "tcp", "192.0.2.1")),
        ),
    ),
)


@pytest.mark.parametrize("message", [b"\x08\x00\x00\x00\x12\x34\x00\x01", b"\x08\x00\x00\x00\x12\x34\x00\x01odd"])
def test_a_message_with_its_checksum_sums_up_to_nothing(message: bytes) -> None:
    """RFC 1071, for even and odd lengths."""
    whole = message[:2] + traffic._checksum(message) + message[4:]
    assert traffic._checksum(whole) == b"\x00\x00"


@pytest.mark.kernel
def test_a_port_where_nobody_listens_refuses(build: Callable[..., Lab]) -> None:
    result = build(ALONE).client(Flow(from_="a", to="192.0.2.1:9"))
    assert (result.connects, result.error, result.exchanges) == ("no", "ECONNREFUSED", 0)


@pytest.mark.kernel
def test_a_server_of_one_address_does_not_answer_on_another(build: Callable[..., Lab]) -> None:
    lab = build(ALONE)
    assert [lab.client(Flow(from_="a", to=f"192.0.2.{last}:81")).connects for last in (1, 2)] == ["yes", "no"]


@pytest.mark.kernel
def test_the_sender_is_what_the_flow_says(build: Callable[..., Lab]) -> None:
    result = build(ALONE).client(Flow(from_="a", to="192.0.2.1:80", src="192.0.2.2", sport=40000))
    assert result.peer == "192.0.2.2 40000"


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("flow", "match"),
    [
        (Flow(from_="a", to="192.0.2.1:53/udp", mark=7), "-m mark --mark 7"),
        (Flow(from_="a", to="192.0.2.1:53/udp", tos=16), "-m tos --tos 16"),
        (Flow(from_="a", to="192.0.2.1:53/udp", ttl=9), "-m ttl --ttl-eq 9"),
        (Flow(from_="a", to="192.0.2.1:53/udp", size=300), "-m length --length 300"),
        (Flow(from_="a", to="192.0.2.1", size=301), "-m length --length 301"),
    ],
)
def test_packets_are_as_the_flow_says(build: Callable[..., Lab], flow: Flow, match: str) -> None:
    """A rule that matches them drops them; without it they come through."""
    lab = build(ALONE)
    before = lab.client(flow, timeout=0.4).connects
    lab.run("a", ["iptables", "-A", "OUTPUT", *match.split(), "-j", "DROP"], check=True)
    assert (before, lab.client(flow, timeout=0.4).connects) == ("yes", "no")


@pytest.mark.kernel
def test_an_error_of_a_local_rule_reaches_a_datagram_sender(build: Callable[..., Lab]) -> None:
    lab = build(ALONE)
    lab.run("a", ["iptables", "-A", "OUTPUT", "-p", "udp", "-j", "DROP"], check=True)
    assert lab.client(Flow(from_="a", to="192.0.2.1:53/udp")).error == "EPERM"


@pytest.mark.kernel
def test_a_second_packet_that_is_lost_is_no_connection(build: Callable[..., Lab]) -> None:
    """The first answer came; what follows it does not."""
    lab = build(ALONE)
    rule = "-p udp --dport 53 -m conntrack --ctstate ESTABLISHED -j DROP"
    lab.run("a", ["iptables", "-A", "INPUT", *rule.split()], check=True)
    result = lab.client(Flow(from_="a", to="192.0.2.1:53/udp"), timeout=0.4)
    assert (result.connects, result.exchanges, result.error) == ("no", 1, "timeout")
