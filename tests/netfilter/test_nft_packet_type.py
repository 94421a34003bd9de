"""`meta pkttype set`: whom a frame is for."""

from __future__ import annotations

import pytest

from netdoctor.netfilter.nft import ruleset
from netdoctor.netfilter.nft.expressions import Asking


@pytest.mark.parametrize(
    ("was", "wanted", "becomes"),
    [
        ("otherhost", "host", "host"),
        ("host", "other", "otherhost"),
        ("host", "outgoing", "host"),  # it once ended the program
        ("loopback", "broadcast", "loopback"),
    ],
)
def test_a_packet_type_that_the_kernel_does_not_give_changes_nothing(was, wanted, becomes, packet_of, around):
    setting = {"mangle": {"key": {"meta": {"key": "pkttype"}}, "value": wanted}}
    packet = packet_of(pkttype=was)
    done = ruleset.Rule(ruleset.Table("bridge", "t"), 1, {"expr": [setting]}).run(Asking(packet, around(), None))
    assert (done, packet.pkttype) == ([], becomes)
