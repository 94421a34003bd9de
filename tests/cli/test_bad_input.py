"""Whatever is wrong with the input, a person reads one line that says what to try, and the exit status is 2."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from netdoctor.cli.main import run_words

SNAPSHOTS = Path(__file__).resolve().parents[2] / "fixtures" / "snapshots"
BROKEN = SNAPSHOTS / "hairpin-snat-missing.json.gz"
FLOW = ("--from", "shop/web", "--to", "svc/shop/cart:http")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on standard error of a command that fails."""
    status = run_words(list(words))
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def document() -> dict:
    return msgspec.json.decode(gzip.decompress(BROKEN.read_bytes()))


def saved(path: Path, content: dict) -> str:
    path.write_bytes(msgspec.json.encode(content))
    return str(path)


def test_a_truncated_snapshot(capsys, tmp_path) -> None:
    for name, data in (("cut.json.gz", BROKEN.read_bytes()[:-500]), ("cut.json", msgspec.json.encode(document())[:-9])):
        (tmp_path / name).write_bytes(data)
        assert name in said(capsys, "check", "--snapshot", str(tmp_path / name))


def test_a_snapshot_of_a_newer_format(capsys, tmp_path) -> None:
    newer = document()
    newer["version"] = 999
    assert "999" in said(capsys, "check", "--snapshot", saved(tmp_path / "newer.json", newer))


def test_an_iptables_save_that_is_cut_in_the_middle_of_a_line(capsys, tmp_path) -> None:
    (tmp_path / "iptables-save.txt").write_text("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 10.0.0.1/32 -j AC")
    out = str(tmp_path / "out.json")
    assert (
        run_words(["snapshot", "--from", str(tmp_path), "-o", out]) == 0
    )  # kept as it is: a later version may read it
    capsys.readouterr()
    assert "iptables-save" in said(capsys, "check", "--snapshot", out)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--from", "shop/web", "--to", "www.example.org:80"), "www.example.org"),
        (("--from", "nowhere", "--to", "10.96.0.10:80"), "nowhere"),
        (("--from", "shop/", "--to", "10.96.0.10:80"), "shop/"),
        (("--from", "shop/web", "--to", "10.96.0.10:99999"), "99999"),
        (("--from", "shop/web", "--to", "svc/shop/nothing"), "nothing"),
    ],
)
def test_a_flow_that_cannot_be_asked(capsys, words, named) -> None:
    assert named in said(capsys, "trace", "--snapshot", str(BROKEN), *words)


def test_a_name_that_fits_several_namespaces_is_refused_with_the_list(capsys, tmp_path) -> None:
    twins = document()
    for namespace, name in zip(twins["namespaces"][1:], ("shop/cart-1", "shop/cart-2"), strict=False):
        namespace["name"] = name
    line = said(
        capsys, "trace", "--snapshot", saved(tmp_path / "twins.json", twins), "--from", "shop/cart", "--to", "1.1.1.1"
    )
    assert "shop/cart-1" in line
    assert "shop/cart-2" in line


def test_a_file_that_is_not_there(capsys) -> None:
    assert "no-such-file" in said(capsys, "check", "--snapshot", "no-such-file.json")


def test_a_rule_that_is_not_there(capsys) -> None:
    assert "no-such-rule" in said(capsys, "explain", "no-such-rule")
    assert "no-such-rule" in said(capsys, "check", "--snapshot", str(BROKEN), "--select", "no-such-rule")


def test_an_option_that_is_not_there_is_named_with_those_that_are(capsys) -> None:
    assert "has no option Z; there is: A, B" in said(capsys, "fix", "--snapshot", str(BROKEN), "--option", "Z")


def test_a_snapshot_cannot_be_repaired_in_place(capsys) -> None:
    assert "--script" in said(capsys, "fix", "--snapshot", str(BROKEN), "--apply")


def test_no_permission_to_change_the_node() -> None:
    # The rights are given up once everything is imported: an ordinary user may not be able to read this checkout.
    program = (
        "import os; import netdoctor.cli.fix, netdoctor.cli.group; from netdoctor.cli.main import main\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "main(['fix', '--apply', '--yes'])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "you are not root" in done.stderr


def test_no_program_to_read_the_node_with(tmp_path) -> None:
    program = (
        "from netdoctor.collect import reader; reader.PATH = '/nonexistent'\n"
        "from netdoctor.cli.main import main; main(['check'])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True, text=True, env={**os.environ, "PATH": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "`ip` is not installed" in done.stderr


ESCAPE = "\x1b]0;owned\x07\x1b[31m"


@pytest.mark.parametrize(
    "words",
    [
        ("check", "-v"), ("check", "--json"), ("trace", *FLOW), ("trace", *FLOW, "--json"), ("fix",),
        ("fix", "--script"), ("show", "rules"), ("show", "graph"), ("show", "graph", "--format", "dot"),
    ],
)  # fmt: skip
def test_escape_sequences_from_a_snapshot_do_not_reach_the_terminal(capsys, monkeypatch, tmp_path, words) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    text = gzip.decompress(BROKEN.read_bytes()).decode()
    evil = msgspec.json.encode(ESCAPE).decode()[1:-1]
    text = text.replace("shop/cart:http", f"shop/cart:http{evil}").replace("cart-7f9", f"cart-7f9{evil}")
    (tmp_path / "evil.json").write_text(text)
    command, *rest = words
    at = [command, rest.pop(0)] if command == "show" else [command]
    run_words([*at, "--snapshot", str(tmp_path / "evil.json"), *rest])
    out, err = capsys.readouterr()
    assert len(out) + len(err) > 0
    assert re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", out + err) == []
