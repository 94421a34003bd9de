"""`-j MIRROR`: sends the packet back with its addresses exchanged (gone since 2.6).

Not modelled: what becomes of a packet that meets it is unknown.

Kernel: net/ipv4/netfilter/ipt_MIRROR.c
"""

from __future__ import annotations

from netdoctor.netfilter.iptables.extension import Target


class Mirror(Target):
    """Kept word for word."""

    name = "MIRROR"
    options = {}
    modelled = False

    __slots__ = ()
