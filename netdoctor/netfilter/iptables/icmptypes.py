"""Names of ICMP types, as iptables reads and prints them. Knows nothing of packets.

Kernel tools: extensions/libxt_icmp.h.
"""

from __future__ import annotations

_ANY = (0, 255)
ICMP_TYPES: dict[str, tuple[int, int, int]] = {
    "echo-reply": (0, *_ANY), "pong": (0, *_ANY), "destination-unreachable": (3, *_ANY), "network-unreachable": (3, 0,
    0),
    "host-unreachable": (3, 1, 1), "protocol-unreachable": (3, 2, 2), "port-unreachable": (3, 3, 3),
    "fragmentation-needed": (3, 4, 4), "source-route-failed": (3, 5, 5), "network-unknown": (3, 6, 6),
    "host-unknown": (3, 7, 7), "network-prohibited": (3, 9, 9), "host-prohibited": (3, 10, 10),
    "tos-network-unreachable": (3, 11, 11), "tos-host-unreachable": (3, 12, 12), "communication-prohibited": (3, 13,
    13),
    "host-precedence-violation": (3, 14, 14), "precedence-cutoff": (3, 15, 15), "source-quench": (4, *_ANY),
    "redirect": (5, *_ANY), "network-redirect": (5, 0, 0), "host-redirect": (5, 1, 1), "tos-network-redirect": (5, 2,
    2),
    "tos-host-redirect": (5, 3, 3), "echo-request": (8, *_ANY), "ping": (8, *_ANY), "router-advertisement": (9, *_ANY),
    "router-solicitation": (10, *_ANY), "time-exceeded": (11, *_ANY), "ttl-exceeded": (11, *_ANY),
    "ttl-zero-during-transit": (11, 0, 0), "ttl-zero-during-reassembly": (11, 1, 1), "parameter-problem": (12, *_ANY),
    "ip-header-bad": (12, 0, 0), "required-option-missing": (12, 1, 1), "timestamp-request": (13, *_ANY),
    "timestamp-reply": (14, *_ANY), "address-mask-request": (17, *_ANY), "address-mask-reply": (18, *_ANY),
}  # fmt: skip
ICMPV6_TYPES: dict[str, tuple[int, int, int]] = {
    "destination-unreachable": (1, *_ANY), "no-route": (1, 0, 0), "communication-prohibited": (1, 1, 1),
    "beyond-scope": (1, 2, 2), "address-unreachable": (1, 3, 3), "port-unreachable": (1, 4, 4), "failed-policy": (1,
    5, 5),
    "reject-route": (1, 6, 6), "packet-too-big": (2, *_ANY), "time-exceeded": (3, *_ANY), "ttl-exceeded": (3, *_ANY),
    "ttl-zero-during-transit": (3, 0, 0), "ttl-zero-during-reassembly": (3, 1, 1), "parameter-problem": (4, *_ANY),
    "bad-header": (4, 0, 0), "unknown-header-type": (4, 1, 1), "unknown-option": (4, 2, 2), "echo-request": (128,
    *_ANY),
    "ping": (128, *_ANY), "echo-reply": (129, *_ANY), "pong": (129, *_ANY), "mld-listener-query": (130, *_ANY),
    "mld-listener-report": (131, *_ANY), "mld-listener-done": (132, *_ANY), "mld-listener-reduction": (132, *_ANY),
    "router-solicitation": (133, *_ANY), "router-advertisement": (134, *_ANY), "neighbour-solicitation": (135, *_ANY),
    "neighbor-solicitation": (135, *_ANY), "neighbour-advertisement": (136, *_ANY), "neighbor-advertisement": (136,
    *_ANY),
    "redirect": (137, *_ANY),
}  # fmt: skip


def type_and_codes(text: str, names: dict[str, tuple[int, int, int]]) -> tuple[int | None, int, int]:
    """Return (type, first code, last code) of `8`, `3/1`, `echo-request` or `any`; type None: every one.

    Raises: ValueError.
    """
    if text in {"any", "255"}:
        return None, *_ANY
    if text in names:
        return names[text]
    kind, _, code = text.partition("/")
    return int(kind), *((int(code), int(code)) if code else _ANY)
