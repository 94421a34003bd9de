"""`-m srh`: IPv6 segment routing header.

Kernel: net/ipv6/netfilter/ip6t_srh.c:srh1_mt6
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


class Srh(Match):
    """`-m srh`."""

    name = "srh"
    options = {
        "--srh-next-hdr": 1,
        "--srh-hdr-len-eq": 1,
        "--srh-hdr-len-gt": 1,
        "--srh-hdr-len-lt": 1,
        "--srh-segs-left-eq": 1,
        "--srh-segs-left-gt": 1,
        "--srh-segs-left-lt": 1,
        "--srh-last-entry-eq": 1,
        "--srh-last-entry-gt": 1,
        "--srh-last-entry-lt": 1,
        "--srh-tag": 1,
        "--srh-psid": 1,
        "--srh-nsid": 1,
        "--srh-lsid": 1,
    }

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches."""
        if 43 not in packet.extension_headers:
            return False
        return True if not self.written else Unknown("match srh")
