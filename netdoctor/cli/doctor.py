"""`netdoctor doctor`: what netdoctor needs, what of it is here, and how to get the rest.

Knows nothing of how a tool is used.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path

import click
import msgspec

from netdoctor import __version__
from netdoctor.cli import status
from netdoctor.cli.options import json_option
from netdoctor.cli.output import Paint, wants_colour, write, write_json
from netdoctor.model.text import printable


class Tool(msgspec.Struct, frozen=True):
    """A program, what it is needed for, and the Debian package that holds it."""

    name: str
    purpose: str
    package: str
    required: bool = False


TOOLS = (
    Tool("ip", "links, addresses, routes", "iproute2", required=True),
    Tool("bridge", "bridge ports and forwarding entries", "iproute2", required=True),
    Tool("ss", "listening sockets", "iproute2", required=True),
    Tool("iptables-nft-save", "rulesets of iptables-nft", "iptables"),
    Tool("iptables-legacy-save", "rulesets of iptables-legacy", "iptables"),
    Tool("nft", "native nftables", "nftables"),
    Tool("ipset", "sets that rules refer to", "ipset"),
    Tool("conntrack", "connections that the kernel tracks", "conntrack"),
    Tool("ebtables-nft-save", "bridge filtering", "iptables"),
    Tool("unshare", "demo: throw-away namespaces", "util-linux"),
    Tool("nsenter", "fix --script: entering a container's namespace", "util-linux"),
)


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    ok: bool
    required: bool
    found: str
    remedy: str | None = None


@click.command(short_help="what netdoctor needs and has here")
@json_option
def doctor(as_json: bool) -> int:
    """Say what netdoctor itself needs and has here: tools, capabilities, versions. Changes nothing."""
    checks = [*_programs(), *_rights(), *_kernel(), *_libraries()]
    broken = [check for check in checks if check.required and not check.ok]
    if as_json:
        write_json({"version": 1, "netdoctor": __version__, "kernel": platform.release(), "checks": checks})
    else:
        _print(checks, len(broken))
    return status.FAILED if broken else status.OK


def _programs() -> list[Check]:
    checks = []
    for tool in TOOLS:
        path = shutil.which(tool.name) or shutil.which(tool.name, path="/usr/local/sbin:/usr/sbin:/sbin")
        remedy = None if path else f"needed for {tool.purpose}: apt-get install {tool.package}"
        checks.append(Check(tool.name, path is not None, tool.required, _version(path) if path else "missing", remedy))
    return checks


def _version(path: str) -> str:
    """What the program says of itself. None of these do anything but print it."""
    option = "-V" if os.path.basename(path) in {"ip", "bridge", "ss"} else "--version"  # noqa: PTH119
    try:
        said = subprocess.run([path, option], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not run: {error}"
    lines = (said.stdout or said.stderr).strip().splitlines()
    return printable(lines[0]) if lines else path


def _rights() -> list[Check]:
    # capabilities(7): CAP_NET_ADMIN is bit 12, CAP_SYS_ADMIN (setns) 21, CAP_SYS_PTRACE (others' /proc/PID/ns) 19
    effective = int(next(
        line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")
    ), 16)  # fmt: skip
    held = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_SYS_PTRACE": 19}
    missing = [name for name, bit in held.items() if not effective >> bit & 1]
    found = "all that reading this host needs" if not missing else f"without {', '.join(missing)}"
    live = Check("capabilities", not missing, False, found, "run it as root: sudo netdoctor …" if missing else None)
    return [live, _user_namespaces()]


def _user_namespaces() -> Check:
    unshare = shutil.which("unshare")
    if unshare is None:
        return Check("namespaces", False, False, "cannot try without unshare", "apt-get install util-linux")
    words = [unshare, "--net", "true"] if os.geteuid() == 0 else [unshare, "--user", "--map-root-user", "--net", "true"]
    made = subprocess.run(words, capture_output=True, timeout=10, check=False).returncode == 0
    remedy = (
        "demo needs root, or sysctl user.max_user_namespaces > 0 and kernel.apparmor_restrict_unprivileged_userns = 0"
    )
    return Check("namespaces", made, False, "can be made" if made else "cannot be made", None if made else remedy)


def _kernel() -> list[Check]:
    bridge = Path("/proc/sys/net/bridge").is_dir()
    tracked = Path("/proc/sys/net/netfilter/nf_conntrack_max").exists()
    bridged = "loaded" if bridge else "not loaded (bridged packets pass no iptables rules)"
    translated = "loaded" if tracked else "not loaded (no NAT on this host)"
    return [
        Check("br_netfilter", ok=True, required=False, found=bridged),
        Check("nf_conntrack", ok=True, required=False, found=translated),
    ]


def _libraries() -> list[Check]:
    names = ("msgspec", "click", "networkx", "pyroute2", "textual")
    checks = [Check(name, ok=True, required=True, found=importlib.metadata.version(name)) for name in names]
    legacy = importlib.util.find_spec("iptc") is not None
    found = importlib.metadata.version("python-iptables") if legacy else "not installed"
    remedy = None if legacy else "optional, for legacy tables: pip install 'netdoctor-node[legacy]'"
    return [*checks, Check("python-iptables", legacy, False, found, remedy)]


def _print(checks: list[Check], broken: int) -> None:
    paint = Paint(colour=wants_colour())
    write(f"netdoctor {__version__}, kernel {printable(platform.release())}")
    for check in checks:
        mark = paint("ok", "green") if check.ok else paint("--", "red" if check.required else "yellow")
        write(f"  {mark}  {check.name:<22} {check.found}")
        if check.remedy:
            write(f"      {'':<22} {check.remedy}")
    write("Something that is needed is missing." if broken else "Nothing that is needed is missing.")
