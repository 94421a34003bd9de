"""What iptables does not take, as one table: numbers out of range, words it does not know, what must stand together.

Knows nothing of meanings. A rule that is refused here was written by hand: no kernel can hold it. Kernel tools:
libxtables/xtoptions.c:xtables_option_parse and the `opts` of each extensions/libxt_*.c.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables.values import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netdoctor.netfilter.iptables.extension import Option

# (match or target, option) -> smallest and largest; of ranges and lists each part, of `VALUE/MASK` both.
_NUMBERS: dict[tuple[str, str], tuple[int, int]] = {
    **{
        (name, option): (0, 65535)
        for name in ("tcp", "udp", "udplite", "sctp", "dccp")
        for option in ("--sport", "--source-port", "--dport", "--destination-port")
    },
    **{("multiport", option): (0, 65535) for option in ("--sports", "--source-ports", "--dports", "--ports")},
    **{(name, f"--{name}-{how}"): (0, 255) for name in ("ttl", "hl") for how in ("eq", "lt", "gt")},
    **{(name, f"--{name.lower()}-{how}"): (0, 255) for name in ("TTL", "HL") for how in ("set", "inc", "dec")},
    ("tcp", "--tcp-option"): (1, 255),
    ("dccp", "--dccp-option"): (1, 255),
    ("length", "--length"): (0, 65535),
    ("dscp", "--dscp"): (0, 63),
    ("DSCP", "--set-dscp"): (0, 63),
    ("mark", "--mark"): (0, 0xFFFFFFFF),
    ("connmark", "--mark"): (0, 0xFFFFFFFF),
    **{
        (name, f"--{option}"): (0, 0xFFFFFFFF)
        for name in ("MARK", "CONNMARK")
        for option in ("set-mark", "set-xmark", "or-mark", "and-mark", "xor-mark")
    },
    ("ecn", "--ecn-ip-ect"): (0, 3),
    ("cpu", "--cpu"): (0, 0xFFFFFFFF),
    ("esp", "--espspi"): (0, 0xFFFFFFFF),
    ("ah", "--ahspi"): (0, 0xFFFFFFFF),
    ("quota", "--quota"): (0, (1 << 64) - 1),
    ("limit", "--limit-burst"): (0, 10000),
    ("recent", "--seconds"): (1, 0xFFFFFFFF),
    ("recent", "--hitcount"): (1, 255),
    ("string", "--from"): (0, 65535),
    ("string", "--to"): (0, 65535),
    ("NFLOG", "--nflog-group"): (0, 65535),
    ("NFLOG", "--nflog-size"): (0, 0xFFFFFFFF),
    ("NFQUEUE", "--queue-num"): (0, 65535),
    ("TCPMSS", "--set-mss"): (0, 65535),
    ("connlimit", "--connlimit-upto"): (0, 0xFFFFFFFF),
    ("connlimit", "--connlimit-above"): (0, 0xFFFFFFFF),
    ("time", "--monthdays"): (1, 31),
}
_STATES = "INVALID|NEW|RELATED|ESTABLISHED|UNTRACKED"
_STATUSES = "NONE|EXPECTED|SEEN_REPLY|ASSURED|CONFIRMED"
_ROUTE_TYPES = "UNSPEC|UNICAST|LOCAL|BROADCAST|ANYCAST|MULTICAST|BLACKHOLE|UNREACHABLE|PROHIBIT|THROW|NAT|XRESOLVE"
_DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun|Mo|Tu|We|Th|Fr|Sa|Su|[1-7]"
_DCCP = "REQUEST|RESPONSE|DATA|ACK|DATAACK|CLOSEREQ|CLOSE|RESET|SYNC|SYNCACK|INVALID"
_TOS = r"[A-Za-z].*|(0x[0-9a-f]{1,2}|\d{1,2}|1\d\d|2[0-4]\d|25[0-5])(/.*)?"
# What a value must look like, whatever the case of its letters; lists are told by the comma in the pattern.
_WORDS: dict[tuple[str, str], str] = {
    ("conntrack", "--ctstate"): f"({_STATES}|SNAT|DNAT)(,({_STATES}|SNAT|DNAT))*",
    ("state", "--state"): f"({_STATES})(,({_STATES}))*",
    (
        "conntrack",
        "--ctstatus",
    ): "(NONE|EXPECTED|SEEN_REPLY|ASSURED|CONFIRMED)(,(EXPECTED|SEEN_REPLY|ASSURED|CONFIRMED))*",
    ("conntrack", "--ctdir"): "ORIGINAL|REPLY",
    ("addrtype", "--src-type"): f"({_ROUTE_TYPES})(,({_ROUTE_TYPES}))*",
    ("addrtype", "--dst-type"): f"({_ROUTE_TYPES})(,({_ROUTE_TYPES}))*",
    ("limit", "--limit"): r"0*[1-9]\d*(/(s(ec(ond)?)?|m(in(ute)?)?|h(our)?|d(ay)?))?",
    ("statistic", "--mode"): "random|nth",
    ("statistic", "--probability"): r"0*(1(\.0*)?|0?\.\d+|0(\.\d*)?)",
    ("statistic", "--every"): r"0*[1-9]\d*",
    ("mac", "--mac-source"): "[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}",
    ("pkttype", "--pkt-type"): "unicast|broadcast|multicast|host|to-us|otherhost",
    ("connbytes", "--connbytes-mode"): "packets|bytes|avgpkt",
    ("connbytes", "--connbytes-dir"): "original|reply|both",
    ("connbytes", "--connbytes"): r"\d+(:\d*)?",
    ("time", "--timestart"): r"([01]?\d|2[0-3]):[0-5]?\d(:[0-5]?\d)?",
    ("time", "--timestop"): r"([01]?\d|2[0-3]):[0-5]?\d(:[0-5]?\d)?",
    ("time", "--datestart"): r"\d{4}(-\d\d?(-\d\d?(T\d\d?(:\d\d?(:\d\d?)?)?)?)?)?",
    ("time", "--datestop"): r"\d{4}(-\d\d?(-\d\d?(T\d\d?(:\d\d?(:\d\d?)?)?)?)?)?",
    ("time", "--weekdays"): f"({_DAYS})(,({_DAYS}))*",
    ("string", "--algo"): "bm|kmp",
    ("string", "--hex-string"): r"[^|]*(\|([0-9a-f]{2} *)*\|[^|]*)*",
    ("u32", "--u32"): r"[^=]+=[^=&]+(&&[^=]+=[^=&]+)*",
    ("policy", "--dir"): "in|out",
    ("policy", "--pol"): "none|ipsec",
    ("icmp", "--icmp-type"): r"\D.*|(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])(/(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5]))?",
    ("icmp6", "--icmpv6-type"): r"\D.*|(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])(/(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5]))?",
    ("sctp", "--chunk-types"): "any|all|only",
    ("dccp", "--dccp-types"): f"({_DCCP})(,({_DCCP}))*",
    ("LOG", "--log-level"): "[0-7]|emerg|panic|alert|crit|err|error|warning|warn|notice|info|debug",
    ("NFQUEUE", "--queue-balance"): r"\d+:\d+",
    ("AUDIT", "--type"): "accept|drop|reject",
    ("tos", "--tos"): _TOS,
    ("TOS", "--set-tos"): _TOS,
    ("header", "-p"): r"\D.*|\d{1,2}|1\d\d|2[0-4]\d|25[0-5]",
    ("header", "-i"): ".{1,15}",
    ("header", "-o"): ".{1,15}",
    ("CT", "--zone"): r"mark|\d{1,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5]",
}
_RISING = frozenset({("connbytes", "--connbytes"), ("NFQUEUE", "--queue-balance")})
_COMPILED = {key: re.compile(pattern, re.IGNORECASE) for key, pattern in _WORDS.items()}
_MINUS = re.compile(r"-?(?:0x[0-9a-f]+|\d+)", re.IGNORECASE)
# Extensions that say nothing without an option.
_NEEDS_OPTION = frozenset({
    "ttl", "hl", "length", "dscp", "tos", "mark", "connmark", "conntrack", "state", "addrtype", "iprange", "mac",
    "pkttype", "u32", "helper", "physdev", "devgroup", "ecn", "cpu", "realm", "comment", "set", "statistic",
    "multiport", "connbytes", "string", "policy", "MARK", "CONNMARK", "DSCP", "TOS", "TTL", "HL", "DNAT", "SNAT",
    "NETMAP", "CLASSIFY",
    "TCPMSS", "TEE", "SET", "AUDIT", "CHECKSUM",
})  # fmt: skip
# Options of which each must be there, by the extension.
_TOGETHER: dict[str, tuple[str, ...]] = {
    "connbytes": ("--connbytes", "--connbytes-mode", "--connbytes-dir"),
    "string": ("--algo",), "statistic": ("--mode",),
    "policy": ("--dir", "--pol"), "TPROXY": ("--on-port",),
}  # fmt: skip
# Options of which one at most may be there.
_ONE_OF: dict[str, frozenset[str]] = {"recent": frozenset({"--set", "--rcheck", "--update", "--remove"})}
_PORTED = frozenset({"tcp", "udp", "sctp", "dccp", "udplite", "6", "17", "132", "33", "136"})
_NAT_PORTS = {"DNAT": "--to-destination", "SNAT": "--to-source", "MASQUERADE": "--to-ports", "REDIRECT": "--to-ports"}


def refusal(name: str, written: Sequence[Option], protocol: str | None) -> str | None:
    """Return why iptables would not take an extension with these options, None where it would.

    `protocol`: what the rule's `-p` says.
    """
    if name in _NEEDS_OPTION and not written:
        return "no option"
    given = {option.name for option in written}
    missing = [option for option in _TOGETHER.get(name, ()) if option not in given]
    if missing:
        return f"without {missing[0]}"
    if len(given & _ONE_OF.get(name, frozenset())) > 1:
        return "options that exclude each other"
    if name in {"tcp", "udp", "sctp", "dccp"} and given and (protocol is None or protocol not in _PORTED):
        return f"without -p {name}"
    if name == "connlimit" and not given & {"--connlimit-upto", "--connlimit-above"}:
        return "without --connlimit-upto or --connlimit-above"
    if name == "statistic" and _packet_beyond(written):
        return "--packet is not below --every"
    if (
        name == "REJECT"
        and any(option.value in {"tcp-reset", "tcp-rst"} for option in written)
        and protocol not in {"tcp", "6"}
    ):
        return "tcp-reset without -p tcp"
    for option in written:
        why = _value(name, option) or _ports(name, option, protocol)
        if why is not None:
            return why
    return None


def _packet_beyond(written: Sequence[Option]) -> bool:
    given = {option.name: option.value for option in written}
    every, packet = given.get("--every", ""), given.get("--packet", "0")
    return every.isdecimal() and packet.isdecimal() and int(packet) >= int(every)


def _value(name: str, option: Option) -> str | None:
    value = option.value
    pattern = _COMPILED.get((name, option.name))
    if pattern is not None and not pattern.fullmatch(value):
        return f"{option.name} {value}"
    if (name, option.name) in _RISING and _falls(value):
        return f"{option.name} {value}"
    limits = _NUMBERS.get((name, option.name))
    if limits is None:
        return None
    parts = [part for part in re.split(r"[,:/]", value) if part]
    numbers = [number(part) for part in parts if _MINUS.fullmatch(part)]
    if any(not limits[0] <= one <= limits[1] for one in numbers) or (
        name not in _PORTED and len(numbers) != len(parts)
    ):
        named = name in {"multiport", "LOG"}
        return None if named and all(limits[0] <= one <= limits[1] for one in numbers) else f"{option.name} {value}"
    too_many = name == "multiport" and len(parts) > 15
    return f"{option.name} {value}" if too_many or (name in {"tcp", "multiport"} and _falls(value)) else None


def _falls(value: str) -> bool:
    """Whether a range of ports ends before it begins."""
    for part in value.split(","):
        first, colon, last = part.partition(":")
        if colon and first.isdecimal() and last.isdecimal() and int(first) > int(last):
            return True
    return False


def _ports(name: str, option: Option, protocol: str | None) -> str | None:
    """Ports to translate to: of a protocol that has them, and in range."""
    if option.name != _NAT_PORTS.get(name):
        return None
    _, colon, ports = option.value.rpartition(":") if name in {"DNAT", "SNAT"} else ("", ":", option.value)
    if not colon or ("]" not in option.value and option.value.count(":") > 1):
        return None
    if protocol is None or protocol not in _PORTED:
        return f"{option.name} {option.value} without a protocol that has ports"
    wrong = [part for part in re.split(r"[-/]", ports) if part.isdecimal() and int(part) > 65535]
    return f"{option.name} {option.value}" if wrong else None
