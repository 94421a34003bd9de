"""Every option of every match and target with its smallest, largest and odd values, plain and negated, as rules.

Knows nothing of how they are loaded. A rule is (table, chain, words); what only one family has says so.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Variant = tuple[str, str, str]  # table, chain, words
PORTS = ("0", "1", "65535", "0:65535", "0:1024", "1024:65535", "80:81", "22")
MARKS = ("0x0", "0x1", "0xffffffff", "0x1/0x1", "0xff00/0xff00", "0x0/0xffff", "0x80000000/0x80000000", "0xa/0xf0")
BYTES = ("0", "1", "127", "128", "254", "255")
FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")
NAMES = ("eth0", "e+", "br-0123456789a", "a.b-c_d", "veth1234567+", "lo")
ADDRESSES = {
    4: ("0.0.0.0/1", "1.2.3.4", "255.255.255.255", "10.0.0.0/8", "10.1.2.3/255.0.255.0", "192.0.2.128/25", "0.0.0.1"),
    6: (
        "::1",
        "fd00::/8",
        "2001:db8::1",
        "fe80::/10",
        "::/1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db8::/127",
    ),
}
TYPES = (
    "UNSPEC",
    "UNICAST",
    "LOCAL",
    "BROADCAST",
    "ANYCAST",
    "MULTICAST",
    "BLACKHOLE",
    "UNREACHABLE",
    "PROHIBIT",
    "THROW",
)
TYPES6 = ("UNSPEC", "UNICAST", "LOCAL", "ANYCAST", "MULTICAST", "UNREACHABLE")
CLASSES = ("CS0", "CS1", "CS7", "AF11", "AF23", "AF43", "EF", "BE")
REJECTS = {
    4: ("net", "host", "proto", "port"), 6: ("no-route", "adm-prohibited", "addr-unreachable", "port-unreachable",
                                             "policy-fail", "reject-route"),
}  # fmt: skip


def variants(family: int) -> list[Variant]:
    """Return all of a family, each once."""
    return list(dict.fromkeys([*_headers(family), *_matches(family), *_targets(family)]))


def _both(words: str, option: str, values: tuple[str, ...] | range, tail: str = "") -> Iterator[Variant]:
    """An option with each value, plain and negated."""
    for value in values:
        for turn in ("", "! "):
            yield "filter", "FORWARD", f"{words} {turn}{option} {value}{tail}".strip()


def _plain(
    words: str, *rest: tuple[str, ...] | range, table: str = "filter", chain: str = "FORWARD"
) -> Iterator[Variant]:
    for parts in product(*rest):
        yield table, chain, " ".join((words, *map(str, parts))).strip()


def _headers(family: int) -> Iterator[Variant]:
    for option in ("-s", "-d"):
        yield from _both("", option, ADDRESSES[family])
    for option in ("-i", "-o"):
        yield from _both("", option, NAMES)
    yield from _both("", "-p", range(1, 256))
    for one, other in product(ADDRESSES[family][:4], repeat=2):
        yield from _plain(f"-s {one} ! -d {other} -i eth0 ! -o eth1")


def _matches(family: int) -> Iterator[Variant]:
    for proto in ("tcp", "udp", "sctp", "dccp"):
        for option in ("--sport", "--dport"):
            yield from _both(f"-p {proto} -m {proto}", option, PORTS)
        for option in ("--sports", "--dports", "--ports"):
            yield from _both(
                f"-p {proto} -m multiport",
                option,
                ("1", "1,65535", "0:65535", "1:2,4:5,9", ",".join(map(str, range(15)))),
            )
    yield from _both("-p tcp -m tcp", "--tcp-option", (1, 2, 8, 128, 254, 255))
    for mask in (*FLAGS, "FIN,SYN", "SYN,ACK", "FIN,SYN,RST,ACK", "FIN,SYN,RST,PSH,ACK,URG", "RST,PSH,URG"):
        for wanted in ("NONE", mask.split(",")[0], mask):
            yield from _both("-p tcp -m tcp", "--tcp-flags", (f"{mask} {wanted}",))
    yield from _both("-p sctp -m sctp", "--chunk-types", tuple(
        f"{how} {kind}" for how in ("any", "all", "only") for kind in ("INIT", "DATA:Be", "SACK,ABORT", "SHUTDOWN_ACK")
    ))  # fmt: skip
    yield from _both("-p dccp -m dccp", "--dccp-types", ("REQUEST", "DATA,ACK", "RESET,CLOSE,SYNC"))
    yield from _both("-p dccp -m dccp", "--dccp-option", (1, 127, 255))
    if family == 4:
        yield from _both("-p icmp -m icmp", "--icmp-type", tuple(map(str, range(0, 255, 3))))
        yield from _both("-p icmp -m icmp", "--icmp-type", tuple(f"3/{code}" for code in range(16)))
        yield from _both(
            "-p icmp -m icmp", "--icmp-type", ("echo-request", "any", "network-unreachable", "ttl-exceeded")
        )
        yield from _plain("-m realm --realm", BYTES)
        yield from _both("", "-f", ("",))
        for option in ("--ttl-lt", "--ttl-gt"):
            yield from _plain(f"-m ttl {option}", BYTES)
        yield from _both("-m ttl", "--ttl-eq", BYTES)
    else:
        yield from _both("-p ipv6-icmp -m icmp6", "--icmpv6-type", tuple(map(str, range(1, 255, 3))))
        yield from _both("-p ipv6-icmp -m icmp6", "--icmpv6-type", tuple(f"1/{code}" for code in range(8)))
        for option in ("--hl-lt", "--hl-gt"):
            yield from _plain(f"-m hl {option}", BYTES)
        yield from _both("-m hl", "--hl-eq", BYTES)
        yield from _both("-m frag", "--fragid", ("0", "1", "4294967295", "0:4294967295", "5:9"))
        yield from _plain("-m frag", ("--fragfirst", "--fragmore", "--fraglast", "--fragres"))
        for name in ("hbh", "dst"):
            yield from _both(f"-m {name}", f"--{name}-len", ("0", "8", "4294967295"))
            yield from _plain(f"-m {name} --{name}-opts", ("1", "5:8,6", "254"))
        yield from _both("-m rt", "--rt-type", ("0", "2", "4294967295"))
        yield from _both("-m rt", "--rt-segsleft", ("0", "1:5", "4294967295"))
        yield from _both("-p mh -m mh", "--mh-type", ("0", "1:5", "255"))
        yield from _both("-m ipv6header", "--header", ("hop-by-hop", "ipv6-frag,dst", "none", "esp,ah"))
        yield from _both("-m ipv6header", "--header", ("hop-by-hop", "frag,auth"), tail=" --soft")
        yield from _plain("-m eui64", table="filter", chain="INPUT")
    for option in ("--src-type", "--dst-type"):
        yield from _both("-m addrtype", option, TYPES if family == 4 else TYPES6)
        yield from _both("-m addrtype", option, ("LOCAL,UNICAST", "MULTICAST,ANYCAST,LOCAL"))
    for option in ("--ahspi",) if family == 4 else ():
        yield from _both("-p ah -m ah", option, ("0", "1:2", "4294967295"))
    yield from _both("-p esp -m esp", "--espspi", ("0", "1:2", "4294967295", "0:4294967295"))
    for mode, way in product(("packets", "bytes", "avgpkt"), ("original", "reply", "both")):
        for count in ("0", "1:2", "5:4294967296", "18446744073709551615"):
            for turn in ("", "! "):
                yield from _plain(
                    f"-m connbytes {turn}--connbytes {count} --connbytes-mode {mode} --connbytes-dir {way}"
                )
    for option, mask, side in product(("upto", "above"), (0, 8, 24, 32), ("saddr", "daddr")):
        yield from _plain(f"-m connlimit --connlimit-{option} 4294967295 --connlimit-mask {mask} --connlimit-{side}")
    for state in (
        "INVALID",
        "NEW",
        "RELATED",
        "ESTABLISHED",
        "UNTRACKED",
        "SNAT",
        "DNAT",
        "NEW,DNAT",
        "RELATED,ESTABLISHED",
    ):
        yield from _both("-m conntrack", "--ctstate", (state,))
        if "NAT" not in state:
            yield from _both("-m state", "--state", (state,))
    for option in ("--ctorigsrc", "--ctorigdst", "--ctreplsrc", "--ctrepldst"):
        yield from _both("-m conntrack", option, ADDRESSES[family][:4])
    for option in ("--ctorigsrcport", "--ctorigdstport", "--ctreplsrcport", "--ctrepldstport"):
        yield from _both("-m conntrack --ctproto 6", option, ("1", "80:90", "65535"))
    yield from _both("-m conntrack", "--ctproto", (1, 6, 17, 255))
    yield from _both(
        "-m conntrack", "--ctstatus", ("NONE", "EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED", "SEEN_REPLY,ASSURED")
    )
    yield from _both("-m conntrack", "--ctexpire", ("0", "1:2", "4294967295"))
    yield from _plain("-m conntrack --ctdir", ("ORIGINAL", "REPLY"))
    for option in ("--src-group", "--dst-group"):
        yield from _both("-m devgroup", option, ("0x1", "0x5/0xff", "0xffffffff"))
    yield from _both("-m dscp", "--dscp", tuple(f"{value:#04x}" for value in range(64)))
    yield from _both("-m dscp", "--dscp-class", CLASSES)
    yield from _both("-m ecn", "--ecn-ip-ect", (0, 1, 2, 3))
    yield from _both("-p tcp -m ecn", "--ecn-tcp-cwr", ("",))
    yield from _both("-p tcp -m ecn", "--ecn-tcp-ece", ("",))
    for name in ("ftp", "sip", "a-b_c", "irc"):
        yield from _both("-m helper", "--helper", (f'"{name}"',))
    low, high = ADDRESSES[family][1], "1.2.3.9" if family == 4 else "fd00::1"
    for option in ("--src-range", "--dst-range"):
        yield from _both("-m iprange", option, (f"{low if family == 4 else '::1'}-{high}",))
    yield from _both("-m length", "--length", ("0", "1", "65535", "0:65535", "40:1500", "1500:65535"))
    for rate, burst in product(("1/sec", "5/min", "10/hour", "10/day", "10000/sec"), (1, 5, 255, 10000)):
        yield from _plain(f"-m limit --limit {rate} --limit-burst {burst}")
    yield from _both("-m mac", "--mac-source", ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "02:ab:cd:ef:01:23"))
    yield from _both("-m mark", "--mark", MARKS)
    yield from _both("-m connmark", "--mark", MARKS)
    for option in ("--uid-owner", "--gid-owner"):
        for value, turn in product(("0", "65534", "0-1000", "4294967294"), ("", "! ")):
            yield "filter", "OUTPUT", f"-m owner {turn}{option} {value}"
    yield from _plain("-m owner", ("--socket-exists", "! --socket-exists"), chain="OUTPUT")
    for option in ("--physdev-in", "--physdev-out"):
        yield from _both("-m physdev", option, NAMES, tail=" --physdev-is-bridged")
    yield from _plain("-m physdev", ("", "! "), ("--physdev-is-in", "--physdev-is-out", "--physdev-is-bridged"))
    yield from _both("-m pkttype", "--pkt-type", ("unicast", "broadcast", "multicast"))
    for way, policy in product(("in", "out"), ("ipsec", "none")):
        yield from _plain(f"-m policy --dir {way} --pol {policy}")
    for detail in (
        "--strict --reqid 1",
        "--proto esp",
        "--mode tunnel",
        "! --reqid 5",
        "--spi 0x1",
        "--strict --proto ah --mode transport",
    ):
        yield from _plain(f"-m policy --dir in --pol ipsec {detail}")
    yield from _both("-m quota", "--quota", ("0", "1", "18446744073709551615"))
    for way, side in product(("--set", "--rcheck", "--update", "--remove"), ("--rsource", "--rdest")):
        for turn in ("", "! "):
            yield from _plain(f"-m recent {turn}{way} --name a1 {side}")
    yield from _plain(
        "-m recent --rcheck --name a2",
        ("--seconds 1", "--seconds 60 --hitcount 3", "--rttl", "--hitcount 20"),
        ("--rsource",),
    )
    for flags in (
        "",
        "--loose",
        "--validmark",
        "--accept-local",
        "--invert",
        "--loose --validmark --accept-local --invert",
    ):
        yield "raw", "PREROUTING", f"-m rpfilter {flags}".strip()
    for flags in ("", "--transparent", "--nowildcard", "--restore-skmark", "--transparent --nowildcard"):
        yield "mangle", "PREROUTING", f"-p tcp -m socket {flags}".strip()
    yield from _both("-m statistic --mode random", "--probability", ("0", "0.5", "0.33333333349", "1", "0.1"))
    for every, packet in ((1, 0), (2, 1), (4294967295, 0), (10, 9)):
        yield from _plain("-m statistic --mode nth", ("", "! "), (f"--every {every} --packet {packet}",))
    for text, algo, where in product(
        ("GET", "a b", "x'y", "-j DROP", "100%"),
        ("bm", "kmp"),
        ("", "--from 10", "--to 20", "--from 1 --to 65535", "--icase"),
    ):
        yield from _plain(f'-m string --string "{text}" --algo {algo} {where}')
    yield from _both("-m string --algo bm", "--hex-string", ('"|00ff|"', '"a|0d0a|b"'))
    yield from _both("-p tcp -m tcpmss", "--mss", ("0", "1", "1460", "0:65535", "536:1460"))
    for detail in ("--timestart 00:00:00 --timestop 23:59:59", "--datestart 2020-01-01T00:00:00",
                   "--datestop 2037-12-31T23:59:59", "--weekdays Mon,Wed", "! --weekdays Sun", "--monthdays 1,31",
                   "! --monthdays 15", "--timestart 22:00:00 --timestop 06:00:00 --contiguous",
                   "--kerneltz --timestart 08:00:00"):  # fmt: skip
        yield from _plain(f"-m time {detail}")
    yield from _both("-m tos", "--tos", ("0x00/0xff", "0x10/0x3f", "0xff/0xff", "0x08/0x0f"))
    yield from _both(
        "-m u32",
        "--u32",
        ('"0=0"', '"6&0xFF=17"', '"0>>22&0x3C@0>>16=80"', '"4&0x1FFF=0&&9&0xFF=1:6,17"', '"0xfffc=0xffffffff"'),
    )
    yield from _both("-m cpu", "--cpu", (0, 1, 4294967295))
    yield from _both("-m cgroup", "--cgroup", (0, 1, 4294967295))
    for total, node in ((2, 1), (32, 32), (4, 2)):
        yield from _plain(
            f"-m cluster --cluster-total-nodes {total} --cluster-local-node {node} --cluster-hash-seed 0xdeadbeef"
        )
    for length in (1, 30, 255):
        yield from _plain(f'-m comment --comment "{"x" * length}"')
    name = f"nets{'' if family == 4 else 6}"
    for sides, turn, more in product(
        ("src", "dst"), ("", "! "), ("", "--return-nomatch", "! --update-counters", "--packets-gt 5", "! --bytes-eq 1")
    ):
        yield from _plain(f"-m set {turn}--match-set {name} {sides} {more}")
    for upto, mode in product(("upto", "above"), ("srcip", "dstip", "srcip,dstport", "srcip,srcport,dstip,dstport")):
        for rate in ("1/sec", "100/min", "5/day"):
            yield from _plain(
                f"-p tcp -m hashlimit --hashlimit-{upto} {rate} --hashlimit-burst 7 --hashlimit-mode {mode} "
                f"--hashlimit-name h{len(mode)}{upto}{rate[-3:]}"
            )


def _targets(family: int) -> Iterator[Variant]:
    yield from _plain("-j", ("ACCEPT", "DROP", "RETURN", "user", "LOG"))
    yield from _plain("-g user")
    for kind in REJECTS[family]:
        yield from _plain(
            f"-j REJECT --reject-with icmp-{kind}-unreachable"
            if family == 4
            else f"-j REJECT --reject-with icmp6-{kind}"
        )
    yield from _plain("-p tcp -j REJECT --reject-with tcp-reset")
    if family == 4:
        yield from _plain(
            "-j REJECT --reject-with", ("icmp-net-prohibited", "icmp-host-prohibited", "icmp-admin-prohibited")
        )
    for level, prefix in product(
        range(8),
        (
            "",
            '--log-prefix "a b: "',
            '--log-prefix "%s" --log-tcp-sequence',
            "--log-uid --log-ip-options --log-tcp-options",
        ),
    ):
        yield from _plain(f"-j LOG --log-level {level} {prefix}")
    for group, more in product((0, 1, 65535), ("", '--nflog-prefix "p q"', "--nflog-size 100", "--nflog-threshold 5")):
        yield from _plain(f"-j NFLOG --nflog-group {group} {more}")
    for queue in (
        "--queue-num 0",
        "--queue-num 65535",
        "--queue-num 5 --queue-bypass",
        "--queue-balance 0:3",
        "--queue-balance 0:3 --queue-cpu-fanout",
    ):
        yield from _plain(f"-j NFQUEUE {queue}")
    for option, value in product(
        ("--set-mark", "--or-mark", "--and-mark", "--xor-mark"), ("0x0", "0x1", "0xff", "0xffffffff")
    ):
        yield from _plain(f"-j MARK {option} {value}", table="mangle")
        yield from _plain(f"-j CONNMARK {option} {value}", table="mangle")
    for value, mask in product(("0x0", "0x5", "0xffffffff"), ("0x0", "0xf", "0xffffffff")):
        yield from _plain(f"-j MARK --set-xmark {value}/{mask}", table="mangle")
        yield from _plain(f"-j CONNMARK --set-xmark {value}/{mask}", table="mangle")
        for way in ("--save-mark", "--restore-mark"):
            yield from _plain(f"-j CONNMARK {way} --nfmask {value} --ctmask {mask}", table="mangle")
    yield from _plain("-j DSCP --set-dscp", tuple(f"{value:#04x}" for value in range(64)), table="mangle")
    yield from _plain("-j DSCP --set-dscp-class", CLASSES, table="mangle")
    for option, value in product(("--set-tos", "--or-tos", "--and-tos", "--xor-tos"), ("0x00", "0x10", "0xff")):
        yield from _plain(f"-j TOS {option} {value}", table="mangle")
    yield from _plain("-j TOS --set-tos", ("0x10/0x3f", "0xff/0xff", "0x08/0x0f"), table="mangle")
    name, option = ("TTL", "ttl") if family == 4 else ("HL", "hl")
    for how, value in product(("set", "inc", "dec"), BYTES[1:]):
        yield from _plain(f"-j {name} --{option}-{how} {value}", table="mangle")
    yield from _plain(
        "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS",
        ("--set-mss 1", "--set-mss 1460", "--set-mss 65495", "--clamp-mss-to-pmtu"),
        table="mangle",
    )
    yield from _plain("-p tcp -j TCPOPTSTRIP --strip-options", ("2", "2,3,8", "wscale,mss", "255"), table="mangle")
    yield from _plain("-j CLASSIFY --set-class", ("0:0", "1:10", "ffff:ffff"), table="mangle", chain="POSTROUTING")
    yield from _plain("-p udp -j CHECKSUM --checksum-fill", table="mangle")
    yield from _plain("-j AUDIT --type", ("accept", "drop", "reject"))
    if family == 4:
        yield from _plain("-p tcp -j ECN --ecn-tcp-remove", table="mangle")
    yield from _plain(
        "-j CT",
        ("--notrack", "--zone 1", "--zone 65535", "--zone-orig 5", "--zone-reply mark", "--ctevents new,destroy"),
        table="raw",
        chain="PREROUTING",
    )
    yield from _plain("-j", ("NOTRACK", "TRACE"), table="raw", chain="PREROUTING")
    own, other = ("10.0.0.1", "10.0.0.9") if family == 4 else ("fd00::1", "fd00::9")
    boxed = own if family == 4 else f"[{own}]"
    for target, word, chain in (("DNAT", "--to-destination", "PREROUTING"), ("SNAT", "--to-source", "POSTROUTING")):
        for more in ("", " --random", " --persistent", " --random --persistent"):
            yield from _plain(f"-j {target} {word} {own}{more}", table="nat", chain=chain)
            yield from _plain(f"-j {target} {word} {own}-{other}{more}", table="nat", chain=chain)
        for proto, ports in product(("tcp", "udp", "sctp"), ("1", "80", "65535", "1-65535", "5-6")):
            yield from _plain(f"-p {proto} -j {target} {word} {boxed}:{ports}", table="nat", chain=chain)
    for ports, more in product(("", " --to-ports 1", " --to-ports 1024-65535"), ("", " --random", " --random-fully")):
        yield from _plain(f"-p tcp -j MASQUERADE{ports}{more}", table="nat", chain="POSTROUTING")
        if "fully" not in more:
            yield from _plain(f"-p udp -j REDIRECT{ports}{more}", table="nat", chain="PREROUTING")
    network = "10.0.0.0/24" if family == 4 else "fd00::/64"
    yield from _plain(f"-j NETMAP --to {network}", table="nat", chain="PREROUTING")
    for more in ("", " --timeout 5", " --exist", " --timeout 0 --exist"):
        yield from _plain(f"-j SET --add-set nets{'' if family == 4 else 6} src{more}")
    yield from _plain(f"-j SET --del-set nets{'' if family == 4 else 6}", ("src", "dst"))
    yield from _plain(f"-j TEE --gateway {own}", ("", "--oif eth0"), table="mangle")
    for mark in ("0x1/0x1", "0x0/0xffffffff", "0xff/0xff"):
        yield from _plain(
            f"-p tcp -j TPROXY --on-port 80 --on-ip {own} --tproxy-mark {mark}", table="mangle", chain="PREROUTING"
        )
    yield from _plain(
        "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j SYNPROXY",
        ("--sack-perm", "--timestamp --wscale 7 --mss 1460", "--ecn --mss 0"),
        chain="INPUT",
    )
    yield from _plain("-j IDLETIMER --timeout", ("1", "600"), ("--label t1",))


# What no iptables takes: values out of range, words that are missing or one too many, what does not go together.
_BAD: dict[str, tuple[str, ...]] = {
    "": ("-s 10.0.0.0/33", "-s 10.0.0.256", "-i sixteen-letters-", "-p 256", "-p nosuch", "-s", "-d", "-i",
         "--nosuch", "-j NOSUCH --x", "-m nosuch", "-m tcp --dport 80"),
    "-p tcp -m tcp": ("--sport 65536", "--dport 80:70", "--dport -1", "--dport nosuchport", "--tcp-flags SYN",
                      "--tcp-flags XYZ SYN",
                      "--tcp-option 0", "--tcp-option 256", "--tcp-flags SYN NOPE", "--dport"),
    "-p udp -m udp": ("--dport x",),
    "-p tcp -m multiport": ("--dports 65536", "--dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", "--dports 5:3",
                            "--dports"),
    "-m ttl": ("--ttl-eq 256", "--ttl-lt -1", "--ttl-gt x", ""),
    "-m length": ("--length 65536", "--length x", ""),
    "-m dscp": ("--dscp 64", "--dscp -1", "--dscp-class XX", ""),
    "-m tos": ("--tos 256", "--tos 0x100/0xff", "--tos nosuch", ""),
    "-m mark": ("--mark 0x100000000", "--mark x", "--mark 1/x", ""),
    "-m connmark": ("--mark 0x100000000", "--mark x", ""),
    "-m conntrack": ("--ctstate NOPE", "--ctstatus NOPE", "--ctdir SIDEWAYS", "--ctexpire x",
                     ""),
    "-m state": ("--state NOPE", "--state", ""),
    "-m addrtype": ("--src-type NOPE", "", "--dst-type LOCAL,NOPE"),
    "-m limit": ("--limit x", "--limit 0/sec", "--limit 1/fortnight", "--limit-burst x"),
    "-m statistic": ("--mode random --probability 1.1", "--mode random --probability x", "--mode nope",
                     "--mode nth --every 0",
                     "--mode nth --every 2 --packet 2", "--mode nth"),
    "-m iprange": ("--src-range 10.0.0.1-x", ""),
    "-m mac": ("--mac-source 00:00:00:00:00", "--mac-source zz:00:00:00:00:00", ""),
    "-m pkttype": ("--pkt-type nope", ""),
    "-m quota": ("--quota x", "--quota -1"),
    "-m connbytes": ("--connbytes 1", "--connbytes 5:1 --connbytes-mode packets --connbytes-dir both",
                     "--connbytes 1 --connbytes-mode nope --connbytes-dir both",
                     "--connbytes x --connbytes-mode bytes --connbytes-dir reply"),
    "-m connlimit": ("--connlimit-above x", "--connlimit-mask 8"),
    "-m time": ("--timestart 25:00", "--weekdays Xyz", "--monthdays 32", "--datestart nope"),
    "-m string": ("--string x", "--algo bm", "--algo nope --string x", '--algo bm --hex-string "|zz|"'),
    "-m u32": ("--u32 x", "--u32 0", "--u32 0=", ""),
    "-m helper": ("",),
    "-m physdev": ("",),
    "-m policy": ("--dir sideways --pol none", "--dir in --pol nope", "--pol none"),
    "-m recent": ("--set --rcheck", "--rcheck --seconds x", "--rcheck --hitcount x"),
    "-m devgroup": ("--src-group x", ""),
    "-m ecn": ("--ecn-ip-ect 4", ""),
    "-m cpu": ("--cpu x", ""),
    "-m realm": ("--realm nosuch", ""),
    "-m comment": ("",),
    "-m set": ("--match-set nets", ""),
    "-p icmp -m icmp": ("--icmp-type 256", "--icmp-type nope", "--icmp-type 3/256"),
    "-p sctp -m sctp": ("--dport 65536", "--chunk-types some DATA"),
    "-p dccp -m dccp": ("--dccp-types NOPE", "--dccp-option 256"),
    "-p esp -m esp": ("--espspi x",),
    "-j REJECT": ("--reject-with nope", "--reject-with tcp-reset"),
    "-j LOG": ("--log-level 8", "--log-level nope"),
    "-j NFLOG": ("--nflog-group 65536", "--nflog-size x"),
    "-j NFQUEUE": ("--queue-num 65536", "--queue-balance 5", "--queue-balance 5:1"),
    "-j MARK": ("--set-mark x", "--set-mark 0x100000000", "", "--set-xmark 1/x"),
    "-j CONNMARK": ("--set-mark x", ""),
    "-j AUDIT": ("--type nope", ""),
    "-j SET": ("",),
    "-j TEE": ("", "--gateway x"),
    "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS": ("--set-mss x", "--set-mss 70000", ""),
}  # fmt: skip
_BAD_ELSEWHERE = (
    ("mangle", "FORWARD", "-j DSCP --set-dscp 64"),
    ("mangle", "FORWARD", "-j DSCP"),
    ("mangle", "FORWARD", "-j TTL --ttl-set 256"),
    ("mangle", "FORWARD", "-j TTL"),
    ("mangle", "FORWARD", "-j TOS --set-tos 256"),
    ("mangle", "FORWARD", "-j CLASSIFY --set-class x"),
    ("nat", "PREROUTING", "-j DNAT"),
    ("nat", "PREROUTING", "-j DNAT --to-destination 10.0.0.256"),
    ("nat", "PREROUTING", "-j DNAT --to-destination 10.0.0.1:80"),
    ("nat", "PREROUTING", "-p tcp -j DNAT --to-destination 10.0.0.1:65536"),
    ("nat", "POSTROUTING", "-j SNAT"),
    ("nat", "POSTROUTING", "-j SNAT --to-source x"),
    ("nat", "POSTROUTING", "-j MASQUERADE --to-ports 80"),
    ("nat", "POSTROUTING", "-p tcp -j MASQUERADE --to-ports 65536"),
    ("nat", "PREROUTING", "-j REDIRECT --to-ports 80"),
    ("nat", "PREROUTING", "-p tcp -j REDIRECT --to-ports x"),
    ("nat", "PREROUTING", "-j NETMAP"),
    ("nat", "PREROUTING", "-j NETMAP --to x"),
    ("raw", "PREROUTING", "-j CT --zone 65536"),
    ("raw", "PREROUTING", "-j CT --zone x"),
)  # fmt: skip


def refused() -> list[Variant]:
    """Return rules of IPv4 that iptables is to refuse."""
    made = [("filter", "FORWARD", f"{words} {option}".strip()) for words, options in _BAD.items() for option in options]
    return [*made, *_BAD_ELSEWHERE]
