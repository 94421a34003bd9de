"""`python -m netdoctor.lab` runs one command, or a shell, in a topology."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "netdoctor.lab", *arguments]
    return subprocess.run(words, capture_output=True, text=True, cwd=CHECKOUT, check=False)


@pytest.mark.kernel
def test_a_command_runs_where_it_is_sent_and_its_status_is_returned() -> None:
    done = lab("two-pods", "shop/web-6c8", "sh", "-c", "ip -br addr show dev eth0; exit 7")
    assert done.returncode == 7
    assert "10.244.0.2/24" in done.stdout


def test_an_unknown_topology_is_one_line_on_standard_error() -> None:
    done = lab("three-pods")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("no topology 'three-pods'; there are: ")
