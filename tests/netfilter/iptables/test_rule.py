"""One rule: cut into its parts, printed back, asked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdoctor.netfilter.effect import ACCEPT, CONTINUE, Jump, Undecided
from netdoctor.netfilter.iptables.extension import quote, unquote
from netdoctor.netfilter.iptables.rule import Rule
from netdoctor.netfilter.ternary import Unknown

word = st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=12).map(quote)
plain = st.from_regex(r"[a-zA-Z0-9_.:/,-]{1,10}", fullmatch=True)
option = st.one_of(
    st.builds("{}--{} {}".format, st.sampled_from(["", "! "]), plain, word),
    st.sampled_from([
        "-s 10.0.0.0/8", "! -d 10.0.0.1/32", "-i eth+", "! -o lo", "-p tcp", "-f", "! -f", "--dport 80",
        "! --sport 5:6",
        "--syn", "-m tcp", "-m conntrack --ctstate NEW", "-m addrtype ! --dst-type LOCAL", "--dport ! 80", "! ! -f",
        "-m set --match-set a src,dst", "-j LOG --log-prefix", "--tcp-flags SYN", "-m", "-j", "!", "--", "-", '"',
        "[x]",
        "-c 1 2", "  ", "\t", "-m comment --comment", "-g other", "-j DNAT --to-destination :0", "--comment ! x",
        "-m ecn ! --ecn-tcp-ece ! --ecn-tcp-cwr",
    ]),
    st.builds("-m {} {}".format, plain, plain),
    st.builds("-m comment --comment {}".format, word),
    st.builds("-j {}".format, plain),
)  # fmt: skip


@settings(max_examples=500)
@given(st.lists(option, max_size=8).map(" ".join), st.sampled_from([4, 6]))
def test_any_words_are_written_back_as_they_were(text, family):
    rule = Rule("X", 1, text, family)
    assert (text, f"-A X {text}" if text else "-A X") == (rule.arguments, rule.line)


@given(st.text(st.characters(codec="utf-8")))
def test_a_text_is_quoted_and_unquoted_without_loss(text):
    assert text == unquote(quote(text))


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("plain-text_1", "plain-text_1"), ("", '""'), ("a b", '"a b"'), ("it's", '"it\\\'s"'), ('a"b\\c', '"a\\"b\\\\c"')],
)
def test_a_text_is_quoted_as_iptables_does(text, quoted):
    assert quoted == quote(text)


def test_a_rule_falls_into_header_matches_and_target():
    rule = Rule("INPUT", 3, '-s 10.0.0.0/8 -p tcp -m comment --comment "a \\"b\\"" -m tcp --dport 80 -j ACCEPT', 4)
    assert (
        [match.name for match in rule.matches],
        rule.target.name,
        rule.comment,
        rule.unmodelled,
    ) == (["header", "comment", "tcp"], "ACCEPT", 'a "b"', ())


def test_a_rule_is_parsed_when_it_is_first_asked():
    rule = Rule("INPUT", 1, "-j ACCEPT", 4)
    assert rule._parsed is None
    assert rule.target.name == "ACCEPT"


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        ("-j web", Jump("web")),
        ("-g web", Jump("web", goto=True)),
        ("-j ACCEPT", ACCEPT),
        ("-p tcp", CONTINUE),
        ("-j FLOWOFFLOAD", Undecided("target FLOWOFFLOAD")),
        ("-j FLOWOFFLOAD --hw", Undecided("target FLOWOFFLOAD")),
        ("-j MARK --set-xmark 0x1/0x1 --surprise", Undecided("MARK --surprise")),
        ("-j DNAT [unsupported revision]", Undecided("target DNAT [unsupported revision]")),
        ("-j DNAT --to-destination", Undecided("target DNAT --to-destination")),
        ("-j REJECT --reject-with icmp-nonsense", Undecided("target REJECT --reject-with icmp-nonsense")),
    ],
)
def test_the_target_decides_or_says_that_it_is_not_understood(text, effect, packet_of, around):
    assert effect == Rule("INPUT", 1, text, 4, chains={"web", "INPUT"}).effect(packet_of(), around())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-m fancy --yes 1", "match fancy"),
        ("-p tcp -m tcp --dport 80 --surprise 5", "tcp --surprise"),
        ("-m conntrack [unsupported revision]", "conntrack [unsupported revision]"),
        ("-p tcp -m tcp --dport", "match tcp --dport"),
        ("-s not-an-address", "match header -s not-an-address"),
        ("-p sometimes", "protocol sometimes"),
        ("--stray word", "header --stray"),
    ],
)
def test_what_is_not_understood_is_unknown_by_name(text, why, packet_of, around):
    rule = Rule("INPUT", 1, f"{text} -j DROP", 4, chains={"INPUT"})
    answer = rule.answer(packet_of(), around())
    assert isinstance(answer, Unknown)
    assert why in answer.why
    assert [name for name in rule.unmodelled if why in name] != []


@pytest.mark.parametrize(
    "text", ["-s 9.9.9.9/32 -m fancy --yes", "-p udp -m fancy", "-m fancy -p udp", "-i eth9 --stray"]
)
def test_a_sure_no_wins_over_what_is_not_understood(text, packet_of, around):
    assert Rule("INPUT", 1, f"{text} -j DROP", 4).answer(packet_of(), around()) is False


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-s ! 10.1.0.2", "! -s 10.1.0.2"),
        ("-p ! udp", "! -p udp"),
        ("-i ! in0", "! -i in0"),
        ("-p tcp -m tcp --dport ! 80", "-p tcp -m tcp ! --dport 80"),
        ("-p tcp --dport 80", "-p tcp -m tcp --dport 80"),
        ("--source 10.1.0.2 --protocol tcp", "-s 10.1.0.2 -p tcp"),
    ],
)
def test_old_and_long_spellings_mean_the_same(old, new, packet_of, around):
    first, second = (Rule("INPUT", 1, text, 4) for text in (old, new))
    assert (first.unmodelled, first.answer(packet_of(), around())) == ((), second.answer(packet_of(), around()))


@pytest.mark.parametrize(("sport", "dport"), [(None, 443), (443, None)])
def test_a_port_that_the_kernel_picks_is_in_its_range_on_the_way_back_too(sport, dport, packet_of, around):
    side = "sport" if sport is None else "dport"
    packet = packet_of()
    packet.sport, packet.dport, packet.sport_range = sport, dport, (1024, 65535)
    said = [
        Rule("INPUT", 1, f"-p tcp -m tcp {text}", 4).answer(packet, around())
        for text in (f"! --{side} 53", f"--{side} 53", f"--{side} 1024:65535", f"--{side} 2000:65535")
    ]
    assert said[:3] == [True, False, True]
    assert isinstance(said[3], Unknown)


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("-j LOG --log-prefix x", True), ("-j NFLOG", True), ("-j AUDIT --type drop", True), ("-j TRACE", True),
        ("-p tcp", True), ("-j TEE --gateway 10.0.0.1", True), ("-j SET --add-set a src", True), ("-j DROP", False),
        ("-j MARK --set-xmark 0x1/0x1", False), ("-j web", False), ("-j NFQUEUE --queue-num 1", False),
        ("-j SET --map-set a src --map-mark", False), ("-j FLOWOFFLOAD", False),
    ],
)  # fmt: skip
def test_a_rule_that_changes_nobodys_fate_says_so(text, harmless):
    assert harmless is Rule("INPUT", 1, text, 4, chains={"web"}).harmless


def test_a_chain_may_bear_a_targets_name():
    assert Rule("INPUT", 1, "-j MIRROR", 4, chains={"MIRROR"}).effect(None, None) == Jump("MIRROR")
