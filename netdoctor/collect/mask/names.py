"""Names mapped to others of the same length and shape, so that what begins alike still begins alike (`veth+`).

Knows nothing of where a name stands. Each character turns within its class (letters, digits) by a keyed hash of the
characters before it; names that only say a kind (`eth0`, `docker0`, `kube-system`) stay.
"""

from __future__ import annotations

import re
from hashlib import blake2b

_LOWER, _UPPER, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
_CLASSES = (_LOWER, _UPPER, _DIGITS)
_HEX_CLASSES = ("0123456789abcdef", "ghijklmnopqrstuvwxyz", _UPPER)

# Interfaces: how names of a kind begin. Of those that number their kind, the number stays too.
NUMBERED = (
    "eth", "cni", "cni-podman", "docker", "bond", "team", "wlan", "wwan", "dummy", "ifb", "br", "virbr", "podman",
    "tunl",
    "gre", "gretap", "erspan", "sit", "ip6tnl", "ip6gre", "ip6_vti", "ip_vti", "tun", "tap", "wg", "ppp", "ib",
    "kube-ipvs",
    "kube-bridge", "flannel", "flannel-v6", "lxcbr", "lxdbr", "incusbr", "vnet", "macvtap", "macvlan", "ipvlan",
    "vxlan",
    "geneve", "weave", "ovs-system", "lo", "vlan", "tailscale", "nodelocaldns", "vmnet", "zt",
)  # fmt: skip
STEMS = (
    "veth", "br-", "cali", "lxc", "azv", "eni", "gke", "nic", "tap", "vxlan.calico", "vxlan-v6.calico",
    "wireguard.cali",
    "cilium_host", "cilium_net", "cilium_vxlan", "cilium_geneve", "docker_gwbridge", "vm", "qvo", "qvb", "qbr", "dm-",
    "weave", "vethwe",
)  # fmt: skip
_BY_SLOT = re.compile(r"en[opsP][0-9a-zA-Z]*\Z")  # systemd.net-naming-scheme(7): where a NIC sits, no address
_VLAN = re.compile(r"[0-9.@]*\Z")

WELL_KNOWN = frozenset({
    "", "all", "any", "bridge", "cbr0", "default", "docker_gwbridge", "host", "ingress", "k8s-pod-network",
    "kube-node-lease",
    "kube-public", "kube-system", "localhost", "none", "null", "outside", "podman", "private",
})  # fmt: skip
_MADE_UP = ("cni-", "netns-")
_HEX_ID = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{12,64}(?![0-9A-Za-z])")


class Names:
    """Names by what they name."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[tuple[bytes, str], str] = {}
        self._begun: set[str] = set()
        for stem in (*NUMBERED, *STEMS):
            self._begun.update(stem[:length] for length in range(1, len(stem) + 1))

    def name(self, text: str) -> str:
        """Return what the name of a pod, container, network or namespace becomes; parts between `/` are names."""
        return self._remembered(b"name", text, self._name)

    def _name(self, text: str) -> str:
        if text in WELL_KNOWN:
            return text
        if "/" in text:
            return "/".join(self.name(part) for part in text.split("/"))
        start = next((len(stem) for stem in _MADE_UP if text.startswith(stem)), 0)
        if not start and _HEX_ID.fullmatch(text):
            return self.identity(text)
        return "".join(
            character if index < start else self._turn(b"name", text[:index], character, _CLASSES)
            for index, character in enumerate(text)
        )

    def host(self, text: str) -> str:
        """Return what a host's name becomes, label by label."""
        return ".".join(self.name(label) for label in text.split("."))

    def identity(self, text: str) -> str:
        """Return what a hexadecimal id becomes; a beginning of it becomes the beginning of that."""
        return self._remembered(b"id", text, self._identity)

    def _identity(self, text: str) -> str:
        return "".join(self._turn(b"id", text[:index], character, _HEX_CLASSES) for index, character in enumerate(text))

    def interface(self, text: str) -> str:
        """Return what an interface's name, or the beginning of one, becomes."""
        return self._remembered(b"interface", text, self._interface)

    def _interface(self, text: str) -> str:
        return "".join(self._interface_character(text[:index], text[index]) for index in range(len(text)))

    def _interface_character(self, before: str, character: str) -> str:
        after = before + character
        if after in self._begun or _BY_SLOT.match(after):
            return character
        if any(after.startswith(stem) and _VLAN.match(after[len(stem) :]) for stem in NUMBERED):
            return character
        if before.startswith("br-"):  # Docker's bridges are called after the network's id
            return self._turn(b"id", before[3:], character, _HEX_CLASSES)
        kept = "".join(one for one in _LOWER + _UPPER + _DIGITS if self._is_kept(before, one))
        classes = tuple("".join(one for one in members if one not in kept) for members in _CLASSES)
        return self._turn(b"interface", before, character, classes)

    def _is_kept(self, before: str, character: str) -> bool:
        after = before + character
        return (
            after in self._begun
            or _BY_SLOT.match(after) is not None
            or any(after.startswith(stem) and _VLAN.match(after[len(stem) :]) is not None for stem in NUMBERED)
        )

    def _remembered(self, kind: bytes, text: str, mapping: object) -> str:
        found = self._known.get((kind, text))
        if found is None:
            assert callable(mapping)
            found = self._known[kind, text] = str(mapping(text))
        return found

    def _turn(self, kind: bytes, before: str, character: str, classes: tuple[str, ...]) -> str:
        members = next((members for members in classes if character in members), None)
        if members is None or len(members) < 2:
            return character
        data = before.encode("utf-8", "surrogateescape") + b"\0" + members.encode()
        digest = blake2b(data, key=self._key, person=kind, digest_size=8).digest()
        step = 1 + int.from_bytes(digest) % (len(members) - 1)  # never 0: a name never stays by chance
        return members[(members.index(character) + step) % len(members)]


