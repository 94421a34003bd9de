"""A nat table as kube-proxy writes it, of any size: it knows kube-proxy's chains and nothing of netdoctor."""

from __future__ import annotations

import base64
import hashlib

_HEAD = """\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-MARK-MASQ - [0:0]
"""
_BASE = """\
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
"""
_SHARES = ("-m statistic --mode random --probability 0.33333333349 ",
           "-m statistic --mode random --probability 0.50000000000 ", "")  # fmt: skip


def _name(prefix: str, of: str) -> str:
    return prefix + base64.b32encode(hashlib.sha256(of.encode()).digest()).decode()[:16]


def service_address(number: int) -> str:
    """Return the cluster address of a service, for fewer than 65,536 of them."""
    return f"10.96.{number // 256}.{number % 256}"


def ruleset(services: int) -> str:
    """Return the text of iptables-save for so many services of three endpoints each: 15 lines a service."""
    chains: list[str] = []
    portals: list[str] = []
    balancers: list[str] = []
    endpoints: list[str] = []
    for number in range(services):
        address, chain, comment = service_address(number), _name("KUBE-SVC-", f"s{number}"), f"bench/svc{number}:http"
        portal = f'-d {address}/32 -p tcp -m comment --comment "{comment} cluster IP" -m tcp --dport 80'
        chains.append(f":{chain} - [0:0]")
        portals.append(f"-A KUBE-SERVICES {portal} -j {chain}")
        balancers.append(f"-A {chain} ! -s 10.244.0.0/16 {portal} -j KUBE-MARK-MASQ")
        for share, probability in enumerate(_SHARES):
            endpoint, at = _name("KUBE-SEP-", f"e{number}.{share}"), number * 3 + share
            pod = f"10.244.{at // 250 % 256}.{at % 250 + 1}"
            chains.append(f":{endpoint} - [0:0]")
            balancers.append(f'-A {chain} -m comment --comment "{comment} -> {pod}:8080" {probability}-j {endpoint}')
            said = f'-m comment --comment "{comment}"'
            endpoints += [
                f"-A {endpoint} -s {pod}/32 {said} -j KUBE-MARK-MASQ",
                f"-A {endpoint} -p tcp {said} -m tcp -j DNAT --to-destination {pod}:8080",
            ]
    rules = "\n".join((*portals, *balancers, *endpoints))
    return _HEAD + "\n".join(chains) + "\n" + _BASE + rules + "\nCOMMIT\n"
