"""What targets ask of the simulator, from every spelling that iptables prints."""

from __future__ import annotations

import pytest

from netdoctor.netfilter.effect import (
    ACCEPT,
    CONTINUE,
    RETURN,
    CtTemplate,
    Drop,
    Nat,
    NoTrack,
    Queue,
    Reject,
    SynProxy,
    Tee,
    Undecided,
)
from netdoctor.netfilter.iptables.rule import Rule
from netdoctor.netfilter.packet import parse_address
from netdoctor.netfilter.ternary import Unknown


def address(text):
    return parse_address(text)[1]


def effect(text, packet_of, around, family=4, hook="PREROUTING", **fields):
    rule = Rule("X", 1, f"-p tcp {text}", family)  # ports and resets are those of a protocol
    return rule.effect(packet_of(family, **({"ctstate": None, "connection": None} | fields)), around(hook=hook))


ONE, NINE = address("10.0.0.1"), address("10.0.0.9")
SIX = address("fd00::1")


@pytest.mark.parametrize(
    ("text", "nat"),
    [
        ("DNAT --to-destination 10.0.0.1", Nat("dst", ONE, ONE)),
        ("DNAT --to-destination 10.0.0.1:8080", Nat("dst", ONE, ONE, 8080, 8080)),
        ("DNAT --to-destination 10.0.0.1-10.0.0.9:80-90 --random", Nat("dst", ONE, NINE, 80, 90, random=True)),
        ("DNAT --to-destination :2000-2010/1000", Nat("dst", None, None, 2000, 2010, 1000)),
        ("DNAT --to-destination 10.0.0.1 --persistent", Nat("dst", ONE, ONE, persistent=True)),
        ("SNAT --to-source 10.0.0.1-10.0.0.9 --random-fully", Nat("src", ONE, NINE, random_fully=True)),
        ("SNAT --to-source :1024-65535", Nat("src", None, None, 1024, 65535)),
        ("MASQUERADE", Nat("src", masquerade=True)),
        ("MASQUERADE --to-ports 1024-2048 --random-fully",
         Nat("src", None, None, 1024, 2048, random_fully=True, masquerade=True)),
        ("REDIRECT --to-ports 8080", Nat("dst", None, None, 8080, 8080, redirect=True)),
        ("REDIRECT", Nat("dst", redirect=True)),
    ],
)  # fmt: skip
def test_address_translation_of_ipv4(text, nat, packet_of, around):
    assert effect(f"-j {text}", packet_of, around) == nat


@pytest.mark.parametrize(
    ("text", "nat"),
    [
        ("DNAT --to-destination fd00::1", Nat("dst", SIX, SIX)),
        ("DNAT --to-destination [fd00::1]:8080", Nat("dst", SIX, SIX, 8080, 8080)),
        ("DNAT --to-destination [fd00::1-fd00::9]:80-90", Nat("dst", SIX, SIX + 8, 80, 90)),
        ("DNAT --to-destination :80", Nat("dst", None, None, 80, 80)),
        ("DNAT --to-destination ::1", Nat("dst", 1, 1)),
        ("SNAT --to-source fd00::1-fd00::9", Nat("src", SIX, SIX + 8)),
    ],
)
def test_address_translation_of_ipv6(text, nat, packet_of, around):
    assert effect(f"-j {text}", packet_of, around, family=6) == nat


@pytest.mark.parametrize(
    ("hook", "manip", "new"),
    [
        ("PREROUTING", "dst", "10.9.0.2"),
        ("OUTPUT", "dst", "10.9.0.2"),
        ("POSTROUTING", "src", "10.9.0.2"),
        ("INPUT", "src", "10.9.0.2"),
    ],
)
def test_netmap_keeps_the_host_part(hook, manip, new, packet_of, around):
    found = effect(
        "-j NETMAP --to 10.9.0.0/16", packet_of, around, hook=hook, src=address("10.1.0.2"), dst=address("10.2.0.2")
    )
    assert found == Nat(manip, address(new), address(new), netmap_mask=0xFFFF0000)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ACCEPT", ACCEPT),
        ("DROP", Drop()),
        ("RETURN", RETURN),
        ("REJECT", Reject("icmp-port-unreachable")),
        ("REJECT --reject-with tcp-reset", Reject("tcp-reset")),
        ("REJECT --reject-with host-prohib", Reject("icmp-host-prohibited")),
        ("REJECT --reject-with icmp-admin-prohibited", Reject("icmp-admin-prohibited")),
        ("NOTRACK", NoTrack()),
        ("CT --notrack", NoTrack()),
        ("CT --zone 5", CtTemplate(5)),
        ("CT --zone-orig 5", CtTemplate(5, "original")),
        ("CT --zone-reply mark", CtTemplate(None, "reply", zone_from_mark=True)),
        ("CT --helper ftp", CtTemplate(helper="ftp")),
        ("CT --timeout slow", CtTemplate(timeout="slow")),
        ("NFQUEUE --queue-num 3", Queue(3)),
        ("NFQUEUE --queue-balance 1:4 --queue-bypass", Queue(1, bypass=True)),
        ("QUEUE", Queue(0)),
        ("SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460", SynProxy()),
        ("TEE --gateway 10.0.0.9 --oif eth1", Tee(NINE, "eth1")),
        ("SET --add-set seen src --exist", CONTINUE),
        ("SET --map-set marks src --map-mark", Undecided("target SET --map-set marks")),
        ("HMARK --hmark-tuple ct --hmark-mod 10 --hmark-rnd 0x1", Undecided("target HMARK")),
        ("CLUSTERIP --hashmode sourceip", Undecided("target CLUSTERIP")),
    ],
)
def test_verdicts_and_wishes(text, wanted, packet_of, around):
    assert effect(f"-j {text}", packet_of, around) == wanted


