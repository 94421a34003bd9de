"""Chains and who jumps to them."""

from __future__ import annotations

from netdoctor.netfilter.iptables import save

TEXT = """\
*filter
:INPUT DROP [0:0]
:one - [0:0]
:two - [0:0]
-A INPUT -m comment --comment "-j two" -j one
-A INPUT -g one
-A INPUT -j LOG --log-prefix "-g two"
-A one -j ACCEPT
COMMIT
"""


def test_a_chain_knows_the_rules_that_lead_to_it():
    chains = save.parse(TEXT, 4, "nft").tables["filter"].chains
    assert {name: [rule.number for rule in chain.references] for name, chain in chains.items()} == {
        "INPUT": [],
        "one": [1, 2],
        "two": [],
    }


def test_only_a_hooks_own_chain_has_a_policy():
    chains = save.parse(TEXT, 4, "nft").tables["filter"].chains
    assert {name: chain.is_builtin for name, chain in chains.items()} == {"INPUT": True, "one": False, "two": False}


def test_a_short_chain_offers_every_rule(packet_of):
    chain = save.parse(TEXT, 4, "nft").tables["filter"].chains["INPUT"]
    assert chain.rules == list(chain.candidates(packet_of()))
