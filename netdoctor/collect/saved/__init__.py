"""A snapshot from saved tool output: a folder, or a tar of one. Needs no kernel and no root.

Knows nothing of how the output was made, but the names of the files. What is missing is noted, never assumed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from netdoctor import __version__
from netdoctor.collect.saved import facts as host_facts
from netdoctor.collect.saved import folder as files
from netdoctor.collect.saved.layout import HOST, Layout, lay_out
from netdoctor.collect.saved.names import Names
from netdoctor.collect.saved.peers import place
from netdoctor.collect.saved.sections import Sections
from netdoctor.collect.workloads import cni, inspect
from netdoctor.model.errors import SnapshotError
from netdoctor.model.snapshot import Namespace, Network, Snapshot, Unread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    from netdoctor.collect.saved.facts import Facts
    from netdoctor.collect.saved.folder import Folder
    from netdoctor.collect.workloads import FoundWorkload

__all__ = ["read"]


def read(path: str, stream: IO[bytes] | None = None) -> tuple[Snapshot, list[str]]:
    """Return the snapshot of a folder (of the tar on standard input: `-`), and the files not understood.

    `stream` stands in for standard input. Raises: SnapshotError where there is nothing to read.
    """
    folder = files.tar(stream or sys.stdin.buffer) if path == "-" else files.directory(path)
    layout = lay_out(folder.names)
    not_understood = [*folder.refused, *layout.not_understood]
    if not layout.host and not any(layout.namespaces.values()):
        raise SnapshotError(
            f"cannot read {'the tar' if path == '-' else path}: it holds none of the files that netdoctor reads",
            "`netdoctor snapshot --collector` prints a script that saves them",
        )
    snapshot = _assemble(folder, layout, host_facts.read(folder, layout.host, not_understood))
    return snapshot, sorted(not_understood)


def _assemble(folder: Folder, layout: Layout, facts: Facts) -> Snapshot:
    unread: list[Unread] = []
    workloads, networks = _runtimes(folder, layout.host, unread)
    names = Names(workloads, _namespace_lines(folder, layout.host, unread))
    read: list[Namespace] = []
    nsids: dict[str, Mapping[str, int]] = {}
    for key, paths in sorted(layout.namespaces.items()):  # HOST sorts first
        if names.is_hosts(key) or (key == HOST and not paths):
            continue  # read inside a container that lives in the host's namespace
        name, aliases, inode, pids = names.of(key)
        sections = Sections(folder, paths, name, facts.iptables, complete=facts.source == "collector")
        netns = sections.read()
        read.append(_named(netns, aliases, inode, pids))
        nsids[name] = sections.netnsids()
        unread.extend(sections.unread)
    return Snapshot(
        netdoctor=__version__,
        host=facts.host,
        taken_at=_taken_at(facts, read),
        utc_offset=facts.utc_offset,
        uptime=facts.uptime,
        kernel=facts.kernel,
        tools=facts.tools,
        iptables=facts.iptables or _backend(read),
        source=facts.source,
        namespaces=place(read, nsids, names.parents(networks)),
        workloads=names.placed(netns.name for netns in read),
        networks=networks,
        unread=tuple(unread),
    )


def _named(netns: Namespace, aliases: tuple[str, ...], inode: int | None, pids: tuple[int, ...]) -> Namespace:
    from msgspec.structs import replace

    return replace(netns, aliases=aliases, inode=inode, pids=pids)


def _runtimes(
    folder: Folder, paths: Mapping[str, str], unread: list[Unread]
) -> tuple[tuple[FoundWorkload, ...], tuple[Network, ...]]:
    workloads: list[FoundWorkload] = []
    networks: list[Network] = []
    for runtime in ("docker", "podman"):
        try:
            if f"{runtime}-inspect" in paths:
                workloads += inspect.containers(folder.read(paths[f"{runtime}-inspect"]), runtime)
            if f"{runtime}-network-inspect" in paths:
                networks += inspect.networks(folder.read(paths[f"{runtime}-network-inspect"]), runtime)
        except SnapshotError as error:
            unread.append(Unread("workloads", str(error)))
    if "cni-results" in paths:
        try:
            workloads = cni.attached(workloads, cni.results(folder.read(paths["cni-results"])))
        except SnapshotError as error:
            unread.append(Unread("workloads", str(error)))
    return tuple(workloads), tuple(networks)


def _namespace_lines(folder: Folder, paths: Mapping[str, str], unread: list[Unread]) -> str:
    if "namespaces" not in paths:
        return ""
    try:
        return folder.text(paths["namespaces"])
    except SnapshotError as error:
        unread.append(Unread("namespaces", str(error)))
        return ""


def _taken_at(facts: Facts, namespaces: list[Namespace]) -> float:
    """When it was saved: the collector's clock, else what iptables-save wrote, else the age of the files."""
    if facts.source == "collector":
        return facts.taken_at
    stamps = (host_facts.generated_at(ruleset.text) for netns in namespaces for ruleset in netns.rulesets)
    return max((stamp for stamp in stamps if stamp is not None), default=facts.taken_at)


def _backend(namespaces: list[Namespace]) -> str | None:
    """The backend of `iptables`, where the host's dumps leave no doubt."""
    kinds = {
        ruleset.backend for netns in namespaces[:1] for ruleset in netns.rulesets if ruleset.family in {"ip", "ip6"}
    }
    return next(iter(kinds)) if len(kinds) == 1 else None
