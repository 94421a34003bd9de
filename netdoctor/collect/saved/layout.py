"""Which file of a saved folder holds which section of which namespace, by its name alone.

Knows nothing of what is in a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = ""  # the folder itself: the namespace where it was saved

# Names of files -> section. Where several name the same section, the first one that is there is used.
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "ip-link": ("ip-link.json",),
    "ip-addr": ("ip-addr.json", "ip-address.json", "ip-addr.txt", "ip-address.txt"),
    "ip-route": ("ip-route.json",),
    "ip-6-route": ("ip-6-route.json",),
    "ip-rule": ("ip-rule.json",),
    "ip-6-rule": ("ip-6-rule.json",),
    "ip-neigh": ("ip-neigh.json",),
    "ip-6-neigh": ("ip-6-neigh.json",),
    "ip-neigh-proxy": ("ip-neigh-proxy.json",),
    "ip-nexthop": ("ip-nexthop.json",),
    "ip-xfrm-policy": ("ip-xfrm-policy.txt",),
    "bridge-link": ("bridge-link.json",),
    "bridge-fdb": ("bridge-fdb.json",),
    "bridge-vlan": ("bridge-vlan.json",),
    "sysctl": ("sysctl.txt",),
    "conntrack": ("conntrack.txt",),
    "conntrack-6": ("conntrack-6.txt",),
    "conntrack-stats": ("proc-net-stat-nf_conntrack.txt",),
    "snmp": ("proc-net-snmp.txt",),
    "netstat": ("proc-net-netstat.txt",),
    "snmp6": ("proc-net-snmp6.txt",),
    "ss": ("ss.txt",),
    "iptables": ("iptables-save-c.txt", "iptables-save.txt"),
    "ip6tables": ("ip6tables-save-c.txt", "ip6tables-save.txt"),
    "iptables-nft": ("iptables-nft-save-c.txt", "iptables-nft-save.txt"),
    "ip6tables-nft": ("ip6tables-nft-save-c.txt", "ip6tables-nft-save.txt"),
    "iptables-legacy": ("iptables-legacy-save-c.txt", "iptables-legacy-save.txt"),
    "ip6tables-legacy": ("ip6tables-legacy-save-c.txt", "ip6tables-legacy-save.txt"),
    "ebtables": ("ebtables-save-c.txt", "ebtables-save.txt", "ebtables-nft-save.txt"),
    "ebtables-legacy": ("ebtables-legacy-save.txt",),
    "arptables": ("arptables-save.txt", "arptables-nft-save.txt"),
    "nft": ("nft.json", "nft-list-ruleset.json"),
    "nft-hooks": ("nft-list-hooks.txt",),
    "nft-chains": ("nft-list-chains.txt",),
    "ipset": ("ipset-save.txt",),
    "ipvs": ("proc-net-ip_vs.txt", "ipvsadm-save.txt"),
    "not-read": ("not-read.txt",),  # the collector's: why a file is not there
}
# Of the whole host, only in the folder itself.
HOST_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "docker-inspect": ("docker-inspect.json",),
    "docker-network-inspect": ("docker-network-inspect.json",),
    "podman-inspect": ("podman-inspect.json",),
    "podman-network-inspect": ("podman-network-inspect.json",),
    "cni-results": ("cni-results.json",),
    "docker-info": ("docker-info.json",),
    "podman-info": ("podman-info.json",),
    "meta": ("meta.json",),
    "collector": ("collector.txt",),
    "namespaces": ("namespaces.txt",),
}
_BY_FILE = {file: (section, rank) for section, files in SECTIONS.items() for rank, file in enumerate(files)}
SECTION_OF = {file: section for file, (section, _) in _BY_FILE.items()}
_HOST_BY_FILE = {file: section for section, files in HOST_SECTIONS.items() for file in files}
_PREFIX = "container-"
# The text of what another file holds as JSON says nothing more.
_TWINS = {"nft-list-ruleset.txt": "nft", "nft.txt": "nft"}


@dataclass(slots=True)
class Layout:
    """Section -> path, for the host and for every namespace; and the paths that mean nothing here."""

    host: dict[str, str] = field(default_factory=dict)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)  # key: HOST, "NAME", "NAMESPACE/POD"
    not_understood: list[str] = field(default_factory=list)


def lay_out(names: list[str]) -> Layout:
    """Sort the paths of a folder into sections."""
    layout = Layout(namespaces={HOST: {}})
    ranks: dict[tuple[str, str], int] = {}
    unknown = []
    for path in names:
        folder, _, file = path.rpartition("/")
        if not folder and file in _HOST_BY_FILE:
            layout.host[_HOST_BY_FILE[file]] = path
            continue
        key, file = _split(folder, file)
        if file not in _BY_FILE:
            unknown.append((path, key, file))
            continue
        section, rank = _BY_FILE[file]
        sections = layout.namespaces.setdefault(key, {})
        if section not in sections or rank < ranks[key, section]:
            sections[section] = path
            ranks[key, section] = rank
    layout.not_understood += [
        path for path, key, file in unknown if _TWINS.get(file, "?") not in layout.namespaces.get(key, {})
    ]
    return layout


def _split(folder: str, file: str) -> tuple[str, str]:
    """Return whose file it is and its plain name: `container-NAME.FILE` is another namespace's; NAME may hold dots."""
    if folder or not file.startswith(_PREFIX):
        return folder, file
    rest = file[len(_PREFIX) :]
    for known in (*_BY_FILE, *_TWINS):
        if rest.endswith(f".{known}"):
            return rest[: -len(known) - 1], known
    return folder, file
