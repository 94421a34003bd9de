"""Rules of ebtables-nft, of which nft shows no more than names."""

from __future__ import annotations

import pytest

from netdoctor.netfilter.nft import ebtables, ruleset
from netdoctor.netfilter.nft.text import rule_text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("-p IPv4 --ip-dst 10.0.1.3 --ip-proto udp --ip-dport 80:90 -j DROP",
         "ether type ip ip daddr 10.0.1.3 ip protocol udp th dport 80-90 counter drop"),
        ("-p IPv4 --ip-src ! 10.0.0.0/8 -j ACCEPT", "ether type ip ip saddr != 10.0.0.0/8 counter accept"),
        ("-p ARP --arp-op Request --arp-mac-src 02:00:00:00:00:01 -j RETURN",
         "ether type arp arp operation request arp saddr ether 02:00:00:00:00:01 counter return"),
        ("-s 02:00:00:00:00:00/ff:00:00:00:00:00 -i vp+ -o ! eth0 -j mark --mark-or 0x5 --mark-target ACCEPT",
         ('ether saddr & ff:00:00:00:00:00 == 02:00:00:00:00:00 iifname "vp*" oifname != "eth0" counter '
         "meta mark set meta mark | 5 accept")),
        ("-d Multicast --pkttype-type ! otherhost --mark ! 0x5/0xff -j CONTINUE",
         ("ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 meta pkttype != other meta mark & 255 != 5 counter "
         "continue")),
        ("-p IPv6 --ip6-src fd00::/64 --ip6-proto tcp --log-level notice --log-prefix x -j OWN",
         "ether type ip6 ip6 saddr fd00::/64 ip6 nexthdr tcp counter jump OWN"),
        ("-s 02:00:00:00:00:01 -j snat --to-src 02:00:00:00:00:02 --snat-target ACCEPT",
         "ether saddr 02:00:00:00:00:01 counter ether saddr set 02:00:00:00:00:02 accept"),
    ],
)  # fmt: skip
def test_a_rule_means_what_its_options_say(line, text):
    made = ebtables.translated(f"-A FORWARD {line}")
    assert made is not None
    assert rule_text(made, "bridge").replace("0xff ", "255 ") == text


@pytest.mark.parametrize(
    "line",
    [
        "--among-dst 02:00:00:00:00:01=10.0.0.1 -j DROP", "-j arpreply --arpreply-mac 02:00:00:00:00:01",
        "-j snat --to-src 02:00:00:00:00:02 --snat-arp --snat-target ACCEPT", "-p IPv4 --ip-tos 0x10 -j DROP", "-p",
    ],
)  # fmt: skip
def test_what_is_not_described_stays_undecided(line):
    assert ebtables.translated(f"-A FORWARD {line}") is None


def test_only_rules_that_nft_cannot_show_are_rewritten():
    table = ruleset.Table("bridge", "filter")
    table.chains["FORWARD"] = chain = ruleset.Chain({"name": "FORWARD"})
    for number, match in enumerate(({"accept": None}, {"xt": {"type": "match", "name": "ip"}}), 1):
        chain.rules.append(ruleset.Rule(table, number, {"expr": [match]}))
    ebtables.rewrite(table, "*nat\n-A FORWARD -j DROP\n*filter\n-A FORWARD -j ACCEPT\n-A FORWARD -p ARP -j DROP\n")
    assert [rule.text for rule in chain.rules] == ["accept", "-A FORWARD -p ARP -j DROP"]
