"""A lab ends with its owner, however that ends, and works for root and for an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netdoctor.lab import process
from netdoctor.model.errors import LabError

pytestmark = pytest.mark.kernel
CHECKOUT = Path(process.__file__).parents[2]
NOBODY = 65534
# Builds a lab, says which namespaces and processes it is made of, then does what the test asks for.
OWNER = """
import json, os, sys
from pathlib import Path
if len(sys.argv) > 2:
    import netdoctor.lab.lab, msgspec
    os.setgroups([]); os.setresgid(*[int(sys.argv[2])] * 3); os.setresuid(*[int(sys.argv[2])] * 3)
    sys.executable = sys.argv[3]
from netdoctor.lab.lab import Lab
from netdoctor.model.flow import Flow
with Lab("two-pods") as lab:
    inodes = []
    for place in lab.places:
        words = ["readlink", *(f"/proc/self/ns/{kind}" for kind in ("net", "mnt", "pid"))]
        inodes += lab.run(place, words).stdout.split()
    connects = lab.client(Flow(from_="shop/web-6c8", to="svc/shop/cart:http")).connects
    print(json.dumps({"namespaces": inodes, "connects": connects, "user": lab.user}), flush=True)
    exec(sys.argv[1])
"""


def own(do: str, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", OWNER, do, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"}, cwd="/",
    )  # fmt: skip


def report(owner: subprocess.Popen[str]) -> dict[str, object]:
    assert owner.stdout is not None
    line = owner.stdout.readline()
    assert owner.stderr is not None
    return json.loads(line) if line else {"failed": owner.stderr.read()}


def holders(namespaces: list[str]) -> list[str]:
    """Every process of this machine that is in one of the namespaces."""
    found = []
    for entry in Path("/proc").iterdir():
        for kind in ("net", "mnt", "pid"):
            try:
                if entry.name.isdecimal() and (entry / "ns" / kind).readlink().name in namespaces:
                    found.append(f"{entry.name} {(entry / 'comm').read_text().strip()}")
            except OSError:
                continue
    return found


def gone(namespaces: list[str], seconds: float = 5.0) -> list[str]:
    deadline = time.monotonic() + seconds
    while (left := holders(namespaces)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def test_nothing_is_left_when_the_owner_is_killed() -> None:
    """SIGKILL: no process and so no namespace, and no mount that others see."""
    mounts = Path("/proc/self/mountinfo").read_text()
    owner = own("import time; time.sleep(60)")
    namespaces = report(owner)["namespaces"]
    assert isinstance(namespaces, list)
    assert len(holders(namespaces)) >= 4
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    assert gone(namespaces) == []
    assert mounts == Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize(
    "do", ["sys.exit(3)", "raise RuntimeError", "os._exit(1)", "os.kill(os.getpid(), 15)", "os.abort()"]
)
def test_nothing_is_left_however_the_owner_ends(do: str) -> None:
    owner = own(do)
    namespaces = report(owner)["namespaces"]
    owner.communicate()
    assert isinstance(namespaces, list)
    assert gone(namespaces) == []


def test_nothing_is_left_when_the_owner_dies_with_a_program_running_in_the_lab() -> None:
    owner = own(
        'print("x", flush=True); lab.run("node", ["sh", "-c", "trap : HUP INT TERM; sleep 61 & wait; sleep 62"])'
    )
    namespaces = report(owner)["namespaces"]
    assert isinstance(namespaces, list)
    assert owner.stdout is not None
    owner.stdout.readline()
    time.sleep(0.2)
    owner.kill()
    owner.communicate()
    assert gone(namespaces) == []


def test_everything_has_ended_when_close_returns() -> None:
    owner = own("lab.close(); print('closed', flush=True); import time; time.sleep(60)")
    namespaces = report(owner)["namespaces"]
    assert isinstance(namespaces, list)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "closed\n"
    left = holders(namespaces)
    owner.kill()
    owner.communicate()
    assert left == []


def unprivileged_python() -> str:
    """A Python that nobody may start: the one that runs the tests may lie in a private folder."""
    return shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin") or sys.executable


def test_an_ordinary_user_builds_the_same_lab_and_it_dies_with_its_owner() -> None:
    """Through a user namespace; as root, the test becomes nobody first."""
    arguments = (str(NOBODY), unprivileged_python()) if os.geteuid() == 0 else ()
    owner = own("import time; time.sleep(60)", *arguments)
    said = report(owner)
    owner.kill()
    owner.communicate()
    assert {key: said.get(key, said) for key in ("connects", "user")} == {"connects": "yes", "user": True}
    assert isinstance(said["namespaces"], list)
    assert gone(said["namespaces"]) == []


def test_root_of_a_user_namespace_builds_the_same_lab() -> None:
    prefix = (
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
    )
    owner = own("pass", prefix=prefix)
    said = report(owner)
    owner.communicate()
    assert {key: said.get(key, said) for key in ("connects", "user")} == {"connects": "yes", "user": False}


def test_where_the_kernel_allows_no_namespace_the_error_says_so() -> None:
    limit = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    owner = own("pass", prefix=("unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh"))
    last = owner.communicate()[1].strip().splitlines()[-1]
    assert "LabError: cannot build namespaces: unshare: unshare failed: No space left on device; run it as root" in last


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "environment", lambda: {"PATH": "/nowhere"})
    with pytest.raises(LabError, match="unshare is not installed"):
        process.keeper("a")


def test_a_process_that_ends_at_once_is_told_with_its_last_words() -> None:
    with pytest.raises(LabError, match="cannot build namespaces: no such luck"):
        process.start(("sh", "-c", "echo first >&2; echo no such luck >&2; exit 1"))
