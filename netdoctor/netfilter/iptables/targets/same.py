"""`-j SAME`: source NAT that keeps a client on one address (gone since 2.6.23).

Not modelled: what becomes of a packet that meets it is unknown.

Kernel: net/ipv4/netfilter/ipt_SAME.c:same_target
"""

from __future__ import annotations

from netdoctor.netfilter.iptables.extension import Target


class Same(Target):
    """Kept word for word."""

    name = "SAME"
    options = {"--to": 1, "--nodst": 0, "--random": 0}
    modelled = False

    __slots__ = ()
