"""Which native nftables chains there are."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from netdoctor.model.errors import RulesetError
from netdoctor.netfilter import nft


def listed(*items):
    return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, *items]})


def table(name, family="inet", **more):
    return {"table": {"family": family, "name": name, "handle": 1, **more}}


def chain(owner, name, family="inet", **more):
    return {"chain": {"family": family, "table": owner, "name": name, "handle": 1, **more}}


def base(owner, name, hook, prio=0, family="inet", type_="filter", policy="accept"):
    return chain(owner, name, family, hook=hook, prio=prio, type=type_, policy=policy)


def rule(owner, name, *expressions, family="inet"):
    return {"rule": {"family": family, "table": owner, "chain": name, "handle": 2, "expr": list(expressions)}}


def test_a_native_chain_is_named_with_its_hook_priority_policy_and_rules():
    text = listed(table("t"), base("t", "in", "input", -5, policy="drop"), rule("t", "in", {"accept": None}))
    survey = nft.tables(text)
    assert (
        survey.tables,
        [
            (c.family, c.table, c.name, c.type, c.hook, c.priority, c.policy, c.rules, c.is_trivial)
            for c in survey.base_chains
        ],
    ) == ((("inet", "t"),), [("inet", "t", "in", "filter", "input", -5, "drop", 1, False)])


def test_the_chains_of_iptables_nft_are_not_native():
    text = listed(
        table("filter", "ip"),
        base("filter", "INPUT", "input", 0, "ip"),
        base("filter", "FORWARD", "forward", 0, "ip"),
        chain("filter", "DOCKER", "ip"),
        base("nat", "PREROUTING", "prerouting", -100, "ip6", "nat"),
        base("mangle", "OUTPUT", "output", -150, "ip", "route"),
        base("filter", "FORWARD", "forward", -200, "bridge"),
        rule("filter", "INPUT", {"drop": None}, family="ip"),
    )
    assert nft.NativeTables() == nft.tables(text)


@pytest.mark.parametrize(
    "item",
    [
        base("filter", "input", "input", 0, "ip"),
        base("filter", "INPUT", "input", 10, "ip"),
        base("filter", "INPUT", "forward", 0, "ip"),
        base("mangle", "OUTPUT", "output", -150, "ip", "filter"),
        base("filter", "INPUT", "input", 0, "inet"),
        base("mine", "INPUT", "input", 0, "ip"),
    ],
)
def test_a_chain_that_iptables_nft_would_not_make_is_native(item):
    assert len(nft.tables(listed(item)).base_chains) == 1


def test_a_table_that_iptables_nft_refuses_to_print_is_native_as_a_whole():
    text = listed(base("filter", "INPUT", "input", 0, "ip"), rule("filter", "INPUT", {"drop": None}, family="ip"))
    survey = nft.tables(text, incompatible=[("ip", "filter")])
    assert [(c.table, c.name, c.rules) for c in survey.base_chains] == [("filter", "INPUT", 1)]


MATCH = {"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 1}}


@pytest.mark.parametrize(
    ("statements", "trivial"),
    [
        ([], True),
        ([[MATCH, {"counter": {"packets": 0, "bytes": 0}}]], True),
        ([[{"log": {"prefix": "x"}}, {"accept": None}]], True),
        ([[{"limit": {"rate": 1, "per": "second"}}, {"return": None}]], True),
        ([[{"jump": {"target": "calm"}}]], True),
        ([[{"goto": {"target": "calm"}}, {"jump": {"target": "missing"}}]], True),
        ([[MATCH, {"drop": None}]], False),
        ([[{"jump": {"target": "angry"}}]], False),
        ([[{"reject": {"type": "icmpx", "expr": "port-unreachable"}}]], False),
        ([[{"mangle": {"key": {"meta": {"key": "mark"}}, "value": 1}}]], False),
        ([[{"masquerade": None}]], False),
        ([[{"vmap": {"key": {"meta": {"key": "mark"}}, "data": "@verdicts"}}]], False),
        ([[{"xt": {"type": "match", "name": "fancy"}}]], False),
        ([["something new"]], False),
    ],
)
def test_a_chain_that_can_only_count_log_or_accept_is_trivial(statements, trivial):
    text = listed(
        base("t", "in", "input"),
        chain("t", "calm"),
        chain("t", "angry"),
        *(rule("t", "in", *expressions) for expressions in statements),
        rule("t", "calm", {"counter": None}),
        rule("t", "calm", {"jump": {"target": "calm"}}),
        rule("t", "angry", {"jump": {"target": "calm"}}, {"drop": None}),
    )
    assert [trivial] == [found.is_trivial for found in nft.tables(text).base_chains]


@pytest.mark.parametrize("flags", ["dormant", ["owner", "dormant"]])
def test_a_dormant_table_hooks_nothing(flags):
    assert nft.NativeTables() == nft.tables(listed(table("t", flags=flags), base("t", "in", "input")))


def test_flowtables_are_named():
    flowtable = {
        "flowtable": {"family": "inet", "name": "fast", "table": "t", "hook": "ingress", "prio": 0, "dev": "eth0"}
    }
    assert nft.tables(listed(table("t"), flowtable)).flowtables == (("inet", "t", "fast"),)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"nftables": 5}', '{"nftables": [1]}', '{"nftables": [{"chain": {"hook": 1}}]}']
)
def test_what_nft_did_not_write_is_refused(text):
    with pytest.raises(RulesetError, match="nft -j list ruleset"):
        nft.tables(text)


@pytest.mark.kernel
def test_a_real_kernel_with_every_iptables_nft_table_and_one_native_shows_the_native_one_only():
    script = """
    for table in filter nat mangle raw security; do
        iptables-nft -t $table -N x && ip6tables-nft -t $table -N x
    done
    iptables-nft -t nat -A INPUT -j ACCEPT; iptables-nft -t mangle -A OUTPUT -j MARK --set-mark 1
    for t in filter mangle; do for c in INPUT FORWARD OUTPUT; do iptables-nft -t $t -A $c -j ACCEPT; done; done
    iptables-nft -t raw -A PREROUTING -j ACCEPT; iptables-nft -t nat -A POSTROUTING -j MASQUERADE
    ebtables-nft -A FORWARD -j ACCEPT
    nft add table inet mine && nft 'add chain inet mine in { type filter hook input priority filter - 5; policy drop; }'
    nft -j list ruleset
    """
    argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c"]
    done = subprocess.run(
        [*argv, "mount -t tmpfs run /run" + script], capture_output=True, text=True, timeout=60, check=False
    )
    sys.stderr.write(done.stderr)
    survey = nft.tables(done.stdout)
    assert (
        survey.tables,
        [(c.name, c.hook, c.priority, c.policy, c.is_trivial) for c in survey.base_chains],
    ) == ((("inet", "mine"),), [("in", "input", -5, "drop", False)])