@pytest.mark.parametrize(
    ("text", "asked", "mark"),
    [
        ("TPROXY --on-port 3128 --on-ip 10.0.0.1 --tproxy-mark 0x1/0xff", (ONE, 3128), 0xFF01),
        ("TPROXY --on-port 0 --on-ip 0.0.0.0 --tproxy-mark 0x0/0x0", (None, 0), 0xFF02),
        ("TPROXY --on-port 0 --tproxy-mark 0x3/0x1", (None, 0), 0xFF01),  # the mark is xored in
    ],
)
def test_tproxy_marks_what_a_transparent_socket_takes_and_drops_the_rest(text, asked, mark, packet_of, around):
    rule = Rule("X", 1, f"-p tcp -j {text}", 4)
    taken, packet = around(sockets=True), packet_of(mark=0xFF02)
    assert rule.effect(packet, taken) == ACCEPT
    assert (taken.steered, packet.mark) == (asked, mark)
    assert rule.effect(packet_of(), around(sockets=False)) == Drop()
    assert rule.effect(packet_of(), around(sockets=Unknown("sockets"))) == Undecided("sockets")


@pytest.mark.parametrize(
    ("text", "answer"),
    [("REJECT", "icmp6-port-unreachable"), ("REJECT --reject-with adm-prohibited", "icmp6-adm-prohibited"),
     ("REJECT --reject-with tcp-reset", "tcp-reset"), ("REJECT --reject-with icmp6-no-route", "icmp6-no-route")],
)  # fmt: skip
def test_refusals_of_ipv6(text, answer, packet_of, around):
    assert effect(f"-j {text}", packet_of, around, family=6) == Reject(answer)


@pytest.mark.parametrize("text", ["CT --notrack", "NOTRACK", "CT --zone 5"])
def test_a_packet_that_conntrack_has_seen_keeps_its_connection(text, packet_of, around):
    assert effect(f"-j {text}", packet_of, around, ctstate="ESTABLISHED") == CONTINUE


@pytest.mark.parametrize(
    "text",
    [
        "DNAT --to-destination :0 --persistent --to-destination :0 --persistent", "DNAT", "DNAT --to-destination",
        "DNAT --to-destination host:80", "SNAT --to-source fd00::1", "MASQUERADE --to-ports x",
        "NETMAP --to 10.0.0.0/99",
        "REJECT --reject-with icmp6-no-route", "MARK --set-xmark", "MARK", "TTL --ttl-set many", "TOS --set-tos what",
        "CT --zone five", "TPROXY --on-port web", "DSCP --set-dscp-class XY", "TCPOPTSTRIP --strip-options what",
        "NFQUEUE --queue-num many", "CONNMARK --set-mark z", "ECN --ecn-ip-ect x", "TCPMSS --set-mss lots",
    ],
)  # fmt: skip
def test_a_value_that_is_not_understood_leaves_the_fate_undecided(text, packet_of, around):
    rule = Rule("X", 1, f"-j {text}", 4)
    found = rule.effect(packet_of(4, ctstate=None, connection=None), around(hook="PREROUTING"))
    assert (isinstance(found, Undecided), len(rule.unmodelled), rule.arguments) == (True, 1, f"-j {text}")


def test_a_connection_without_an_entry_has_no_mark_to_change(packet_of, around):
    packet = packet_of(4, ctstate=None, connection=None, mark=5)
    Rule("X", 1, "-j CONNMARK --restore-mark", 4).effect(packet, around())
    assert packet.mark == 5


def test_clamping_makes_the_segment_size_unknown(packet_of, around):
    packet = packet_of(4, tcp_mss=1460)
    Rule("X", 1, "-j TCPMSS --clamp-mss-to-pmtu", 4).effect(packet, around())
    assert packet.tcp_mss is None
