"""What a namespace is called: INTERFACE "Namespace". Knows nothing of what is in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from netdoctor.model.errors import UnknownNamespaceError
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netdoctor.collect.namespaces import FoundNamespace
    from netdoctor.collect.workloads import FoundWorkload
    from netdoctor.model.snapshot import Workload

_MADE_UP = ("cni-", "netns-")


@dataclass(frozen=True, slots=True)
class Named:
    """A namespace with its name and its other names."""

    name: str
    aliases: tuple[str, ...]
    found: FoundNamespace
    own: bool


def name(found: Mapping[int, FoundNamespace], workloads: Sequence[FoundWorkload], own: int) -> tuple[Named, ...]:
    """Name every namespace; the caller's own comes first, the others in the order of their names."""
    living: dict[int, list[Workload]] = {}
    for one in workloads:
        inode = one.inode(found)
        if inode is not None:
            living.setdefault(inode, []).append(one.workload)
    taken: set[str] = set()
    named = []
    for inode, namespace in sorted(found.items(), key=lambda item: (item[0] != own, item[0])):
        names = [name for name in _names(namespace, living.get(inode, ()), own=inode == own) if name]
        first = next((name for name in names if name not in taken), f"netns:{inode}")
        taken.add(first)
        aliases = tuple(dict.fromkeys(name for name in names if name != first))
        named.append(Named(first, aliases, namespace, inode == own))
    return (*named[:1], *sorted(named[1:], key=lambda one: one.name))


def _names(namespace: FoundNamespace, workloads: Sequence[Workload], *, own: bool) -> list[str]:
    """Every name, the best first."""
    names = ["host"] if own else []
    workloads = [] if own else list(workloads)  # a container of the host's network does not name the host
    names += [f"{one.pod_namespace}/{one.pod}" for one in workloads if one.pod and one.pod_namespace]
    names += [one.name for one in workloads]
    names += [given for given in namespace.names if not given.startswith(_MADE_UP)]
    names += [f"pid:{pid}" for pid in sorted(namespace.pids)[:1]]
    names.append(f"netns:{namespace.inode}")
    names += [given for given in namespace.names if given.startswith(_MADE_UP)]
    return names + [one.id for one in workloads]


def choose(named: Sequence[Named], wanted: Sequence[str]) -> tuple[Named, ...]:
    """Return the namespaces that `wanted` names. Raises: UnknownNamespaceError."""
    return tuple(dict.fromkeys(_one(named, text) for text in wanted))


def _one(named: Sequence[Named], text: str) -> Named:
    for fits in (_is_called, _ends_with, _begins_id):
        fitting = [one for one in named if fits(one, text)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            listed = ", ".join(printable(one.name) for one in fitting[:8])
            raise UnknownNamespaceError(
                f"{printable(text)!r} fits several namespaces: {listed}", "name one of them in full"
            )
    raise UnknownNamespaceError(
        f"no namespace {printable(text)!r} on this host", "`netdoctor snapshot --list` prints all"
    )


def _is_called(one: Named, text: str) -> bool:
    return text == one.name or text in one.aliases


def _ends_with(one: Named, text: str) -> bool:
    return one.name.endswith((f"/{text}", f"-{text}"))


def _begins_id(one: Named, text: str) -> bool:
    return len(text) >= 4 and any(alias.startswith(text) for alias in one.aliases)


def placed(workloads: Sequence[FoundWorkload], named: Sequence[Named]) -> tuple[Workload, ...]:
    """Return the workloads with the names of their namespaces."""
    found = {one.found.inode: one.found for one in named}
    names = {one.found.inode: one.name for one in named}
    return tuple(replace(one.workload, netns=names.get(one.inode(found) or 0)) for one in workloads)
