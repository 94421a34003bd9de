"""`-j CLUSTERIP`: several nodes share an address and each takes its part of the packets.

Not modelled: what becomes of a packet that meets it is unknown.

Kernel: net/ipv4/netfilter/ipt_CLUSTERIP.c:clusterip_tg
"""

from __future__ import annotations

from netdoctor.netfilter.iptables.extension import Target


class Clusterip(Target):
    """Kept word for word."""

    name = "CLUSTERIP"
    options = {"--new": 0, "--hashmode": 1, "--clustermac": 1, "--total-nodes": 1, "--local-node": 1, "--hash-init": 1}
    modelled = False

    __slots__ = ()
