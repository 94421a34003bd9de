"""What `ip address` prints for people, turned into what it prints with -j. Pure functions: text in, text out.

Knows nothing of the model, of other commands, or of where the text comes from.

Source: iproute2, ip/ipaddress.c:print_linkinfo, print_addrinfo.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import msgspec

from netdoctor.model.errors import SnapshotError

Json = dict[str, Any]

_HEAD = re.compile(r"(?P<index>\d+): (?P<name>[^\s:@]+)(@(?P<lower>[^\s:]+))?: <(?P<flags>[^>]*)> (?P<words>.*)")
_INDEX = re.compile(r"if(\d+)")
_FLAGS = frozenset({
    "secondary", "deprecated", "tentative", "dadfailed", "nodad", "noprefixroute", "temporary", "optimistic", "home",
    "mngtmpaddr", "autojoin", "dynamic", "permanent",
})  # fmt: skip
_KINDS = frozenset({"bridge", "veth"})  # of others, the details decide what they do: those need -j


def as_json(text: str) -> str:
    """Return what `ip address`, or `ip -d address`, printed as `ip -j address` would have.

    Raises: SnapshotError where it is something else.
    """
    return msgspec.json.encode(_items(text)).decode()


def _items(text: str) -> list[Json]:
    found: list[Json] = []
    for number, line in enumerate(text.splitlines(), 1):
        head = _HEAD.fullmatch(line.rstrip())
        if head is not None:
            found.append(_interface(head))
        elif line.strip() and (not found or not line.startswith(" ") or not _detail(found[-1], line.split())):
            raise SnapshotError(f"line {number} is not what `ip address` prints: {line.strip()[:60]!r}")
    return found


def _interface(head: re.Match[str]) -> Json:
    words = head["words"].split()
    said = dict(zip(words[::2], words[1::2], strict=False))
    item: Json = {
        "ifindex": int(head["index"]),
        "ifname": head["name"],
        "flags": head["flags"].split(","),
        "operstate": said.get("state", "UNKNOWN"),
        "addr_info": [],
    }
    if said.get("mtu", "").isdecimal():
        item["mtu"] = int(said["mtu"])
    if "master" in said:
        item["master"] = said["master"]
    if said.get("group", "default") != "default":
        item["group"] = said["group"]
    lower = head["lower"]
    if lower is not None:
        elsewhere = _INDEX.fullmatch(lower)
        item |= {"link": lower} if elsewhere is None else {"link_index": int(elsewhere[1]), "link_netnsid": "?"}
    return item


def _detail(item: Json, words: list[str]) -> bool:
    """Read an indented line; False where it cannot be read. What decides no packet's fate is passed over."""
    said = dict(zip(words[2::2], words[3::2], strict=False))
    if words[0].startswith("link/"):
        item["link_type"] = words[0].removeprefix("link/")
        if len(words) > 1:
            item["address"] = words[1]
        if "promiscuity" in said:  # printed with -d only
            item["promiscuity"] = said["promiscuity"]
        if said.get("link-netnsid", "").isdecimal():
            item["link_netnsid"] = int(said["link-netnsid"])
    elif words[0] in {"inet", "inet6"} and len(words) > 1:
        entry = _address(words)
        if entry is None:
            return False
        item["addr_info"].append(entry)
    elif words[0] == "altname" and len(words) > 1:
        item.setdefault("altnames", []).append(words[1])
    elif words[0] in _KINDS:
        item["linkinfo"] = item.get("linkinfo", {}) | {"info_kind": words[0], "info_data": _options(words[1:])}
    elif words[0] == "bridge_slave":
        item["linkinfo"] = item.get("linkinfo", {}) | {
            "info_slave_kind": "bridge", "info_slave_data": _options(words[1:]),
        }  # fmt: skip
    return True


def _address(words: list[str]) -> Json | None:
    """`inet 10.0.0.10/24 brd 10.0.0.255 scope global dynamic eth0`, `inet 10.0.0.1 peer 10.0.0.2/32 scope global`."""
    said = dict(pairwise(words))
    local, _, length = words[1].partition("/")
    entry: Json = {"family": words[0], "local": local, "scope": said.get("scope", "global")}
    if "peer" in said:
        entry["address"], _, length = said["peer"].partition("/")
    if not length.isdecimal():
        return None
    entry["prefixlen"] = int(length)
    if "brd" in said:
        entry["broadcast"] = said["brd"]
    if words[0] == "inet" and words[-1] not in _FLAGS and words[-2] != "scope":
        entry["label"] = words[-1]
    return entry | {word: True for word in words if word in _FLAGS}


def _options(words: list[str]) -> Json:
    """`stp_state 0 …`, `hairpin off isolated on`: numbers and switches; other words have no values of ours."""
    switches = {"on": True, "off": False}
    return {
        name: switches[value] if value in switches else int(value) if value.isdecimal() else value
        for name, value in pairwise(words)
        if value in switches or value.isdecimal() or name == "state"
    }
