"""Where the other end of a veth pair is: found by what both ends say, since saved output names no namespace.

Knows nothing of files. A pair that fits several places stays unknown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netdoctor.model.snapshot import Link, Namespace


def place(
    namespaces: Sequence[Namespace], nsids: Mapping[str, Mapping[str, int]], parents: Mapping[str, frozenset[str]]
) -> tuple[Namespace, ...]:
    """Return the namespaces with `parent_netns` set wherever both ends of a link were saved.

    `nsids`: namespace -> interface -> the kernel's id of the namespace of the other end. `parents`: namespace -> the
    host's interfaces that its macvlan or ipvlan interfaces are on, as the runtime says.
    """
    candidates = _veth_candidates(namespaces)
    known = _by_nsid(namespaces, nsids, candidates)
    by_name = {netns.name: {link.ifindex: link for link in netns.links} for netns in namespaces}

    def placed(netns: Namespace, link: Link) -> Link:
        if link.parent_netns != "?":
            return link
        nsid = nsids.get(netns.name, {}).get(link.name, -1)
        where = known.get((netns.name, nsid))
        fitting = candidates.get((netns.name, link.name), [])
        if link.kind == "veth":
            found = where if where in fitting else fitting[0] if where is None and len(fitting) == 1 else None
        elif where is None:
            found = _host_of(namespaces, by_name, netns, link, parents.get(netns.name, frozenset()))
        else:
            found = where
        if found is None:
            return link
        other = by_name[found].get(link.parent_index or 0)
        return replace(link, parent_netns=found, parent=other.name if other else link.parent)

    return tuple(replace(netns, links=tuple(placed(netns, link) for link in netns.links)) for netns in namespaces)


def _veth_candidates(namespaces: Sequence[Namespace]) -> dict[tuple[str, str], list[str]]:
    """(namespace, veth) -> the namespaces with a veth that points back at it."""
    ends: dict[tuple[int, int], list[str]] = defaultdict(list)  # (its index, its peer's index) -> namespaces
    for netns in namespaces:
        for link in netns.links:
            if link.kind == "veth" and link.parent_netns == "?" and link.parent_index is not None:
                ends[link.ifindex, link.parent_index].append(netns.name)
    return {
        (netns.name, link.name): [
            other for other in ends.get((link.parent_index or 0, link.ifindex), ()) if other != netns.name
        ]
        for netns in namespaces
        for link in netns.links
        if link.kind == "veth" and link.parent_netns == "?"
    }


def _by_nsid(
    namespaces: Sequence[Namespace],
    nsids: Mapping[str, Mapping[str, int]],
    candidates: Mapping[tuple[str, str], Sequence[str]],
) -> dict[tuple[str, int], str]:
    """(namespace, nsid) -> the one namespace that every veth with this nsid allows; ids differ between namespaces."""
    allowed: dict[tuple[str, int], set[str]] = {}
    for netns in namespaces:
        for name, nsid in nsids.get(netns.name, {}).items():
            fitting = candidates.get((netns.name, name))
            if fitting is None:
                continue
            key = (netns.name, nsid)
            allowed[key] = allowed[key] & set(fitting) if key in allowed else set(fitting)
    known = {key: next(iter(fitting)) for key, fitting in allowed.items() if len(fitting) == 1}
    uses = Counter((name, other) for (name, _), other in known.items())
    return {key: other for key, other in known.items() if uses[key[0], other] == 1}  # two ids are two namespaces


def _host_of(
    namespaces: Sequence[Namespace],
    by_name: Mapping[str, Mapping[int, Link]],
    netns: Namespace,
    link: Link,
    parents: frozenset[str],
) -> str | None:
    """A macvlan's lower device: the host's, where the runtime's network names the interface with this very index."""
    host = namespaces[0].name
    lower = by_name[host].get(link.parent_index or 0)
    return host if netns.name != host and lower is not None and lower.name in parents else None
