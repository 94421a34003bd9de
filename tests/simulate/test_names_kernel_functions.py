"""Whatever models the kernel names the kernel function that it follows, so that the two can be laid side by side."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

NETDOCTOR = Path(__file__).resolve().parents[2] / "netdoctor"
# These model nothing of the kernel: they read flows, run walks, put answers together and write them down.
NO_KERNEL = {"__init__", "bypass", "choices", "engine", "flows", "frame", "run", "trace"}
# Nor do these, in modules that do: they look something up in the snapshot, or say something to a person.
HELPERS = {
    "bridge": {"_drop", "_static", "netfilter_sysctl"},
    "conntrack": {"Conntrack.connections", "_connection", "_keys", "tuples"},
    "deliver": {"_nearly", "_rules6", "is_datagram"},
    "device": {"_next_host", "is_uplink", "leave", "unmodelled"},
    "fib": {"Found.kind", "Found.text", "fib", "route_text"},
    "hooks": {"At.here", "_asked", "conntrack_of"},
    "layer2": {"_chains", "_on", "anywhere"},
    "native": {"BaseChain.label", "_all", "_place_of", "base_chains", "tables_of"},
    "neighbour": {"_why_nobody", "link_local"},
    "order": {"Place.walk", "_assumed"},
    "routing": {"_end", "key_of"},
    "sockets": {"bound_to", "known", "text"},
    "surroundings": {"Here.clock", "Here.device_group", "Here.ipset", "Here.sysctl"},
    "tables": {"Place.label", "_action", "note", "place_of", "places"},
    "tunnel": {"leads_outside"},
}
SMALL = 10  # lines: a smaller private function is a part of the one that calls it
_FILE = re.compile(r"\b[\w/]+\.[ch]:[A-Za-z_]\w+")
_FUNCTION = re.compile(r"\((?:[^()]*[\s,;:])?_{0,2}[a-z0-9]+(?:_[a-z0-9]+)+(?:[\s,;:][^()]*)?\)")
MODULES = sorted(path for path in (NETDOCTOR / "simulate").glob("*.py") if path.stem not in NO_KERNEL)


def functions(body: list[ast.stmt], of: str = "") -> Iterator[tuple[str, str]]:
    """The functions and methods that others call, and private ones that are not small, with their docstrings."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("__"):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines >= SMALL or not node.name.startswith("_"):
                yield f"{of}{node.name}", ast.get_docstring(node) or ""


def unnamed(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {name for name, text in functions(tree.body) if not _FILE.search(text) and not _FUNCTION.search(text)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_function_that_models_the_kernel_names_what_it_follows(path: Path) -> None:
    assert unnamed(path) - HELPERS.get(path.stem, set()) == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_module_names_the_files_of_the_kernel_that_it_follows(path: Path) -> None:
    assert _FILE.search(ast.get_docstring(ast.parse(path.read_text())) or "")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Take a packet in (ip_rcv, ipv6_rcv).", True),
        ("Whether it fits. Source: net/ipv4/udp.c:udp_queue_rcv_skb", True),
        ("Order the chains (nf_hook_entries_grow: of equal priorities the last comes first).", True),
        ("Which comes first (the one with the lower number).", False),
        ("As udp.c does.", False),
        ("Call ip_rcv at some time.", False),
    ],
)
def test_a_name_is_a_function_in_parentheses_or_behind_its_file(text: str, names: bool) -> None:
    assert bool(_FILE.search(text) or _FUNCTION.search(text)) is names
