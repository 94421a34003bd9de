"""Legacy tables are changed by libiptc, through python-iptables, in one commit under the lock of all iptables
programs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from netdoctor.lab.lab import Lab

pytestmark = pytest.mark.kernel
COMMIT = "import sys; from netdoctor.apply import legacy; print(legacy.commit(*sys.argv[1:]))"


def commit(lab: Lab, family: str, table: str, line: str, **kwargs) -> str:
    done = lab.run("node", [sys.executable, "-P", "-c", COMMIT, family, table, line], **kwargs)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def rules(lab: Lab, table: str, program: str = "iptables") -> list[str]:
    text = lab.run("node", [f"{program}-legacy-save", "-t", table], check=True).stdout
    return [line for line in text.splitlines() if line.startswith("-A")]


RULES = [
    '-s 10.244.0.0/24 -d 10.244.0.0/24 -m conntrack --ctstate DNAT -m comment --comment "netdoctor:x y" -j MASQUERADE',
    "! -s 10.1.0.0/16 ! -o cni0 -j MASQUERADE",
    "-s 10.1.2.3/32 -p tcp -m tcp ! --dport 80 -j SNAT --to-source 10.9.9.9",
]


@pytest.mark.parametrize("text", RULES)
def test_a_rule_is_inserted_at_its_place_by_libiptc_as_the_tool_would(build: Callable[..., Lab], text: str) -> None:
    lab = build("two-pods", "legacy")
    before = rules(lab, "nat")
    assert commit(lab, "ip", "nat", f"-I POSTROUTING 2 {text}") == "True"
    added = [rule for rule in rules(lab, "nat") if rule not in before]
    assert added == [f"-A POSTROUTING {text}"]
    chain = [rule for rule in rules(lab, "nat") if rule.startswith("-A POSTROUTING ")]
    assert chain.index(added[0]) == 1
    assert [rule for rule in rules(lab, "nat") if rule != added[0]] == before


def test_an_ip6_rule_is_appended(build: Callable[..., Lab]) -> None:
    lab = build("two-pods", "legacy")
    assert commit(lab, "ip6", "filter", "-A FORWARD -s fd00::/64 -j ACCEPT") == "True"
    forward = [rule for rule in rules(lab, "filter", "ip6tables") if rule.startswith("-A FORWARD ")]
    assert forward[-1] == "-A FORWARD -s fd00::/64 -j ACCEPT"


def test_what_libiptc_cannot_say_is_left_to_iptables_restore_and_changes_nothing(build: Callable[..., Lab]) -> None:
    lab = build("two-pods", "legacy")
    before = rules(lab, "filter")
    for line in ("-D FORWARD -j ACCEPT", "-A FORWARD -g NOWHERE", "-A FORWARD -m nosuchmatch --x y -j ACCEPT"):
        assert commit(lab, "ip", "filter", line) == "False"
    assert rules(lab, "filter") == before


def test_a_change_waits_for_whoever_holds_the_lock(build: Callable[..., Lab]) -> None:
    lab = build("two-pods", "legacy")
    held = lab.start("node", ["flock", "/run/xtables.lock", "sh", "-c", "touch /run/held; sleep 2; rm /run/held"])
    lab.run("node", ["sh", "-c", "until [ -e /run/held ]; do sleep 0.05; done"], check=True)
    assert commit(lab, "ip", "filter", "-A FORWARD -j ACCEPT") == "True"
    assert lab.run("node", ["test", "-e", "/run/held"]).returncode == 1
    held.wait()
