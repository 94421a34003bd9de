"""A rule that offloads a connection: the packet goes on, and the trace names the flowtable."""

from __future__ import annotations

from netdoctor.netfilter.nft import ruleset
from netdoctor.netfilter.nft.expressions import Asking


def test_an_offloaded_connection_names_its_flowtable(packet_of, around):
    table = ruleset.Table("inet", "t")
    rule = ruleset.Rule(table, 1, {"expr": [{"flow": {"op": "add", "flowtable": "@f"}}, {"accept": None}]})
    packet = packet_of()
    done = rule.run(Asking(packet, around(), None))
    assert [type(one).__name__ for one in done] == ["Accept"]
    assert packet.notes == ["offloaded to flowtable f: later packets may pass no rule"]
