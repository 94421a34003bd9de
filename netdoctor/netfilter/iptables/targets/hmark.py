"""`-j HMARK`: a mark from a hash of the packet.

Not modelled: what becomes of a packet that meets it is unknown.

Kernel: net/netfilter/xt_HMARK.c:hmark_tg_v4
"""

from __future__ import annotations

from netdoctor.netfilter.iptables.extension import Target


class Hmark(Target):
    """Kept word for word."""

    name = "HMARK"
    options = {
        "--hmark-tuple": 1,
        "--hmark-mod": 1,
        "--hmark-offset": 1,
        "--hmark-src-prefix": 1,
        "--hmark-dst-prefix": 1,
        "--hmark-sport-mask": 1,
        "--hmark-dport-mask": 1,
        "--hmark-spi-mask": 1,
        "--hmark-sport": 1,
        "--hmark-dport": 1,
        "--hmark-spi": 1,
        "--hmark-proto-mask": 1,
        "--hmark-rnd": 1,
    }
    modelled = False

    __slots__ = ()
