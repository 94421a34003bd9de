"""A colleague's dump can be asked: rules and addresses, nothing else. What it does not hold is never guessed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from netdoctor.cli.main import run_words

DUMP = Path(__file__).resolve().parents[2] / "fixtures" / "recordings" / "dump-firewall"
ADDRESSES = [
    {"ifindex": 1, "ifname": "lo", "flags": ["LOOPBACK", "UP", "LOWER_UP"], "link_type": "loopback",
     "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
    {"ifindex": 3, "ifname": "eth0", "flags": ["UP", "LOWER_UP"], "link_type": "ether",
     "addr_info": [{"family": "inet", "local": "192.0.2.10", "prefixlen": 24, "broadcast": "192.0.2.255"}]},
    {"ifindex": 4, "ifname": "docker0", "flags": ["UP", "LOWER_UP"], "link_type": "ether",
     "addr_info": [{"family": "inet", "local": "172.17.0.1", "prefixlen": 16}]},
]  # fmt: skip


@pytest.fixture(params=["text", "JSON"])
def dump(request, tmp_path) -> Path:
    """The dump's folder, its addresses as `ip address` or `ip -j address` prints them."""
    folder = shutil.copytree(DUMP, tmp_path / "dump")
    if request.param == "JSON":
        (folder / "ip-addr.txt").unlink()
        (folder / "ip-addr.json").write_text(json.dumps(ADDRESSES))
    return folder


NATIVE = {"nftables": [
    {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
    {"table": {"family": "inet", "name": "filter", "handle": 1}},
    {"chain": {"family": "inet", "table": "filter", "name": "input", "handle": 1, "type": "filter", "hook": "input",
               "prio": 0, "policy": "accept"}},
    {"rule": {"family": "inet", "table": "filter", "chain": "input", "handle": 3, "expr": [
        {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 5432}},
        {"drop": None}]}},
]}  # fmt: skip


def snapshot(folder: Path, capsys) -> str:
    out = str(folder.parent / "dump.json.gz")
    assert run_words(["snapshot", "--from", str(folder), "-o", out]) == 0
    capsys.readouterr()
    return out


def ask(folder: Path, capsys, to: str, *more: str) -> dict:
    words = ["--from", "198.51.100.7", "--in", "eth0", "--to", to, *more]
    run_words(["trace", "--snapshot", snapshot(folder, capsys), *words, "--json"])
    return json.loads(capsys.readouterr().out)


def test_the_rule_that_refuses_is_named(dump, capsys) -> None:
    answer = ask(dump, capsys, "192.0.2.10:5432/tcp")
    (outcome,) = answer["outcomes"]
    assert (answer["connects"], outcome["verdict"], outcome["cause"]["chain"], outcome["cause"]["rule"]) == (
        "no", "rejected", "INPUT", 4,
    )  # fmt: skip


def test_a_policy_that_drops_is_named(dump, capsys) -> None:
    (outcome,) = ask(dump, capsys, "192.0.2.10:25/tcp")["outcomes"]
    assert (outcome["verdict"], outcome["cause"]["kind"], outcome["cause"]["chain"]) == ("dropped", "policy", "INPUT")


def test_native_rules_alone_are_asked_as_well(dump, capsys) -> None:
    (dump / "iptables-save.txt").unlink()
    (dump / "nft.json").write_text(json.dumps(NATIVE))
    (outcome,) = ask(dump, capsys, "192.0.2.10:5432/tcp")["outcomes"]
    cause = outcome["cause"]
    assert (outcome["verdict"], cause["family"], cause["table"], cause["chain"], cause["handle"]) == (
        "dropped", "inet", "filter", "input", 3,
    )  # fmt: skip


def test_a_published_port_is_followed_and_what_it_hangs_on_is_listed(dump, capsys) -> None:
    answer = ask(dump, capsys, "192.0.2.10:8080/tcp")
    (outcome,) = answer["outcomes"]
    assert (answer["connects"], outcome["verdict"], outcome["final"]["dst"], outcome["final"]["interface"]) == (
        "unknown", "left", "172.17.0.2", "docker0",
    )  # fmt: skip
    assert answer["assumed"] == [
        "host forwards what arrives on eth0: the sysctls of host are not in the snapshot",
        "172.17.0.2 is routed by 172.17.0.0/16 dev docker0: the routes of host are not in the snapshot",
        "rp_filter of host lets 198.51.100.7 in by eth0: the sysctls of host are not in the snapshot",
    ]


def test_a_process_is_assumed_and_the_way_of_its_answer_is_not_known(dump, capsys) -> None:
    answer = ask(dump, capsys, "192.0.2.10:443/tcp")
    (outcome,) = answer["outcomes"]
    assert (answer["connects"], outcome["verdict"], outcome["reply"]["verdict"]) == ("unknown", "delivered", "unknown")
    assert outcome["reply"]["cause"]["detail"] == "198.51.100.7: the routes of host are not in the snapshot"
    assert "host listens on 192.0.2.10:443/tcp: its sockets are not in the snapshot" in answer["assumed"]


def test_where_no_route_was_read_nothing_is_said_to_be_unreachable(dump, capsys) -> None:
    for to in ("203.0.113.9:80/tcp", "[2001:db8:77::9]:80"):
        source = ["--src", "2001:db8:5::1"] if ":" in to[:6] else ["--src", "198.51.100.7"]
        words = ["--from", "host", "--to", to], ["--from", "outside", *source, "--in", "eth0", "--to", to]
        for asked in words:
            run_words(["trace", "--snapshot", snapshot(dump, capsys), *asked, "--json"])
            answer = json.loads(capsys.readouterr().out)
            assert (answer["connects"], [one["verdict"] for one in answer["outcomes"]]) == ("unknown", ["unknown"])
            assert "routes of host are not in the snapshot" in answer["outcomes"][0]["cause"]["detail"]


@pytest.mark.parametrize("kept", ["iptables-save.txt", "nft.json"])
def test_without_addresses_one_line_says_what_is_missing(kept, tmp_path, capsys) -> None:
    folder = tmp_path / "dump"
    folder.mkdir()
    if kept == "nft.json":
        (folder / kept).write_text('{"nftables": []}')
    else:
        shutil.copy(DUMP / kept, folder)
    path = snapshot(folder, capsys)
    flow = ["--from", "198.51.100.7", "--in", "eth0", "--to", "192.0.2.10:22"]
    assert run_words(["trace", "--snapshot", path, *flow]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "the snapshot lists none; save `ip -d -j address` as ip-addr.json beside the rules" in err


def test_addresses_that_cannot_be_read_are_named_with_their_line(tmp_path, capsys) -> None:
    folder = shutil.copytree(DUMP, tmp_path / "dump")
    (folder / "ip-addr.txt").write_text("eth0   UP   192.0.2.10/24\n")
    assert run_words(["snapshot", "--from", str(folder), "-o", str(tmp_path / "dump.json")]) == 0
    assert "not read: links of host: line 1 is not what `ip address` prints" in capsys.readouterr().err
