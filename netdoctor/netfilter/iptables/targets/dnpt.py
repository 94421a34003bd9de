"""`-j DNPT`: stateless IPv6 prefix translation of the destination (RFC 6296).

Not modelled: what becomes of a packet that meets it is unknown.

Kernel: net/ipv6/netfilter/ip6t_NPT.c:ip6t_dnpt_tg
"""

from __future__ import annotations

from netdoctor.netfilter.iptables.extension import Target


class Dnpt(Target):
    """Kept word for word."""

    name = "DNPT"
    options = {"--src-pfx": 1, "--dst-pfx": 1}
    modelled = False

    __slots__ = ()
