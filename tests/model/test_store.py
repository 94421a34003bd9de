"""Snapshots as files."""

import gzip
import os
import stat

import pytest

from netdoctor.model import store
from netdoctor.model.errors import SnapshotError
from netdoctor.model.snapshot import ConntrackEntry, Link, Namespace, RulesetText, Snapshot, Tuple


def a_snapshot() -> Snapshot:
    entry = ConntrackEntry(
        "ip", "udp", Tuple("10.0.0.2", "10.96.0.10", 40000, 53), Tuple("10.0.0.3", "10.0.0.2", 53, 40000)
    )
    namespace = Namespace(
        name="host",
        links=(Link(ifindex=2, name="eth0", flags=("UP", "LOWER_UP")),),
        rulesets=(RulesetText("ip", "nft", "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"),),
        conntrack=(entry,),
        sections=("links", "conntrack"),
    )
    return Snapshot(host="node-1", taken_at=1.5, namespaces=(namespace,))


@pytest.mark.parametrize("name", ["node.json", "node.json.gz"])
def test_what_is_saved_is_read_back(tmp_path, name):
    path = tmp_path / name
    store.save(a_snapshot(), str(path))
    assert store.load(str(path)) == a_snapshot()


def test_a_snapshot_is_for_its_owner_alone_whatever_the_umask(tmp_path):
    old = os.umask(0)
    try:
        store.save(a_snapshot(), str(tmp_path / "node.json"))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "node.json").stat().st_mode) == 0o600


def test_a_snapshot_is_never_written_through_a_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "node.json").symlink_to(victim)
    with pytest.raises(SnapshotError, match="symbolic link"):
        store.save(a_snapshot(), str(tmp_path / "node.json"))
    assert victim.read_text() == "precious"


def test_nothing_is_left_where_a_snapshot_cannot_be_written(tmp_path):
    with pytest.raises(SnapshotError, match="No such file"):
        store.save(a_snapshot(), str(tmp_path / "missing" / "node.json"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_snapshot_is_one_clear_line(tmp_path, keep):
    document = store.encode(a_snapshot()).rstrip()
    path = tmp_path / "node.json"
    path.write_bytes(document[: int(len(document) * keep)])
    with pytest.raises(SnapshotError) as caught:
        store.load(str(path))
    assert str(path) in str(caught.value)
    assert "cut short" in str(caught.value) or "empty" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [3, 20, -1])
def test_a_truncated_gzip_is_one_clear_line(tmp_path, keep):
    path = tmp_path / "node.json.gz"
    path.write_bytes(gzip.compress(store.encode(a_snapshot()))[:keep])
    with pytest.raises(SnapshotError, match="cut short"):
        store.load(str(path))


def test_damaged_gzip_is_one_clear_line(tmp_path):
    path = tmp_path / "node.json.gz"
    path.write_bytes(b"\x1f\x8b" + b"garbage" * 20)
    with pytest.raises(SnapshotError, match="damaged gzip"):
        store.load(str(path))


def test_a_newer_format_says_to_upgrade():
    with pytest.raises(SnapshotError, match=r"version 99 is newer.*newer netdoctor"):
        store.decode(b'{"format": "netdoctor.snapshot", "version": 99, "from_the_future": 1}', "node.json")


def test_json_of_another_kind_is_not_taken_for_a_snapshot():
    with pytest.raises(SnapshotError, match="not a netdoctor snapshot"):
        store.decode(b'{"kind": "List", "items": []}', "pods.json")


def test_saved_tool_output_is_pointed_to_the_right_command():
    with pytest.raises(SnapshotError, match=r"netdoctor snapshot --from"):
        store.decode(b"*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n", "iptables-save.txt")


def test_a_wrong_type_deep_inside_says_where():
    document = b'{"format": "netdoctor.snapshot", "version": 1, "namespaces": [{"name": 5}]}'
    with pytest.raises(SnapshotError, match=r"namespaces\[0\]\.name|namespaces\[\.\.\.\]\.name"):
        store.decode(document, "node.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SnapshotError, match=r"nowhere\.json: No such file"):
        store.load(str(tmp_path / "nowhere.json"))
