"""Where a flow goes, as the command line writes it."""

from __future__ import annotations

import pytest

from netdoctor.lab import topology
from netdoctor.lab.target import Target, resolve
from netdoctor.model.errors import FlowError
from netdoctor.model.flow import Flow

TWO_PODS = topology.load("two-pods")


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("203.0.113.1", Target("203.0.113.1", "icmp", None)),
        ("203.0.113.1:443", Target("203.0.113.1", "tcp", 443)),
        ("203.0.113.1:53/udp", Target("203.0.113.1", "udp", 53)),
        ("fd00:10:96::10", Target("fd00:10:96::10", "icmpv6", None)),
        ("[fd00:10:96::10]:80", Target("fd00:10:96::10", "tcp", 80)),
        ("[fd00:10:96::10]:53/udp", Target("fd00:10:96::10", "udp", 53)),
        ("svc/shop/cart:http", Target("10.96.0.10", "tcp", 80)),
        ("svc/shop/cart:80", Target("10.96.0.10", "tcp", 80)),
        ("svc/shop/cart:dns", Target("10.96.0.10", "udp", 53)),
        ("svc/shop/cart", Target("10.96.0.10", "tcp", 80)),
        ("shop/cart-7f9:8080", Target("10.244.0.3", "tcp", 8080)),
        ("shop/cart-7f9:5353/udp", Target("10.244.0.3", "udp", 5353)),
        ("cart-7f9", Target("10.244.0.3", "icmp", None)),
    ],
)
def test_a_target_is_resolved(to: str, expected: Target) -> None:
    assert expected == resolve(TWO_PODS, Flow(from_="shop/web-6c8", to=to))


def test_what_the_flow_says_wins_over_its_target() -> None:
    flow = Flow(from_="shop/web-6c8", to="10.244.0.3", proto="udp", dport=5353)
    assert Target("10.244.0.3", "udp", 5353) == resolve(TWO_PODS, flow)


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("svc/shop/basket", "there are: svc/shop/cart:http, svc/shop/cart:dns"),
        ("example.com:80", "name an address"),
        ("10.0.0.1:http", "'http' is no port"),
        ("10.0.0.1:70000", "'70000' is no port"),
    ],
)
def test_a_target_that_is_nothing_here_is_refused(to: str, message: str) -> None:
    with pytest.raises(FlowError, match=message):
        resolve(TWO_PODS, Flow(from_="shop/web-6c8", to=to))
