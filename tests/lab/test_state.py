"""Two states are equal where nothing that matters differs."""

from __future__ import annotations

from netdoctor.lab import state

FILTER = "*filter\n:INPUT ACCEPT [7:9]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"
NAT = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j ACCEPT\nCOMMIT\n"


def read(**outputs: str) -> dict[str, str]:
    """Read a state from programs that print what a test says, by the program's name."""

    def run(argv: list[str]) -> str:
        return outputs.get(" ".join(argv).replace("-", "_").replace(" ", "_"), "")

    return state.read(run)


def names(table: str) -> str:
    return f"sh__c_cat /proc/net/{table}_names 2>/dev/null || true".replace(" ", "_")


def test_counters_and_comments_do_not_count() -> None:
    once = read(iptables_nft_save="# Generated now\n" + NAT)
    again = read(iptables_nft_save="# Generated later\n" + NAT.replace("0:0", "3:120"))
    assert once == again


def test_a_rule_counts() -> None:
    assert read(iptables_nft_save=NAT) != read(iptables_nft_save=NAT.replace("-A PREROUTING -j ACCEPT\n", ""))


def test_a_legacy_table_that_is_registered_and_empty_equals_one_that_is_not_registered() -> None:
    registered = read(**{names("ip_tables"): "filter\n", "iptables_legacy_save": FILTER})
    assert read() == registered


def test_a_legacy_table_with_a_policy_is_not_empty() -> None:
    registered = read(
        **{names("ip_tables"): "filter\n", "iptables_legacy_save": FILTER.replace("FORWARD ACCEPT", "FORWARD DROP")}
    )
    assert read() != registered


def test_an_unregistered_table_is_not_asked_for_because_asking_would_register_it() -> None:
    asked: list[list[str]] = []
    state.read(lambda argv: asked.append(argv) or "")
    assert not [argv for argv in asked if argv[0].endswith("legacy-save")]


def test_the_number_of_connections_moves_by_itself() -> None:
    reader = "sysctl__a__r_^net\\."
    few = read(**{reader: "net.netfilter.nf_conntrack_count = 1\nnet.ipv4.ip_forward = 1\n"})
    many = read(**{reader: "net.netfilter.nf_conntrack_count = 9\nnet.ipv4.ip_forward = 1\n"})
    assert few == many


def test_a_sysctl_of_one_interface_counts() -> None:
    reader = "sysctl__a__r_^net\\."
    assert read(**{reader: "net.ipv4.conf.eth0.forwarding = 1\n"}) != read(
        **{reader: "net.ipv4.conf.eth0.forwarding = 0\n"}
    )


def test_what_a_bridge_learns_does_not_count_and_what_is_set_does() -> None:
    learned = "02:00:00:00:00:02 dev vetha master br0\n"
    assert read() == read(bridge_fdb=learned)
    assert read() != read(bridge_fdb=learned.replace("\n", " static\n"))


def test_differences_name_the_part_and_the_line() -> None:
    before, after = {"host routes": "a\nb", "host rules": "c"}, {"host routes": "a\nd", "host rules": "c"}
    assert state.differences(before, after) == ["- host routes: b", "+ host routes: d"]


def test_an_order_that_changed_is_a_difference() -> None:
    assert state.differences({"filter": "a\nb"}, {"filter": "b\na"}) == [
        "~ filter: the order, or how often a line stands there"
    ]
