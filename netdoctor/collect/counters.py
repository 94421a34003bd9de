"""Protocol counters of /proc/net/{snmp,netstat,snmp6}, as `Group.Name`. Knows nothing of which of them mean trouble."""

from __future__ import annotations


def parse(snmp: str, netstat: str, snmp6: str) -> dict[str, int]:
    """Return the counters that are not zero: `TcpExt.IPReversePathFilter`, `Ip.InAddrErrors`, `Ip6.InNoRoutes`, …"""
    found: dict[str, int] = {}
    for text in (snmp, netstat):
        lines = text.splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=False):
            group, _, rest = names.partition(":")
            for name, value in zip(rest.split(), values.partition(":")[2].split(), strict=False):
                if value != "0":
                    found[f"{group}.{name}"] = int(value)
    for line in snmp6.splitlines():
        words = line.split()
        if len(words) == 2 and words[1] != "0" and words[1].isdecimal():
            group = next((group for group in ("Icmp6", "UdpLite6", "Udp6", "Ip6") if words[0].startswith(group)), "Ip6")
            found[f"{group}.{words[0].removeprefix(group)}"] = int(words[1])
    return found
