"""The devices of nft's ingress and egress chains, which older tools leave out of their JSON, from `nft list chains`.

Knows nothing of rules. Source: nftables src/json.c:chain_print_json, src/rule.c:chain_print_declaration
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

_ON_DEVICES = re.compile(r'"hook":\s*"(?:ingress|egress)"')
_LINE = re.compile(
    r"^\s*(?:table (?P<family>\S+) (?P<table>\S+) \{"
    r"|chain (?P<chain>\S+) \{"
    r"|type .* hook (?:ingress|egress) devices? (?P<devices>=? ?\{[^}]*\}|\S+) )",
    re.MULTILINE,
)


def completed(text: str, chains: Callable[[], str]) -> str:
    """Return what `nft -j list ruleset` wrote with the devices of every chain; `chains` lists the chains as text.

    Raises: NetdoctorError where `chains` does, msgspec.DecodeError where the text is not JSON.
    """
    if not _ON_DEVICES.search(text):
        return text
    document = msgspec.json.decode(text)
    lacking = [one for one in _chains(document) if one.get("hook") in {"ingress", "egress"} and "dev" not in one]
    if not lacking:
        return text
    devices = listed(chains())
    for one in lacking:
        found = devices.get((one["family"], one["table"], one["name"]))
        if found:
            one["dev"] = found
    return msgspec.json.encode(document).decode()


def _chains(document: Any) -> list[dict[str, Any]]:
    return [item["chain"] for item in document["nftables"] if "chain" in item]


def listed(text: str) -> dict[tuple[str, str, str], list[str]]:
    """Return the devices of each chain that `nft list chains` printed: by family, table and chain."""
    found: dict[tuple[str, str, str], list[str]] = {}
    family = table = chain = ""
    for match in _LINE.finditer(text):
        if match["family"]:
            family, table = match["family"], match["table"]
        elif match["chain"]:
            chain = match["chain"]
        else:
            names = re.findall(r'[^\s{},="]+', match["devices"])
            found[family, table, chain] = names
    return found
