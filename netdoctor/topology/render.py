"""The graph for people and programs: text, Graphviz, Mermaid, GraphML.

Every name is escaped: names come from strangers.

Knows nothing of where the graph came from.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from netdoctor.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.model.snapshot import Link
    from netdoctor.topology.namespace import Netns
    from netdoctor.topology.world import World

_XML_INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(world: World) -> str:
    """Return the namespaces with their interfaces as lines to read."""
    lines: list[str] = []
    for netns in world.namespaces.values():
        lines.append(printable(netns.name))
        for link in sorted(netns.snapshot.links, key=lambda link: link.ifindex):
            if link.master is None or link.master not in netns.links:
                lines += _lines(netns, link, 1)
    return "\n".join(lines) + "\n" if lines else ""


def _lines(netns: Netns, link: Link, depth: int) -> Iterator[str]:
    yield "  " * depth + printable(_described(netns, link))
    for port in netns.bridge_ports(link.name):
        yield from _lines(netns, port, depth + 1)


def _described(netns: Netns, link: Link) -> str:
    words = [link.name]
    if link.kind is not None:
        words.append(link.kind)
    words += [f"{entry.address}/{entry.prefixlen}" for entry in link.addresses if entry.scope != "link"]
    if not link.is_up:
        words.append("DOWN")
    flags = _graph(netns.world).nodes[(netns.name, link.name)]["flags"]
    if flags:
        words.append("[" + ", ".join(flags) + "]")
    far = netns.peer(link)
    if far is not None:
        words.append(f"<-> {far[0].name} {far[1].name}")
    elif link.kind == "veth":
        words.append("<-> a namespace that was not read")
    lower = netns.lower(link) if link.kind not in ("veth", None) and link.parent is not None else None
    if lower is not None:
        words.append(f"on {lower[1].name}" if lower[0] is netns else f"on {lower[0].name} {lower[1].name}")
    return " ".join(words)


def _graph(world: World) -> Any:
    return world.graph


def _ties(world: World) -> list[tuple[Any, Any, str]]:
    """The edges between interfaces; a veth pair, seen from both ends, once."""
    found: dict[tuple[Any, Any, str], None] = {}
    for source, target, kind in _graph(world).edges(data="kind"):
        if kind == "contains" or (kind in ("veth", "tunnel") and (target, source, kind) in found):
            continue
        found[(source, target, kind)] = None
    return list(found)


def _numbers(world: World) -> dict[Any, str]:
    """A plain identifier for each node: names of strangers never become identifiers."""
    return {node: f"n{number}" for number, node in enumerate(_graph(world).nodes)}


def _label(world: World, node: Any) -> str:
    data = _graph(world).nodes[node]
    name = node if isinstance(node, str) else node[1]
    return "\n".join([printable(name), *(printable(entry) for entry in data.get("addresses", ()))])


def dot(world: World) -> str:
    """Return the graph for Graphviz."""
    numbers = _numbers(world)
    lines = ["graph network {", "  node [shape=box];"]
    for place, netns in enumerate(world.namespaces.values()):
        lines += [f"  subgraph cluster_{place} {{", f"    label={_dot_quoted(printable(netns.name))};"]
        for link in netns.snapshot.links:
            node = (netns.name, link.name)
            lines.append(f"    {numbers[node]} [label={_dot_quoted(_label(world, node))}];")
        lines.append("  }")
    for source, target, kind in _ties(world):
        style = ' [style=dashed, label="tunnel"]' if kind == "tunnel" else ""
        lines.append(f"  {numbers[source]} -- {numbers[target]}{style};")
    return "\n".join([*lines, "}", ""])


def _dot_quoted(label: str) -> str:
    return '"' + label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def mermaid(world: World) -> str:
    """Return the graph for Mermaid."""
    numbers = _numbers(world)
    lines = ["graph LR"]
    for place, netns in enumerate(world.namespaces.values()):
        lines.append(f'  subgraph s{place}["{_mermaid_escaped(printable(netns.name))}"]')
        for link in netns.snapshot.links:
            node = (netns.name, link.name)
            lines.append(f'    {numbers[node]}["{_mermaid_escaped(_label(world, node))}"]')
        lines.append("  end")
    for source, target, kind in _ties(world):
        lines.append(f"  {numbers[source]} {'-.-' if kind == 'tunnel' else '---'} {numbers[target]}")
    return "\n".join([*lines, ""])


def _mermaid_escaped(label: str) -> str:
    """Everything but plain characters as Mermaid's numeric entities."""
    return "".join(
        "<br/>" if letter == "\n" else letter if letter.isalnum() or letter in " ./:-_" else f"#{ord(letter)};"
        for letter in label
    )


def graphml(world: World) -> str:
    """Return the graph as GraphML, with kinds and addresses as attributes."""
    numbers = _numbers(world)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">',
        *(f'  <key id="{key}" for="{side}" attr.name="{key}" attr.type="string"/>' for key, side in _KEYS),
        '  <graph id="network" edgedefault="undirected">',
    ]
    for node, number in numbers.items():
        data = _graph(world).nodes[node]
        values = {
            "name": node if isinstance(node, str) else node[1],
            "netns": node if isinstance(node, str) else node[0],
            "kind": data["kind"],
            "addresses": " ".join(data.get("addresses", ())),
        }
        inner = "".join(f'<data key="{key}">{_xml(value)}</data>' for key, value in values.items() if value)
        lines.append(f"    <node id={quoteattr(number)}>{inner}</node>")
    for source, target, kind in [*_contained(world), *_ties(world)]:
        lines.append(
            f'    <edge source="{numbers[source]}" target="{numbers[target]}">'
            f'<data key="tie">{_xml(kind)}</data></edge>'
        )
    return "\n".join([*lines, "  </graph>", "</graphml>", ""])


_KEYS = (("name", "node"), ("netns", "node"), ("kind", "node"), ("addresses", "node"), ("tie", "edge"))


def _contained(world: World) -> list[tuple[Any, Any, str]]:
    return [(source, target, kind) for source, target, kind in _graph(world).edges(data="kind") if kind == "contains"]


def _xml(value: str) -> str:
    return escape(_XML_INVALID.sub("\ufffd", value))
