"""A plan is applied whole or not at all, whatever ends the process, and taken back when its promise is not kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from netdoctor.cli.demo import run
from netdoctor.diagnose import loader
from netdoctor.lab import example
from netdoctor.lab.process import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netdoctor.lab.lab import Lab

pytestmark = pytest.mark.kernel
RULE = loader.by_name("hairpin-snat-missing")
SYSCTL = "net.bridge.bridge-nf-call-iptables"


@pytest.fixture
def broken() -> Iterator[Lab]:
    with example.broken(RULE.example) as lab:
        yield lab


def fix(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    return run(lab, "node", ["fix", *words])


def value(lab: Lab) -> str:
    return lab.run("node", ["sysctl", "-n", SYSCTL], check=True).stdout.strip()


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def by_ssh(lab: Lab, *words: str, seconds: int = 2) -> subprocess.CompletedProcess[str]:
    """As a user who came from web-6c8 by SSH, with a shorter time to confirm than a person gets."""
    program = (
        "import sys; from netdoctor.apply import executor; executor.SSH_CONFIRM_SECONDS = int(sys.argv.pop(1));"
        "from netdoctor.cli.main import main; main()"
    )
    connection = "SSH_CONNECTION=10.244.0.2 50000 10.244.0.1 22"
    return lab.run("node", ["env", connection, sys.executable, "-P", "-c", program, str(seconds), "fix", *words])


def test_nothing_is_changed_without_a_yes(broken: Lab) -> None:
    done = fix(broken, "--apply")
    assert (done.returncode, done.stderr) == (
        2,
        "netdoctor: nothing was changed: nobody is there to be asked; say --yes\n",
    )
    assert value(broken) == "0"


def test_an_apply_over_ssh_that_nobody_keeps_is_taken_back(broken: Lab) -> None:
    before = broken.state("node")
    done = by_ssh(broken, "--apply", "--yes")
    assert done.returncode == 0, done.stderr
    assert "netdoctor fix --keep" in done.stdout
    assert value(broken) == "1"
    wait_until(lambda: value(broken) == "0")
    wait_until(lambda: json.loads(fix(broken, "--status", "--json").stdout)["plans"][0]["state"] == "undone")
    assert broken.state("node") == before


def test_an_apply_over_ssh_that_is_kept_stays(broken: Lab) -> None:
    assert by_ssh(broken, "--apply", "--yes", seconds=3).returncode == 0
    assert fix(broken, "--keep").returncode == 0
    time.sleep(4)
    assert value(broken) == "1"
    assert fix(broken, "--keep").returncode == 2


def test_a_plan_whose_promise_the_kernel_does_not_keep_is_taken_back(broken: Lab) -> None:
    before = broken.state("node")
    program = (
        "from netdoctor.repair import proof; proof.unkept = lambda promised, seen: 'the promise';"
        "from netdoctor.cli.main import main; main(['fix', '--apply', '--yes'])"
    )
    done = broken.run("node", [sys.executable, "-P", "-c", program])
    assert (done.returncode, "Taken back: the promise" in done.stdout) == (5, True)
    assert broken.state("node") == before


@pytest.mark.parametrize("point", ["run.save", "worker.look", "worker.go"])
def test_a_process_that_is_killed_while_it_applies_leaves_nothing_behind(broken: Lab, point: str) -> None:
    before = broken.state("node")
    where, name = point.split(".")
    target = {"run": "steps.Run", "worker": "steps._Worker"}[where]
    program = (
        f"import os; from netdoctor.apply import steps; old = {target}.{name}\n"
        f"def dying(*given, **named):\n    old(*given, **named); os.kill(os.getpid(), 9)\n"
        f"{target}.{name} = dying\n"
        "from netdoctor.cli.main import main; main(['fix', '--apply', '--yes'])"
    )
    done = broken.run("node", [sys.executable, "-P", "-c", program])
    assert done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}
    wait_until(lambda: json.loads(fix(broken, "--status", "--json").stdout)["plans"][0]["state"] == "undone")
    assert broken.state("node") == before


def test_what_somebody_else_changed_since_is_left_to_him_and_said(broken: Lab) -> None:
    assert fix(broken, "--apply", "--yes").returncode == 0
    other = "net.ipv4.conf.all.forwarding"
    broken.run("node", ["sysctl", "-qw", f"{SYSCTL}=0"], check=True)
    kept = broken.run("node", ["sysctl", "-n", other], check=True).stdout
    done = fix(broken, "--undo", "--yes")
    assert done.returncode == 0, done.stderr
    assert (value(broken), broken.run("node", ["sysctl", "-n", other]).stdout) == ("0", kept)


def test_the_same_plan_is_not_applied_twice(broken: Lab) -> None:
    assert fix(broken, "--apply", "--yes").returncode == 0
    again = fix(broken, "--apply", "--yes")
    assert (again.returncode, "nothing was changed" in again.stdout) == (0, True)
    assert fix(broken, "--undo", "--yes").returncode == 0
    assert fix(broken, "--undo", "--yes").returncode == 2


def test_the_journal_is_root_s_alone(broken: Lab) -> None:
    assert fix(broken, "--apply", "--yes").returncode == 0
    seen = broken.run("node", ["sh", "-c", "stat -c %a /var/lib/netdoctor/plans /var/lib/netdoctor/plans/*"]).stdout
    assert seen.split() == ["700", "600"]


def test_a_journal_that_others_can_write_is_refused(broken: Lab) -> None:
    broken.run("node", ["chmod", "777", "/var/lib/netdoctor"], check=True)
    done = fix(broken, "--apply", "--yes")
    assert (done.returncode, "others can write to it" in done.stderr) == (2, True)
    assert value(broken) == "0"


def test_an_interrupted_apply_is_taken_back(broken: Lab) -> None:
    before = broken.state("node")
    slow = (
        "import time; from netdoctor.repair import proof\n"
        "def unkept(promised, seen):\n    print('verifying', flush=True); time.sleep(30)\n"
        "proof.unkept = unkept\nfrom netdoctor.cli.main import main; main(['fix', '--apply', '--yes'])"
    )
    # A shell starts what it does not wait for with SIGINT ignored, and Python leaves it at that.
    words = ["env", "--default-signal=INT", *broken.words("node", [sys.executable, "-P", "-c", slow])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment(), start_new_session=True) as one:
        assert any("verifying" in line for line in one.stdout)
        os.killpg(one.pid, signal.SIGINT)
        one.wait(20)
    wait_until(lambda: value(broken) == "0")
    assert broken.state("node") == before
