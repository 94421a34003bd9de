"""Both listings of virtual servers say the same; what was recorded came from a kernel 6.1."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from netdoctor.collect import ipvs
from netdoctor.model.errors import SnapshotError
from netdoctor.model.snapshot import RealServer, VirtualServer

PROC = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0050 rr
  -> [fd00:0000:0000:0000:0000:0000:0000:0007]:0050      Route   1      0          0
TCP  0A000001:0050 wrr
  -> 0A020002:0050      Tunnel  1      0          0
  -> 0A020001:1F90      Masq    3      4          2
FWM  00000007 rr persistent 75000 FFFFFFFF
"""
SAVED = """-A -t 10.0.0.1:80 -s wrr
-a -t 10.0.0.1:80 -r 10.2.0.1:8080 -m -w 3
-a -t 10.0.0.1:80 -r 10.2.0.2:80 -i -w 1 --tun-type ipip
-A -t [fd00::1]:80 -s rr
-a -t [fd00::1]:80 -r [fd00::7]:80 -g -w 1
-A -f 7 -s rr -p 300
"""


def test_the_kernels_listing_is_read_with_its_connections() -> None:
    assert ipvs.parse(PROC) == (
        VirtualServer("ip6", "tcp", "fd00::1", 80, servers=(RealServer("ip6", "fd00::7", 80, "route", 1, 0, 0),)),
        VirtualServer(
            "ip", "tcp", "10.0.0.1", 80, scheduler="wrr",
            servers=(
                RealServer("ip", "10.2.0.2", 80, "tunnel", 1, 0, 0),
                RealServer("ip", "10.2.0.1", 8080, "masq", 3, 4, 2),
            ),
        ),
        VirtualServer("ip", None, None, mark=7, persistent=300),
    )  # fmt: skip


def test_what_the_tool_saves_says_the_same_but_for_the_connections() -> None:
    def plain(services: tuple[VirtualServer, ...]) -> set[VirtualServer]:
        return {
            replace(
                one,
                servers=tuple(
                    sorted((replace(real, active=None, inactive=None) for real in one.servers), key=lambda x: x.address)
                ),
            )
            for one in services
        }

    assert plain(ipvs.parse(SAVED)) == plain(ipvs.parse(PROC))


def test_nothing_listed_is_no_virtual_server() -> None:
    assert ipvs.parse("") == ()


def test_a_listing_of_something_else_is_refused_with_a_reason() -> None:
    with pytest.raises(SnapshotError, match="virtual servers"):
        ipvs.parse("-A -t\n")
