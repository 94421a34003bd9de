"""What a match or target of iptables is: its options as written, its printer, its meaning. One file for each subclass.

Knows nothing of chains or tables; the words between `-m NAME` and the next extension are all it sees.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from netdoctor.netfilter.effect import Effect, Undecided
from netdoctor.netfilter.ternary import Answer, Unknown

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Family, Packet
    from netdoctor.netfilter.surroundings import Surroundings

_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")


def unquote(word: str) -> str:
    """Return the value of a word as written by `xtables_save_string` (quoted with backslash escapes) or bare."""
    if len(word) >= 2 and word[0] == '"' and word[-1] == '"':
        return re.sub(r"\\(.)", r"\1", word[1:-1], flags=re.DOTALL)
    return word


def quote(value: str) -> str:
    """Return a value as iptables writes strings. Kernel tools: libxtables/xtables.c:xtables_save_string."""
    if _PLAIN.match(value):
        return value
    return '"' + re.sub(r"([\"\\'])", r"\\\1", value) + '"'


@dataclass(frozen=True, slots=True)
class Option:
    """One option as written. `words` keep their quotes, so that printing gives the same bytes."""

    name: str  # with its dashes: "--dport"
    words: tuple[str, ...] = ()
    negated: bool = False
    late: bool = False  # `--dport ! 80`, as iptables before 1.4.3 wrote it

    @property
    def values(self) -> tuple[str, ...]:
        """The words without quotes."""
        return tuple(unquote(word) for word in self.words)

    @property
    def value(self) -> str:
        """The first word without quotes, or ""."""
        return unquote(self.words[0]) if self.words else ""

    def spelled(self) -> tuple[str, ...]:
        """Return every word of the option, in the order of the text."""
        if not self.negated:
            return (self.name, *self.words)
        return (self.name, "!", *self.words) if self.late else ("!", self.name, *self.words)

    def __str__(self) -> str:
        return " ".join(self.spelled())


HEAR = ("PREROUTING", "INPUT", "FORWARD")  # the built-in chains in which the incoming device is known
SAY = ("FORWARD", "OUTPUT", "POSTROUTING")  # and the outgoing one
BUILT_IN = frozenset({*HEAR, *SAY})


class Extension:
    """A match or target with its options.

    A subclass names itself and its options; `options` maps each option to the number of words that follow it. Options
    are kept in the order in which they were written. Nothing here raises on a value that it does not understand: the
    parser keeps a word it does not know as an option of its own, so that every text is printed back, and `unmodelled`
    names it.
    """

    name: ClassVar[str]
    revision_names: ClassVar[tuple[str, ...]] = ()  # other names that save tools print
    options: ClassVar[dict[str, int]] = {}
    modelled: ClassVar[bool] = True
    tables: ClassVar[tuple[str, ...]] = ()  # where the kernel takes it; none: everywhere (xt_target.table)
    hooks: ClassVar[tuple[str, ...]] = ()  # the built-in chains in which it may stand; none: all (xt_match.hooks)

    __slots__ = ("family", "written")

    def __init__(self, written: tuple[Option, ...], family: Family) -> None:
        self.written = written
        self.family = family
        self.compile()

    def compile(self) -> None:
        """Turn the options into what `matches` or `apply` reads. Called once.

        Raises: ValueError, IndexError, KeyError where an option is not understood: the rule is then unmodelled.
        """

    def option(self, name: str) -> Option | None:
        """Return an option by name, None where it was not given."""
        return next((option for option in self.written if option.name == name), None)

    def __str__(self) -> str:
        return " ".join(str(option) for option in self.written)

    def unmodelled(self) -> str | None:
        """Return the name of what is not modelled here, None where all is."""
        if not self.modelled:
            return self.name
        unknown = [str(option) for option in self.written if option.name not in self.options]
        return f"{self.name} {' '.join(unknown)}" if unknown else None

    def places(self) -> tuple[str, ...]:
        """Return the built-in chains in which it may stand with these options; none: all."""
        return self.hooks

    def misplaced(self, table: str, chain: str) -> str | None:
        """Return why the kernel does not take it there, None where it does.

        What a user-defined chain is called from is not looked at. Kernel: net/netfilter/x_tables.c:xt_check_match,
        xt_check_target
        """
        if self.tables and table not in self.tables:
            return f"{self.name} in table {table}"
        places = self.places()
        return f"{self.name} in {chain}" if places and chain in BUILT_IN and chain not in places else None


class Match(Extension):
    """A match: `-m NAME …`, or the part of a rule that a protocol implies."""

    __slots__ = ()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches; all options together, each with its own negation."""
        return Unknown(f"match {self.name}")


class Target(Extension):
    """A target: `-j NAME …`."""

    __slots__ = ()

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Change the packet and say what is to be done with it."""
        return Undecided(f"target {self.name}")

    @property
    def harmless(self) -> bool:
        """True where the target can change nobody's fate (LOG, a counter): an unknown match before it need not fork."""
        return False
