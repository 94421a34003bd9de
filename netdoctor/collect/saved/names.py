"""What the namespaces of a saved folder are called: INTERFACE "Namespace", with what the runtimes' files tell.

Knows nothing of what is in a namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from netdoctor.collect.saved.layout import HOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netdoctor.collect.workloads import FoundWorkload
    from netdoctor.model.snapshot import Network, Workload

HOST_NAME = "host"
_MADE_UP = ("cni-", "netns-")
_FOLDER = "netns-"  # the collector's folders are called after the inode


class Names:
    """Names by the folder's keys: `HOST`, a container's name, `NAMESPACE/POD`, `netns-INODE`."""

    def __init__(self, workloads: Sequence[FoundWorkload], lines: str) -> None:
        """`lines`: the collector's namespaces.txt, `INODE pid PID`, `INODE path PATH` or `INODE own`."""
        self._workloads = workloads
        self._pids: dict[int, list[int]] = {}
        self._paths: dict[int, list[str]] = {}
        self._own: int | None = None
        self._taken = {HOST_NAME}
        self._keys: dict[str, str] = {HOST: HOST_NAME}
        for line in lines.splitlines():
            self._add_line(line.split(maxsplit=2))

    def _add_line(self, words: list[str]) -> None:
        if len(words) < 2 or not words[0].isdecimal():
            return
        inode = int(words[0])
        if words[1] == "own":
            self._own = inode
        elif len(words) == 3 and words[1] == "pid" and words[2].isdecimal():
            self._pids.setdefault(inode, []).append(int(words[2]))
        elif len(words) == 3 and words[1] == "path":
            self._paths.setdefault(inode, []).append(words[2])

    def is_hosts(self, key: str) -> bool:
        """Whether a key's files were read inside a container that has no namespace of its own, but the host's."""
        named = [one.workload for one in self._workloads if key in _names(one.workload)]
        return key != HOST and bool(named) and all(self._is_on_host(one) for one in named)

    def _is_on_host(self, workload: Workload, depth: int = 0) -> bool:
        mode = workload.network_mode or ""
        if mode.startswith("container:") and depth < 8:
            joined = [one.workload for one in self._workloads if _is_called(one.workload, mode[len("container:") :])]
            return bool(joined) and self._is_on_host(joined[0], depth + 1)
        return mode == "host"

    def of(self, key: str) -> tuple[str, tuple[str, ...], int | None, tuple[int, ...]]:
        """Return a namespace's name, aliases, inode and processes; no name is given twice."""
        inode = self._inode(key)
        names = self._every_name(key, inode)
        name = HOST_NAME if key == HOST else next((one for one in names if one not in self._taken), key)
        self._taken.add(name)
        self._keys[key] = name
        aliases = tuple(dict.fromkeys(one for one in names if one != name))
        return name, aliases, inode, tuple(sorted(self._pids.get(inode or -1, ())))

    def _inode(self, key: str) -> int | None:
        if key == HOST:
            return self._own
        number = key.removeprefix(_FOLDER)
        return int(number) if key.startswith(_FOLDER) and number.isdecimal() else None

    def _every_name(self, key: str, inode: int | None) -> list[str]:
        # A container in the host's network does not name the host.
        workloads = [one.workload for one in self._workloads if key != HOST and self._lives_in(one, key, inode)]
        names = [f"{one.pod_namespace}/{one.pod}" for one in workloads if one.pod and one.pod_namespace]
        names += [one.name for one in workloads]
        made_up = []
        if inode is None and key != HOST:
            names.append(key)
        elif inode is not None:
            given = [path.rpartition("/")[2] for path in self._paths.get(inode, ())]
            made_up = [name for name in given if name.startswith(_MADE_UP)]
            names += [name for name in given if not name.startswith(_MADE_UP)]
            names += [f"pid:{pid}" for pid in sorted(self._pids.get(inode, ()))[:1]]
            names.append(f"netns:{inode}")
        return names + made_up + [one.id for one in workloads]

    def _lives_in(self, one: FoundWorkload, key: str, inode: int | None) -> bool:
        if inode is None:
            return not self._is_on_host(one.workload) and (
                key in _names(one.workload) or key in self._joined(one.workload)
            )
        return (one.netns_path is not None and _same_path(one.netns_path, self._paths.get(inode, ()))) or (
            one.workload.pid is not None and one.workload.pid in self._pids.get(inode, ())
        )

    def _joined(self, workload: Workload) -> tuple[str, ...]:
        """The names of the container whose network a container joined."""
        mode = workload.network_mode or ""
        if not mode.startswith("container:"):
            return ()
        return tuple(
            name
            for one in self._workloads
            if _is_called(one.workload, mode[len("container:") :])
            for name in _names(one.workload)
        )

    def placed(self, names: Iterable[str]) -> tuple[Workload, ...]:
        """Return the workloads with the names of their namespaces, where those were saved."""
        saved = set(names)
        return tuple(replace(one.workload, netns=self._namespace_of(one, saved)) for one in self._workloads)

    def _namespace_of(self, one: FoundWorkload, saved: set[str]) -> str | None:
        if self._is_on_host(one.workload):
            return HOST_NAME if HOST_NAME in saved else None
        if self._own is not None and self._lives_in(one, HOST, self._own):
            return HOST_NAME
        return next(
            (name for key, name in self._keys.items() if key != HOST and self._lives_in(one, key, self._inode(key))),
            None,
        )

    def parents(self, networks: Sequence[Network]) -> dict[str, frozenset[str]]:
        """Return namespace -> the host's interfaces that its networks are on (option `parent` of macvlan, ipvlan)."""
        by_network = {network.name: network.options["parent"] for network in networks if "parent" in network.options}
        found: dict[str, frozenset[str]] = {}
        for key, name in self._keys.items():
            if key == HOST:
                continue
            living = [one.workload for one in self._workloads if self._lives_in(one, key, self._inode(key))]
            joined = [network for workload in living for network in workload.networks]
            found[name] = frozenset(by_network[network] for network in joined if network in by_network)
        return found


def _names(workload: Workload) -> tuple[str, ...]:
    pod = f"{workload.pod_namespace}/{workload.pod}" if workload.pod and workload.pod_namespace else workload.name
    return workload.name, workload.id, workload.id[:12], pod


def _is_called(workload: Workload, text: str) -> bool:
    return text in {workload.id, workload.name} - {""}


def _same_path(path: str, others: Iterable[str]) -> bool:
    """/var/run is /run on every current system."""
    return any(path.removeprefix("/var") == other.removeprefix("/var") for other in others)
