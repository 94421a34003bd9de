"""Ports, flags and options of TCP."""

from __future__ import annotations

import pytest

RULES = [
    "-p tcp", "! -p tcp", "-p udp", "-p tcp -m tcp --dport 80", "-p tcp -m tcp --dport 81",
    "-p tcp -m tcp ! --dport 80",
    "-p tcp -m tcp --dport 79:81", "-p tcp -m tcp --dport :79", "-p tcp -m tcp --dport 80:",
    "-p tcp -m tcp ! --dport 81:90",
    "-p tcp -m tcp --sport 40000", "-p tcp -m tcp ! --sport 40000", "-p tcp -m tcp --sport 1024:65535 --dport 80",
    "-p tcp -m tcp --syn", "-p tcp -m tcp ! --syn", "-p tcp -m tcp --tcp-flags ALL SYN",
    "-p tcp -m tcp --tcp-flags ALL ACK",
    "-p tcp -m tcp --tcp-flags SYN,RST SYN,RST", "-p tcp -m tcp ! --tcp-flags SYN,RST SYN",
    "-p tcp -m tcp --tcp-flags ALL NONE",
    "-p tcp -m tcp --tcp-option 2", "-p tcp -m tcp ! --tcp-option 2", "-p tcp -m tcp --tcp-option 3",
    "-p tcp -m tcp --tcp-option 8",
]  # fmt: skip


@pytest.mark.kernel
@pytest.mark.parametrize("backend", ["legacy", "nft"])
@pytest.mark.parametrize("family", [4, 6])
def test_the_kernel_agrees(bench, packet_of, family, backend):
    bench.agree(RULES, packet_of(family, tcp_mss=1460, tcp_options=frozenset({2, 3})), backend=backend)
