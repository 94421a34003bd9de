"""Reading loads no kernel module: none that only readers load, for other tests load theirs meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from layers import Layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from netdoctor.lab.lab import Lab

# What ss, ip, ipset, conntrack and the legacy tools load where they are asked for what is not there.
MODULES = {
    "tcp_diag", "udp_diag", "raw_diag", "inet_diag", "unix_diag", "xfrm_user", "xfrm_algo", "ip_set",
    "nf_conntrack_netlink", "ip_tables", "ip6_tables", "arp_tables", "ebtables", "iptable_nat", "iptable_filter",
}  # fmt: skip


def test_reading_a_host_loads_no_module(build: Callable[..., Lab]) -> None:
    bench = Layers(build, {"node": "ns a"}, servers=[])
    bench.world()
    loaded = {line.partition(" ")[0] for line in Path("/proc/modules").read_text().splitlines()}
    assert loaded & MODULES == set()
