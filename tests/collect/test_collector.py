"""The script for nodes without Python is clean POSIX shell, and a snapshot of its tar equals one taken live."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from netdoctor.collect import saved
from netdoctor.collect.collector import script
from netdoctor.model import store

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Namespace, Snapshot

CHECKOUT = Path(__file__).parents[2]
AS_ROOT = () if os.geteuid() == 0 else ("--user", "--map-root-user")
PRIVATE = ("unshare", *AS_ROOT, "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
NODE = r"""
set -e
mount -t tmpfs none /run
mount -t tmpfs none /var/lib
mkdir /run/netns
mkdir -p /var/lib/cni/results
ip link set lo up
ip link add cni0 type bridge
ip address add 10.244.0.1/24 dev cni0
ip link set cni0 up
for name in web cni-1234; do
    ip netns add $name
    ip link add v$name type veth peer name eth0 netns $name
    ip link set v$name master cni0 up
    ip -n $name link set eth0 up
done
ip -n web address add 10.244.0.2/24 dev eth0 nodad
ip -n web route add default via 10.244.0.1
ip netns exec web iptables-nft -A INPUT -p tcp --dport 80 -j ACCEPT
iptables-nft -t nat -A POSTROUTING -s 10.244.0.0/24 -j MASQUERADE
printf '%s' '{"kind":"cniCacheV1","containerId":"abc123","config":"aHVudGVyMg==","ifName":"eth0","networkName":"cbr0",
"netns":"/var/run/netns/cni-1234","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","shop"],["K8S_POD_NAME","cart"]],
"capabilityArgs":{"io.kubernetes.cri.pod-annotations":{"token":"hunter2"}},
"result":{"cniVersion":"1.0.0","ips":[{"interface":2,"address":"10.244.0.3/24","gateway":"10.244.0.1"}],"dns":{}}}' \
    >/var/lib/cni/results/cbr0-abc123-eth0
# What the kernel still makes by itself: link-local addresses, bridge ports' states.
sleep 1
for enter in "" "-n web" "-n cni-1234"; do
    until ip $enter -6 -o address show scope link | grep -q .; do sleep 0.1; done
    while ip $enter -6 address | grep -q tentative; do sleep 0.1; done
done
until [ "$(bridge link | grep -c 'state forwarding')" = 2 ]; do sleep 0.1; done
"""
UNSTEADY = (
    "nf_conntrack_count",
    ".base_reachable_time",  # `sysctl -a` leaves out what is deprecated
    ".retrans_time",
    ".random.uuid",
)
LIVE = """
import sys
from netdoctor.collect import live
from netdoctor.model import store
store.save(live.take(), sys.argv[1])
"""


def run(commands: str, *arguments: str) -> bytes:
    done = subprocess.run(
        [*PRIVATE, "sh", "-c", commands, "sh", *arguments], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_the_script_is_clean_posix_shell(tmp_path: Path) -> None:
    file = tmp_path / "collector.sh"
    file.write_text(script())
    for command in (["shellcheck", "--shell=sh", str(file)], ["sh", "-n", str(file)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


def test_the_script_writes_no_tar_to_a_terminal() -> None:
    controller, terminal = os.openpty()
    done = subprocess.run(["sh", "-s"], input=script().encode(), stdout=terminal, stderr=subprocess.PIPE, check=False)
    os.close(terminal)
    os.close(controller)
    assert (done.returncode, b"standard output is a terminal" in done.stderr) == (2, True)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> tuple[Snapshot, Snapshot, bytes]:
    """The same node taken live and by the script."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "collector.sh").write_text(script())
    commands = f'{NODE}\ncd {CHECKOUT}\n"$1" -c "$2" "$3/live.json"\nsh "$3/collector.sh"'
    tar = run(commands, sys.executable, LIVE, str(folder))
    return store.load(str(folder / "live.json")), saved.read("-", io.BytesIO(tar))[0], tar


def comparable(netns: Namespace) -> Namespace:
    """Without what moves between two readings, and the name of a link's other end, which live goes by its index."""
    links = [replace(link, parent=None) for link in netns.links]
    return replace(
        netns,
        pids=(),
        links=tuple(links),
        neighbours=(),
        rulesets=tuple(
            replace(ruleset, text="\n".join(line for line in ruleset.text.splitlines() if not line.startswith("#")))
            for ruleset in netns.rulesets
            if ruleset.text.strip()
        ),
        sysctls={name: value for name, value in netns.sysctls.items() if not name.endswith(UNSTEADY)},
        nft=None,
        conntrack=(),
        conntrack_stats={},
        counters={},
        sections=(),
    )


@pytest.mark.kernel
def test_the_script_and_a_live_snapshot_say_the_same(node: tuple[Snapshot, Snapshot, bytes]) -> None:
    live, collected, _ = node
    first, *others = (netns.name for netns in collected.namespaces)  # those of containers in any order
    assert (first, sorted(others)) == ("host", ["shop/cart", "web"])
    expected = {netns.name: comparable(netns) for netns in live.namespaces}
    for netns in collected.namespaces:
        taken = comparable(netns)
        for field in taken.__struct_fields__:
            assert getattr(taken, field) == getattr(expected[netns.name], field), f"{netns.name} {field}"
    assert [replace(one, pid=None) for one in collected.workloads] == [replace(one, pid=None) for one in live.workloads]
    assert (collected.host, collected.kernel, collected.iptables) == (live.host, live.kernel, live.iptables)
    assert collected.source == "collector"


@pytest.mark.kernel
def test_the_script_takes_no_secrets(node: tuple[Snapshot, Snapshot, bytes]) -> None:
    tar = node[2]
    assert not any(secret in tar for secret in (b"hunter2", b"aHVudGVyMg", b"stable_secret", b"tcp_fastopen_key"))


@pytest.mark.kernel
def test_the_script_loads_no_module_registers_no_table_and_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "collector.sh").write_text(script())
    before = sorted(Path("/sys/module").iterdir())
    tables = run(
        'mount -t tmpfs none /run; TMPDIR="$1" sh "$1/collector.sh" >/dev/null; cat /proc/net/ip*_tables_names',
        str(tmp_path),
    )
    assert (tables, sorted(Path("/sys/module").iterdir())) == (b"", before)
    assert [path.name for path in tmp_path.iterdir()] == ["collector.sh"]
