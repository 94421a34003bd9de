"""Options that several commands share, and where a command's snapshot comes from.

Knows nothing of what is done with a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from netdoctor.cli.progress import Progress
from netdoctor.model.errors import NetdoctorError

if TYPE_CHECKING:
    from netdoctor.model.snapshot import Snapshot
    from netdoctor.topology.world import World

F = TypeVar("F", bound=Callable[..., Any])


def snapshot_option(function: F) -> F:
    """`--snapshot [HOST=]FILE`, given once or for each host."""
    return click.option(
        "--snapshot",
        "snapshots",
        metavar="[HOST=]FILE",
        multiple=True,
        help="Read this snapshot instead of this host (-: standard input). Several make one world.",
    )(function)


def json_option(function: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")(function)


def netns_option(function: F) -> F:
    """`--netns NAME`, repeatable."""
    return click.option("--netns", "netns", metavar="NAME", multiple=True, help="Only this namespace (repeatable).")(
        function
    )


def read_snapshots(names: tuple[str, ...], netns: tuple[str, ...] = ()) -> dict[str, Snapshot]:
    """Return the snapshots by host name: those of the files, or one of this host, taken now."""
    if not names:
        return {"": take(netns)}
    from netdoctor.model import store

    snapshots: dict[str, Snapshot] = {}
    for name in names:
        host, separator, path = name.partition("=")
        if not separator or "/" in host:
            host, path = "", name
        snapshot = store.load(path)
        host = host or (snapshot.host if len(names) > 1 else "")
        if host in snapshots:
            raise NetdoctorError(
                f"two snapshots are of host {host}: {name} and another", "name them: --snapshot HOST=FILE"
            )
        snapshots[host] = snapshot
    return snapshots


def one_snapshot(names: tuple[str, ...], netns: tuple[str, ...] = ()) -> Snapshot:
    """Return the one snapshot that a command works on. Raises: NetdoctorError where several were given."""
    snapshots = read_snapshots(names, netns)
    if len(snapshots) > 1:
        raise NetdoctorError("this command reads one snapshot, several were given", "run it once for each")
    return next(iter(snapshots.values()))


def take(netns: tuple[str, ...] = ()) -> Snapshot:
    """Take a snapshot of this host, with a progress bar where somebody watches."""
    from netdoctor.collect import live

    with Progress("reading namespaces") as progress:
        return live.take(netns, progress=progress)


def read_world(names: tuple[str, ...]) -> World:
    """Return the world that the snapshots make."""
    from netdoctor.topology.world import World

    snapshots = read_snapshots(names)
    return World(snapshots if len(snapshots) > 1 else next(iter(snapshots.values())))
