"""`./dev bench [SERVICES]`: how long large rulesets take, and how much memory.

Knows nothing of what is a good figure.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from netdoctor.netfilter.iptables import save
from tests.benchmarks.kube_proxy import ruleset, service_address

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "snapshots"
ADDRESSES = (
    '[{"ifindex":2,"ifname":"eth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"operstate":"UP",'
    '"link_type":"ether","address":"02:00:00:00:00:01","addr_info":[{"family":"inet","local":"192.168.0.10",'
    '"prefixlen":24,"scope":"global","label":"eth0"}]}]'
)


@contextmanager
def measured(what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    print(f"{time.perf_counter() - started:8.2f} s  {what}")


def netdoctor(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "netdoctor.cli.main", *words], capture_output=True, check=False)


def main() -> None:
    services = int(sys.argv[1]) if len(sys.argv) > 1 else 16_000
    text = ruleset(services)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "iptables-save.txt").write_text(text)
        (Path(folder) / "ip-addr.json").write_text(ADDRESSES)
        big = f"{folder}/big.json.gz"
        lines = f"{text.count(chr(10)):,} lines"
        with measured("netdoctor --version"):
            netdoctor("--version")
        with measured("netdoctor check on the small fixture"):
            netdoctor("check", "--snapshot", str(FIXTURES / "hairpin-snat-missing.json.gz"))
        with measured(f"netdoctor snapshot --from, {lines}"):
            netdoctor("snapshot", "--from", folder, "-o", big)
        with measured(f"netdoctor trace, {lines}"):
            netdoctor(
                "trace", "--snapshot", big, "--from", "192.168.0.77", "--to", f"{service_address(services // 2)}:80"
            )
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"{peak:8.0f} MiB the largest of them")
        with measured(f"parsed and printed back, {lines}"):
            assert save.dump(save.parse(text, 4, "legacy")) == text


if __name__ == "__main__":
    main()
