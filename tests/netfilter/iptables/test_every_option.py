"""Thousands of rules, one for each option and value, as the real iptables prints them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from variants import refused, variants

from netdoctor.netfilter.iptables import save
from netdoctor.netfilter.iptables.rule import Rule

# Everything is done in namespaces of its own, which end with the program. Rules are loaded fifty at a time; where one
# of them is refused, one by one.
LOADER = r"""
import json, subprocess, sys
request = json.load(sys.stdin)
tool = request["tool"]
subprocess.run(["mount", "-t", "tmpfs", "run", "/run"], check=True)  # the xtables lock
for line in request["sets"]:
    subprocess.run(["ipset", *line.split()], check=True)
subprocess.run([tool, "-w", "-N", "user"], check=True)
refused = []
def load(table, rules):
    text = f"*{table}\n" + "".join(f"-A {chain} {words}\n" for chain, words in rules) + "COMMIT\n"
    done = subprocess.run([tool + "-restore", "--noflush"], input=text, capture_output=True, text=True)
    if done.returncode and len(rules) > 1:
        load(table, rules[: len(rules) // 2])
        load(table, rules[len(rules) // 2 :])
    elif done.returncode:
        refused.append([table, *rules[0], done.stderr.strip().splitlines()[:1]])
tables = {}
for table, chain, words in request["rules"]:
    tables.setdefault(table, []).append((chain, words))
for table, rules in tables.items():
    for at in range(0, len(rules), 50):
        load(table, rules[at : at + 50])
text = subprocess.run([tool + "-save"], capture_output=True, text=True, check=True).stdout
json.dump({"text": text, "refused": refused}, sys.stdout)
"""


def load(family, backend, rules=None):
    name, suffix, inet = ("iptables", "", "inet") if family == 4 else ("ip6tables", "6", "inet6")
    request = {
        "tool": f"{name}-{backend}",
        "sets": [f"create nets{suffix} hash:ip family {inet} timeout 100 counters"],
        "rules": variants(family) if rules is None else rules,
    }
    argv = [
        "unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", LOADER,
    ]  # fmt: skip
    done = subprocess.run(argv, input=json.dumps(request), capture_output=True, text=True, timeout=400, check=False)
    assert (done.returncode, done.stderr if done.returncode else "") == (0, "")
    return json.loads(done.stdout)


@pytest.mark.kernel
@pytest.mark.parametrize("backend", ["nft", "legacy"])
@pytest.mark.parametrize("family", [4, 6])
def test_what_iptables_prints_of_each_option_is_understood_and_written_back(family, backend):
    answer = load(family, backend)
    ruleset = save.parse(answer["text"], family, backend)
    unmodelled = sorted({name for _, rule in ruleset.rules() for name in rule.unmodelled})
    assert (answer["text"], unmodelled) == (save.dump(ruleset), [])
    assert len(answer["refused"]) < 60, answer["refused"]
    assert ruleset.rule_count == len(variants(family)) - len(answer["refused"])


@pytest.mark.kernel
@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_what_iptables_refuses_is_not_understood_here_either(backend):
    asked = refused()
    answer = load(4, backend, asked)
    assert [one for one in asked if list(one) not in [found[:3] for found in answer["refused"]]] == []
    understood = []
    for table, chain, words in asked:
        ruleset = save.parse(f"*{table}\n:{chain} ACCEPT [0:0]\n-A {chain} {words}\nCOMMIT\n", 4, backend)
        if not any(rule.unmodelled for _, rule in ruleset.rules()):
            understood.append((table, chain, words))
    assert understood == []


PLACES = {
    "raw": ("PREROUTING", "OUTPUT"), "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"), "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}  # fmt: skip
# `iptables` itself wants no DROP in nat, which the kernel would take; the user's chain is in filter alone.
ELSEWHERE = {"-j DROP", "-j user", "-g user"}


@pytest.mark.kernel
@pytest.mark.parametrize("family", [4, 6])
def test_a_target_or_match_that_may_not_stand_somewhere_is_not_understood_there(family):
    """The shortest rule of each, in every chain of every table. Legacy judges no rule behind one that ends all."""
    shortest = {}
    for _, chain, words in variants(family):
        for piece in Rule(chain, 1, words, family).parsed.pieces:
            name = (piece.extension.name, *(word for word in ("--dir out", "--dst-group") if word in words))
            if words not in ELSEWHERE and len(words) < len(shortest.get(name, words + " ")):
                shortest[name] = words
    asked = [
        (table, chain, words)
        for words in dict.fromkeys(shortest.values())
        for table, chains in PLACES.items()
        for chain in chains
    ]
    refused_there = {tuple(found[:3]) for found in load(family, "nft", asked)["refused"]}
    text = "".join(
        f"*{table}\n" + "".join(f":{chain} ACCEPT [0:0]\n" for chain in chains)
        + "".join(f"-A {chain} {words}\n" for where, chain, words in asked if where == table) + "COMMIT\n"
        for table, chains in PLACES.items()
    )  # fmt: skip
    ruleset = save.parse(text, family, "nft")
    refused_here = {(table.name, rule.chain, rule.text) for table, rule in ruleset.rules() if rule.unmodelled}
    assert (refused_here ^ refused_there, len(refused_there) > 200) == (set(), True)


def test_there_are_thousands_of_them():
    assert (len(variants(4)) + len(variants(6)) > 4500, len(refused()) > 150) == (True, True)