class Renamer:
    """The names that changed, found again inside chain names, set names and messages."""

    def __init__(self, names: Names, changed: dict[str, str]) -> None:
        self._names = names
        self._by_start: dict[str, list[tuple[str, str]]] = {}
        self._known: dict[str, str] = {}
        for old, new in sorted(changed.items(), key=lambda pair: -len(pair[0])):
            start = _START.match(old)
            if old != new and start is not None and old not in RESERVED:
                self._by_start.setdefault(start[0], []).append((old, new))

    def text(self, text: str) -> str:
        """Return a text with every name in it mapped that stands by itself, and every long hexadecimal id."""
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = self._text(text)
        return found

    def _text(self, text: str) -> str:
        parts: list[str] = []
        end = 0
        for match in _WORD.finditer(text):
            position = match.start()
            if position < end:
                continue
            parts.append(text[end:position])
            old, new = self._at(text, position, match[0])
            parts.append(new)
            end = position + len(old)
        parts.append(text[end:])
        return "".join(parts)

    def _at(self, text: str, position: int, word: str) -> tuple[str, str]:
        for old, new in self._by_start.get(word, ()):
            after = text[position + len(old) : position + len(old) + 1]
            if text.startswith(old, position) and not (after.isalnum() and after.isascii()):
                return old, new
        if _HEX_ID.fullmatch(word) and not word.isdecimal():
            return word, self._names.identity(word)
        return word, word


_START = re.compile(r"[0-9A-Za-z]+")
_WORD = re.compile(r"[0-9A-Za-z]+")
# Words of the rulesets' languages and of programs that own chains: never taken for a name inside a chain's name.
RESERVED = frozenset(
    [
        "ACCEPT",
        "DROP",
        "REJECT",
        "RETURN",
        "MASQUERADE",
        "DNAT",
        "SNAT",
        "MARK",
        "LOG",
        "INPUT",
        "OUTPUT",
        "FORWARD",
        "PREROUTING",
        "POSTROUTING",
        "accept",
        "drop",
        "reject",
        "return",
        "input",
        "output",
        "forward",
        "prerouting",
        "postrouting",
        "ingress",
        "egress",
        "filter",
        "nat",
        "mangle",
        "raw",
        "security",
        "ip",
        "ip6",
        "inet",
        "arp",
        "bridge",
        "netdev",
        "tcp",
        "udp",
        "icmp",
        "icmpv6",
        "sctp",
        "table",
        "chain",
        "hook",
        "set",
        "map",
        "type",
        "policy",
        "priority",
        "device",
        "kube",
        "KUBE",
        "SVC",
        "SEP",
        "XLB",
        "EXT",
        "FW",
        "MARK",
        "docker",
        "DOCKER",
        "USER",
        "ISOLATION",
        "STAGE",
        "CT",
        "INTERNAL",
        "BRIDGE",
        "cali",
        "cni",
        "CNI",
        "HOSTPORT",
        "DN",
        "netavark",
        "NETAVARK",
        "flannel",
        "FLANNEL",
        "FLOWOFFLOAD",
        "libvirt",
        "LIBVIRT",
        "firewalld",
        "ufw",
        "ufw6",
        "istio",
        "ISTIO",
        "tailscale",
        "ts",
        "cilium",
        "CILIUM",
        "weave",
        "WEAVE",
        "podman",
        "netdoctor",
        "NETDOCTOR",
        "services",
        "nodeports",
        "masquerading",
        "in",
        "out",
        "to",
        "from",
        "pre",
        "post",
        "before",
        "after",
        "user",
        "logging",
        "allow",
        "deny",
        "track",
        "limit",
        "skip",
        "not",
        "local",
        "public",
        "zone",
    ]
)
