"""-s -d -i -o -p -f."""

from __future__ import annotations

import pytest

from netdoctor.netfilter.iptables.header import parse_network, same_interface
from netdoctor.netfilter.iptables.protocols import protocol_number

RULES4 = [
    "-s 10.1.0.2/32", "! -s 10.1.0.2/32", "-s 10.1.0.0/24", "-s 10.0.0.2/255.0.0.255", "! -s 10.0.0.3/255.0.0.255",
    "-d 10.2.0.2/32", "! -d 10.2.0.0/16", "-d 10.3.0.0/16", "-i in0", "-i in+", "! -i in+", "-i in", "-i out0",
    "-o out0",
    "! -o out0", "-o ou+", "-i i+ -o o+", "-p tcp", "! -p tcp", "-p udp", "-p icmp", "-f", "! -f",
    "-s 10.1.0.2/32 -d 10.2.0.2/32 -i in0 -o out0 -p tcp", "-s 10.1.0.2/32 ! -d 10.2.0.2/32",
]  # fmt: skip
RULES6 = [
    "-s 2001:db8:1::2/128", "! -s 2001:db8:1::2/128", "-s 2001:db8::/32", "-s 2001::2/ffff::ffff", "-d 2001:db8:2::/48",
    "! -d 2001:db8:3::/48", "-i in+ -o out0", "-p tcp", "! -p tcp", "-p ipv6-icmp",
]  # fmt: skip


@pytest.mark.kernel
@pytest.mark.parametrize("backend", ["legacy", "nft"])
@pytest.mark.parametrize("fragment", ["no", "first", "later"])
def test_the_kernel_agrees_on_ipv4(bench, packet_of, backend, fragment):
    if fragment == "no":
        bench.agree(RULES4, packet_of(4), backend=backend)
    else:  # conntrack would put fragments together again: only the raw table before it sees them
        rules = [rule for rule in RULES4 if "-o" not in rule]
        packet = packet_of(4, fragment=fragment, ctstate=None, connection=None, out_dev=None)
        bench.agree(rules, packet, backend=backend, table="raw", hook="PREROUTING")


@pytest.mark.kernel
@pytest.mark.parametrize("backend", ["legacy", "nft"])
def test_the_kernel_agrees_on_ipv6(bench, packet_of, backend):
    bench.agree(RULES6, packet_of(6), backend=backend)


@pytest.mark.parametrize(
    ("text", "family", "value"),
    [
        ("10.1.2.3", 4, (0x0A010203, 0xFFFFFFFF)),
        ("10.1.2.3/8", 4, (0x0A000000, 0xFF000000)),
        ("10.1.2.3/255.0.255.0", 4, (0x0A000200, 0xFF00FF00)),
        ("0.0.0.0/0", 4, (0, 0)),
        ("2001:db8::1/128", 6, (0x20010DB8000000000000000000000001, (1 << 128) - 1)),
        ("2001:db8::1/ffff::", 6, (0x2001 << 112, 0xFFFF << 112)),
    ],
)
def test_networks_are_value_and_mask(text, family, value):
    assert value == parse_network(text, family)


@pytest.mark.parametrize(("text", "family"), [("10.0.0.1/33", 4), ("::1", 4), ("10.0.0.1", 6), ("host", 4), ("", 4)])
def test_what_is_no_network_is_refused(text, family):
    with pytest.raises(ValueError, match=r".*"):
        parse_network(text, family)


@pytest.mark.parametrize(
    ("pattern", "dev", "same"),
    [("eth0", "eth0", True), ("eth", "eth0", False), ("eth+", "eth0", True), ("eth0+", "eth0", True),
     ("eth+", "lo", False), ("+", None, True), ("eth0", None, False)],
)  # fmt: skip
def test_a_plus_stands_for_any_ending(pattern, dev, same):
    assert same is same_interface(pattern, dev)


@pytest.mark.parametrize(
    ("name", "number"),
    [("tcp", 6), ("47", 47), ("ipip", 94), ("ipencap", 4), ("ipv6-icmp", 58), ("all", 0), ("what", None)],
)
def test_protocols_go_by_name_or_number(name, number):
    assert number == protocol_number(name)
