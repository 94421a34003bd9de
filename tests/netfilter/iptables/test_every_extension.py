"""What the real iptables prints for a rule of every match and target that this kernel has."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from netdoctor.netfilter.iptables import save

DATA = Path(__file__).parent / "data"
NOT_MODELLED = {"CLUSTERIP", "DNPT", "HMARK", "SNPT"}
# Everything else is done in namespaces of its own, which end with the program.
LOADER = r"""
import json, subprocess, sys
request = json.load(sys.stdin)
tool = request["tool"]
subprocess.run(["mount", "-t", "tmpfs", "run", "/run"], check=True)  # the xtables lock
for line in request["sets"]:
    subprocess.run(["ipset", *line.split()], check=True)
subprocess.run([tool, "-w", "-N", "user"], check=True)
refused = []
for table, chain, *words in request["rules"]:
    done = subprocess.run([tool, "-w", "-t", table, "-A", chain, *words], capture_output=True, text=True)
    if done.returncode:
        refused.append([" ".join((table, chain, *words)), done.stderr])
text = subprocess.run([tool + "-save", *request["options"]], capture_output=True, text=True, check=True).stdout
json.dump({"text": text, "refused": refused}, sys.stdout)
"""


def load(family, backend, options):
    name = "iptables" if family == 4 else "ip6tables"
    suffix, inet = ("", "inet") if family == 4 else ("6", "inet6")
    lines = (DATA / f"every-extension-{'ip' if family == 4 else 'ip6'}.txt").read_text().splitlines()
    request = {
        "tool": f"{name}-{backend}",
        "options": options,
        "sets": [
            f"create nets{suffix} hash:ip family {inet} timeout 100 counters",
            f"create marks{suffix} hash:ip family {inet} skbinfo",
        ],
        "rules": [shlex.split(line) for line in lines],
    }
    argv = [
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        sys.executable,
        "-c",
        LOADER,
    ]
    done = subprocess.run(argv, input=json.dumps(request), capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr if done.returncode else "") == (0, "")
    return len(lines), json.loads(done.stdout)


@pytest.mark.kernel
@pytest.mark.parametrize("options", [[], ["-c"]], ids=["plain", "counters"])
@pytest.mark.parametrize("backend", ["nft", "legacy"])
@pytest.mark.parametrize("family", [4, 6])
def test_what_iptables_prints_is_understood_and_written_back_byte_for_byte(family, backend, options):
    asked, answer = load(family, backend, options)
    ruleset = save.parse(answer["text"], family, backend)
    unmodelled = {name for _, rule in ruleset.rules() for name in rule.unmodelled} - NOT_MODELLED
    assert (answer["text"], set()) == (save.dump(ruleset), unmodelled)
    # A kernel without a module refuses a few; were it many, this would test nothing.
    assert (asked - len(answer["refused"]), len(answer["refused"]) < 25) == (ruleset.rule_count, True), answer[
        "refused"
    ]
