"""A long chain's index: nothing that can match is left out, and little else is offered."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from netdoctor.netfilter.iptables.index import Index
from netdoctor.netfilter.iptables.rule import Rule
from netdoctor.netfilter.packet import Packet, parse_address

ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "0.0.0.0")
NETWORKS = (*(f"{address}/32" for address in ADDRESSES), "10.0.0.0/24", "10.0.0.1/255.0.0.255", "10.0.0.2")
NOT = st.sampled_from(["", "! "])

parts = st.tuples(
    st.one_of(st.just(""), st.builds("{}-s {}".format, NOT, st.sampled_from(NETWORKS))),
    st.one_of(
        st.just(""), st.builds("{} {}".format, st.sampled_from(["-d", "! -d", "-d !"]), st.sampled_from(NETWORKS))
    ),
    st.one_of(st.just(""), st.builds("{}-i {}".format, NOT, st.sampled_from(["eth0", "eth+", "eth1", "+"]))),
    st.one_of(st.just(""), st.builds("{}-o {}".format, NOT, st.sampled_from(["eth0", "eth+", "eth1"]))),
    st.one_of(
        st.just(""),
        st.sampled_from(["-p tcp", "! -p tcp", "-p udp", "-p 6", "-p icmp"]),
        st.builds("-p tcp -m tcp {}--dport {}".format, NOT, st.sampled_from(["80", "81", "80:90"])),
        st.just("-p tcp -m tcp --dport ! 80"),
        st.just('-p tcp -m comment --comment "x --dport 1 -d 9.9.9.9" -m tcp --dport 80'),
        st.just("-p tcp -m tcp --sport 5 --dport 80"),
        st.just("-p tcp -m multiport --dports 80,81"),
        st.just('-m comment --comment "-d 10.0.0.1/32 -i eth9"'),
    ),
)
texts = parts.map(lambda found: " ".join(part for part in (*found, "-j ACCEPT") if part))


def make(src="10.0.0.1", dst="10.0.0.2", proto=6, sport=40000, dport=80, in_dev="eth0", out_dev=None):
    return Packet(4, proto, parse_address(src)[1], parse_address(dst)[1], sport, dport, in_dev=in_dev, out_dev=out_dev)


packets = st.builds(
    make,
    src=st.sampled_from(ADDRESSES),
    dst=st.sampled_from(ADDRESSES),
    proto=st.sampled_from([6, 17, 1, 47]),
    dport=st.sampled_from([80, 81, None]),
    in_dev=st.sampled_from(["eth0", "eth1", None]),
    out_dev=st.sampled_from(["eth0", "eth1", None]),
)


@settings(max_examples=300)
@given(st.lists(texts, max_size=20), packets)
def test_every_rule_that_can_match_is_offered_in_order(written, packet):
    rules = [Rule("X", number, text, 4) for number, text in enumerate(written, 1)]
    offered = [rule.number for rule in Index(rules, 4).candidates(packet)]
    can = [rule.number for rule in rules if rule.answer(packet, None) is not False]
    assert (sorted(offered), []) == (offered, [number for number in can if number not in offered])


def test_of_many_services_only_the_packets_own_is_offered_and_none_is_parsed():
    rules = [
        Rule(
            "KUBE-SERVICES",
            n,
            f'-d 10.96.{n >> 8}.{n & 255}/32 -p tcp -m comment --comment "a/b cluster IP" -m tcp --dport 80 -j S{n}',
            4,
        )
        for n in range(5000)
    ]
    offered = list(Index(rules, 4).candidates(make(dst="10.96.1.2")))
    assert [rule.number for rule in offered] == [258]
    assert [rule for rule in rules if rule._parsed is not None] == []


def test_of_many_node_ports_behind_comments_only_the_packets_own_is_offered():
    rules = [
        Rule("KUBE-NODEPORTS", n, f'-p tcp -m comment --comment "a/b:{n}" -m tcp --dport {n} -j X', 4)
        for n in range(30000, 30100)
    ]
    assert [rule.number for rule in Index(rules, 4).candidates(make(dport=30007))] == [30007]


def test_of_many_workload_interfaces_only_the_packets_own_is_offered():
    rules = [Rule("cali-from-wl-dispatch", n, f"-i cali{n} -g cali-fw-cali{n}", 4) for n in range(100)]
    rules.append(Rule("cali-from-wl-dispatch", 100, "-j DROP", 4))
    assert [rule.number for rule in Index(rules, 4).candidates(make(in_dev="cali7"))] == [7, 100]
