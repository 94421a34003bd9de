"""The devices of ingress and egress chains, where nft's JSON leaves them out."""

from __future__ import annotations

import msgspec

from netdoctor.collect import nftdevices, saved

LISTED = """\
table netdev n {
	chain e {
		type filter hook egress devices = { foo, lo } priority filter; policy drop;
	}
	chain plain {
	}
}
table inet x {
	chain i {
		type filter hook ingress device "br-0" priority filter; policy accept;
	}
	chain f {
		type filter hook forward priority filter; policy accept;
	}
}
"""


def document(*chains):
    return msgspec.json.encode({"nftables": [{"chain": one} for one in chains]}).decode()


def test_devices_are_read_from_what_nft_lists_as_text():
    assert nftdevices.listed(LISTED) == {("netdev", "n", "e"): ["foo", "lo"], ("inet", "x", "i"): ["br-0"]}


def test_a_chain_without_its_devices_gets_them():
    egress = {"family": "netdev", "table": "n", "name": "e", "hook": "egress"}
    forward = {"family": "inet", "table": "x", "name": "f", "hook": "forward"}
    completed = nftdevices.completed(document(egress, forward), lambda: LISTED)
    assert completed == document(egress | {"dev": ["foo", "lo"]}, forward)


def test_a_newer_nft_is_not_asked_again():
    text = document({"family": "inet", "table": "x", "name": "i", "hook": "ingress", "dev": "lo"})
    assert nftdevices.completed(text, lambda: "not to be asked") == text


def test_a_saved_list_of_chains_completes_the_saved_ruleset(tmp_path):
    (tmp_path / "nft.json").write_text(document({"family": "inet", "table": "x", "name": "i", "hook": "ingress"}))
    (tmp_path / "nft-list-chains.txt").write_text(LISTED)
    (namespace,) = saved.read(str(tmp_path))[0].namespaces
    assert '"dev":["br-0"]' in namespace.nft.json
