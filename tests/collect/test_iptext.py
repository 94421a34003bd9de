"""`ip address` as people print it says the same as with -j."""

from __future__ import annotations

import pytest

from netdoctor.collect import iproute, iptext
from netdoctor.model.errors import SnapshotError

TUNNEL = """\
7: tun0: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1400 qdisc fq_codel state UNKNOWN group vpn qlen 500
    link/none
    altname office
    inet 10.8.0.6 peer 10.8.0.5/32 scope global tun0
       valid_lft forever preferred_lft forever
    inet 10.8.0.7/24 brd 10.8.0.255 scope global secondary dynamic noprefixroute tun0
       valid_lft 3000sec preferred_lft 3000sec
"""


def links(text):
    """The interfaces of a listing, without what only -j and -d together print."""
    return [
        (one.ifindex, one.name, one.kind, one.link_type, one.mac, one.mtu, set(one.flags), one.operstate, one.master,
         one.parent, one.parent_index, one.parent_netns, one.bridge, one.port, one.addresses)
        for one in iproute.links("", text)
    ]  # fmt: skip


@pytest.mark.kernel
@pytest.mark.parametrize("detailed", [[], ["-d"]], ids=["plain", "-d"])
def test_a_real_node_is_read_alike_with_and_without_j(build, detailed) -> None:
    lab = build("two-pods")
    for place in ("node", "shop/web-6c8"):
        printed, listed = (
            lab.run(place, ["ip", *detailed, *form, "address"], check=True).stdout for form in ([], ["-j"])
        )
        assert links(iptext.as_json(printed)) == links(listed)
        assert len(links(listed)) >= 2


def test_peers_names_flags_and_groups_are_read() -> None:
    (tunnel,) = iproute.links("", iptext.as_json(TUNNEL))
    assert (tunnel.link_type, tunnel.mac, tunnel.mtu, tunnel.altnames, tunnel.group) == (
        "none", None, 1400, ("office",), -1,
    )  # fmt: skip
    assert [(one.address, one.peer, one.prefixlen, one.broadcast, one.flags) for one in tunnel.addresses] == [
        ("10.8.0.6", "10.8.0.5", 32, None, ()),
        ("10.8.0.7", None, 24, "10.8.0.255", ("secondary", "noprefixroute", "dynamic")),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("eth0             UP             10.0.0.10/24", 1),  # ip -br
        ("2: eth0    inet 10.0.0.10/24 scope global eth0", 1),  # ip -o
        (TUNNEL + "    inet 10.8.0.8/none scope global tun0\n", 8),
        (TUNNEL + "eth0: flags=4163<UP>  mtu 1500\n", 8),  # ifconfig
        ("    inet 10.0.0.10/24 scope global eth0\n" + TUNNEL, 1),
    ],
)
def test_what_is_something_else_is_refused_with_its_line(text, line) -> None:
    with pytest.raises(SnapshotError, match=f"line {line} is not what `ip address` prints"):
        iptext.as_json(text)
