"""What a person reads of a trace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netdoctor.cli.main import run_words

SNAPSHOTS = Path(__file__).resolve().parents[2] / "fixtures" / "snapshots"


def lines(capsys, name: str, from_: str, to: str, *more: str) -> list[str]:
    run_words(["trace", "--snapshot", str(SNAPSHOTS / f"{name}.json.gz"), "--from", from_, "--to", to, *more])
    return capsys.readouterr().out.splitlines()


def test_the_hop_at_which_the_answer_goes_astray_is_marked_not_the_end_of_the_way(capsys) -> None:
    read = lines(capsys, "hairpin-snat-missing", "shop/web", "svc/shop/cart:http")
    (here,) = [line for line in read if "<== HERE" in line]
    assert re.match(r"11 host +bridge +cni0: vethb > vetha, iptables not asked +<== HERE$", here)
    assert read[0] == "DOES NOT CONNECT  tcp 10.244.0.2:40000 > 10.96.0.10:80"
    assert read[1].startswith("  nat-bypassed: host, cni0, net.bridge.bridge-nf-call-iptables: ")
    assert read[1].endswith("(step 11)")
    assert re.match(r"13 shop/web-6c8 +deliver +refused: expects 10.96.0.10:80, got 10.244.0.3:8080", read[-4])


def test_a_translation_is_told_with_the_rule_that_asked_for_it(capsys) -> None:
    read = lines(capsys, "two-pods-healthy", "shop/web", "svc/shop/cart:http")
    at = next(number for number, line in enumerate(read) if "PREROUTING 1 > KUBE-SERVICES" in line)
    assert read[at + 1].strip() == "DNAT  destination 10.96.0.10:80 => 10.244.0.3:8080"


@pytest.mark.parametrize("path", sorted(SNAPSHOTS.glob("two-pods-healthy*.json.gz")), ids=lambda path: path.name[:-8])
@pytest.mark.parametrize("from_", ["host", "shop/web", "shop/cart", "outside"])
@pytest.mark.parametrize("to", ["svc/shop/cart:http", "10.244.0.3:8080", "203.0.113.9", "192.0.2.10"])
def test_no_line_says_a_thing_twice_or_none(capsys, path, from_, to) -> None:
    for line in lines(capsys, path.name[:-8], from_, to):
        assert not re.search(r"\bNone\b|\(port (\S+)\).*port \1\b|(\b\S+: \S+ > \S+): \2|leave: leaves", line), line
