"""Edits the text that iptables-save wrote: one line in, one line out, everything else byte for byte as it was.

Knows nothing of what a rule means. Source: iptables/iptables-save.c, iptables/iptables-restore.c, libxtables/xtables.c.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from netdoctor.model.errors import PlanError
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

# The chains that a table has from the start, in the order in which iptables-save writes them.
BUILT_IN: dict[str, tuple[str, ...]] = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
_RULE = re.compile(r"(?:(\[\d+:\d+\]) )?-A (\S+)(?: (.*))?\Z", re.DOTALL)
_CHAIN = re.compile(r":(\S+) (\S+)")
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s"]+')


class Chain(NamedTuple):
    """A chain as it stands in the text: its policy (None: one's own chain) and its rules without `-A CHAIN `."""

    policy: str | None
    rules: tuple[str, ...]


def words(text: str) -> list[str]:
    """Return a rule's words as iptables-restore cuts them: quotes taken off, escapes inside them undone."""
    found = []
    for match in _WORD.finditer(text):
        word = match.group()
        found.append(re.sub(r"\\(.)", r"\1", word[1:-1]) if word[0] == '"' else word)
    return found


def marked(text: str, mark: str) -> str:
    """Return a rule with the comment that says whose it is, before its target."""
    position = len(text)
    for match in _WORD.finditer(text):
        if match.group() in {"-j", "-g", "--jump", "--goto"}:
            position = match.start()
            break
    head, tail = text[:position].rstrip(), text[position:]
    return " ".join(part for part in (head, f'-m comment --comment "{mark}"', tail) if part)


def is_ours(text: str) -> bool:
    """Whether a rule carries a comment that begins with `netdoctor:`."""
    return re.search(r'--comment "?netdoctor:', text) is not None


def is_chain_name(name: str) -> bool:
    """Whether a name can be a chain's: 28 bytes at most (XT_EXTENSION_MAXNAMELEN), one word, no option."""
    return re.fullmatch(r"[^\s\"'!-][^\s\"']{0,27}", name) is not None and name.isprintable()


def chain(text: str, table: str, name: str) -> Chain | None:
    """Return a chain of a table, None where one of them is not in the text."""
    policy: str | None = None
    declared = False
    rules = []
    inside = False
    begins = (f"-A {name} ", f"-A {name}\n", f"-A {name}")
    for line in text.split("\n"):
        if line[:1] == "*":
            inside = line[1:].strip() == table
        elif not inside:
            continue
        elif line[:1] == ":":
            found = _CHAIN.match(line)
            if found is not None and found[1] == name:
                declared, policy = True, None if found[2] == "-" else found[2]
        elif begins[2] in line:
            matched = _RULE.match(line)
            if matched is not None and matched[2] == name:
                rules.append(matched[3] or "")
    return Chain(policy, tuple(rules)) if declared else None


def has_table(text: str, table: str) -> bool:
    """Whether the text holds a table."""
    return f"\n*{table}\n" in f"\n{text}"


def insert(text: str, table: str, name: str, position: int, rule: str) -> str:
    """Return the text with a rule put in at `position` (from 1; 0: at the end).

    A built-in chain or table that is not there is made, as the kernel makes it. Raises: PlanError.
    """
    text = with_chain(text, table, name) if name in BUILT_IN.get(table, ()) else text
    lines = text.split("\n")
    places, end, declared = _places(lines, table, name)
    if not declared:
        raise PlanError(f"there is no chain {printable(name)} in table {table} (any more)", "make a new plan")
    position = position or len(places) + 1
    if not 1 <= position <= len(places) + 1:
        raise PlanError(
            f"{table} {printable(name)} has {len(places)} rules, no place for rule {position}", "make a new plan"
        )
    at = places[position - 1] if position <= len(places) else (places[-1] + 1 if places else end)
    counters = "[0:0] " if "\n[" in text else ""
    lines.insert(at, f"{counters}-A {name} {rule}".rstrip())
    return "\n".join(lines)


def delete(text: str, table: str, name: str, rule: str) -> str:
    """Return the text without the first rule of a chain that has these words; the same text where there is none."""
    lines = text.split("\n")
    for at in _places(lines, table, name)[0]:
        matched = _RULE.match(lines[at])
        if matched is not None and same(matched[3] or "", rule):
            del lines[at]
            return "\n".join(lines)
    return text


def same(there: str, wanted: str) -> bool:
    """Whether two texts are the same rule: the same words, however they are quoted."""
    return there == wanted or words(there) == words(wanted)


def with_chain(text: str, table: str, name: str) -> str:
    """Return the text with a chain declared (`-N`); the table too, with its built-in chains. Raises: PlanError."""
    if table not in BUILT_IN:
        raise PlanError(
            f"there is no table {printable(table)} in iptables", "one of raw, mangle, nat, filter, security"
        )
    if not has_table(text, table):
        made = "".join(f":{one} ACCEPT [0:0]\n" for one in BUILT_IN[table])
        text = (text if text.endswith("\n") or not text else text + "\n") + f"*{table}\n{made}COMMIT\n"
    lines = text.split("\n")
    last = None
    inside = False
    for at, line in enumerate(lines):
        if line[:1] == "*":
            inside = line[1:].strip() == table
            if inside:
                last = at
        elif inside and line[:1] == ":":
            last = at
            found = _CHAIN.match(line)
            if found is not None and found[1] == name:
                return text
    assert last is not None
    policy = "ACCEPT" if name in BUILT_IN[table] else "-"
    lines.insert(last + 1, f":{name} {policy} [0:0]")
    return "\n".join(lines)


def without_chain(text: str, table: str, name: str) -> str:
    """Return the text without an empty chain of one's own. Raises: PlanError where it is used or not empty."""
    found = chain(text, table, name)
    if found is None:
        raise PlanError(f"the plan removes chain {printable(name)} of {table}, which is not there", "check again")
    if found.rules or re.search(rf"(?m)^[^\n]* -[jg] {re.escape(name)}(?: |$)", text):
        raise PlanError(f"chain {printable(name)} of {table} is still in use", "check again")
    return _declarations(text, table, name, lambda line: None)  # noqa: ARG005


def with_policy(text: str, table: str, name: str, policy: str) -> str:
    """Return the text with a built-in chain's policy set (`-P`)."""
    text = with_chain(text, table, name)
    return _declarations(text, table, name, lambda line: " ".join((f":{name}", policy, *line.split(" ")[2:])))


def _declarations(text: str, table: str, name: str, change: Callable[[str], str | None]) -> str:
    lines = []
    inside = False
    for line in text.split("\n"):
        if line[:1] == "*":
            inside = line[1:].strip() == table
        found = _CHAIN.match(line) if inside and line[:1] == ":" else None
        kept: str | None = line
        if found is not None and found[1] == name:
            kept = change(line)
        if kept is not None:
            lines.append(kept)
    return "\n".join(lines)


def _places(lines: list[str], table: str, name: str) -> tuple[list[int], int, bool]:
    """Return the line numbers of a chain's rules, that of the table's COMMIT, and whether the chain is declared."""
    places = []
    end = len(lines)
    declared = inside = False
    wanted = f"-A {name}"
    for at, line in enumerate(lines):
        first = line[:1]
        if first == "*":
            inside = line[1:].strip() == table
        elif not inside:
            continue
        elif first in {"-", "["}:
            if wanted in line:
                matched = _RULE.match(line)
                if matched is not None and matched[2] == name:
                    places.append(at)
        elif first == ":":
            found = _CHAIN.match(line)
            declared = declared or (found is not None and found[1] == name)
        elif line.strip() == "COMMIT":
            end, inside = at, False
    return places, end, declared
