"""The snapshot of this host, taken now: finds the namespaces, names them, has an agent read each, and puts it together.

The process that calls this enters no namespace and changes nothing. Knows nothing of what a section means.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from netdoctor import __version__
from netdoctor.collect import namespaces, naming, workloads
from netdoctor.collect.agent import Job, Result
from netdoctor.collect.reader import loaded, tool
from netdoctor.model.errors import NetdoctorError, SnapshotError
from netdoctor.model.snapshot import Namespace, Snapshot, Unread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netdoctor.collect.naming import Named

_VERSIONS = {"ip": "-V", "iptables": "--version", "nft": "--version", "conntrack": "--version", "ipset": "--version"}
# These ask the kernel even for their own version, which would load a module.
_ASKS = {"ipset": "ip_set", "nft": "nfnetlink"}


def take(netns: Sequence[str] = (), progress: Callable[[str, int, int], None] | None = None) -> Snapshot:
    """Read this host: every namespace, or those that `netns` names.

    Raises: NetdoctorError where nothing can be read; UnknownNamespaceError for a name that fits none or several.
    """
    if tool("ip") is None:
        raise NetdoctorError("cannot read this host: `ip` is not installed", "apt-get install iproute2")
    found = namespaces.find()
    discovered = workloads.discover()
    named = naming.name(found, discovered.workloads, namespaces.own_inode())
    chosen = naming.choose(named, netns) if netns else named
    unread = list(discovered.unread)
    read = _read(chosen, unread, progress)
    if not read:
        why = unread[0].why if unread else "no namespace answered"
        raise SnapshotError(f"cannot read this host: {why}", "run it as root: sudo netdoctor …")
    order = {one.name: position for position, one in enumerate(chosen)}
    return Snapshot(
        netdoctor=__version__,
        host=platform.node() or "host",
        taken_at=time.time(),
        utc_offset=time.localtime().tm_gmtoff,
        uptime=_uptime(),
        kernel=platform.release(),
        tools=_tool_versions(),
        iptables=_backend(),
        namespaces=tuple(sorted(read, key=lambda one: order[one.name])),
        workloads=naming.placed(discovered.workloads, named),
        networks=discovered.networks,
        unread=tuple(unread),
    )


def list_namespaces() -> tuple[Named, ...]:
    """Return the namespaces with all their names, without reading what is in them."""
    return naming.name(namespaces.find(), workloads.discover().workloads, namespaces.own_inode())


def _read(
    chosen: Sequence[Named], unread: list[Unread], progress: Callable[[str, int, int], None] | None
) -> list[Namespace]:
    """Have the agent read the namespaces; what it could not read is added to `unread`."""
    jobs = [Job(one.name, one.found.path, own=one.own) for one in chosen]
    by_name = {one.name: one for one in chosen}
    read: list[Namespace] = []
    # The agent imports the same netdoctor as this process, wherever that lies.
    package = str(Path(__file__).parents[2])
    environment = {**os.environ, "LC_ALL": "C", "PYTHONPATH": package}
    command = [sys.executable, "-m", "netdoctor.collect.agent"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd="/") as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        try:
            agent.stdin.write(msgspec.json.encode(jobs))
            agent.stdin.close()
            for done, line in enumerate(agent.stdout, 1):
                result = msgspec.json.decode(line, type=Result)
                unread.extend(result.unread)
                if result.namespace is not None:
                    one = by_name[result.name]
                    read.append(replace(
                        result.namespace, aliases=one.aliases, inode=one.found.inode, pids=tuple(one.found.pids)
                    ))  # fmt: skip
                if progress is not None:
                    progress(result.name, done, len(jobs))
        except BaseException:
            agent.kill()
            raise
    return read


def _uptime() -> float | None:
    try:
        return float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError):
        return None


def _tool_versions() -> dict[str, str]:
    """What each tool says of itself."""
    return {
        name: said
        for name, option in _VERSIONS.items()
        if (name not in _ASKS or loaded(_ASKS[name])) and (said := _version(name, option)) is not None
    }


def _version(name: str, option: str) -> str | None:
    path = tool(name)
    if path is None:
        return None
    try:
        done = subprocess.run([path, option], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def _backend() -> str | None:
    """Which backend the command `iptables` drives: its link tells, without running it as a command that might load
    modules.
    """
    path = tool("iptables")
    if path is None:
        return None
    return "legacy" if "legacy" in str(Path(path).resolve()) else "nft"
