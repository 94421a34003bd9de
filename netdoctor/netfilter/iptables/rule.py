"""One rule: its text, parsed when it is first asked for; printed back from what was parsed.

Knows nothing of the chain it stands in beyond its name and number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect, Jump, Undecided
from netdoctor.netfilter.iptables.extension import Match, Option, Target
from netdoctor.netfilter.iptables.header import Header
from netdoctor.netfilter.iptables.refusals import refusal
from netdoctor.netfilter.iptables.registry import match_class, target_class
from netdoctor.netfilter.ternary import Answer, Unknown, all_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from netdoctor.netfilter.packet import Family, Packet
    from netdoctor.netfilter.surroundings import Surroundings

_WORD = re.compile(r'(\s*)("(?:[^"\\]|\\.)*"|\S+)', re.DOTALL | re.ASCII)
_INTRODUCTIONS = frozenset({"-m", "--match", "-j", "--jump", "-g", "--goto"})
_PROTOCOL_WORDS = frozenset({"-p", "--protocol", "--proto"})
_IMPLIED = {"ipv6-icmp": "icmp6", "icmpv6": "icmp6", "mobility-header": "mh", "ipv6-mh": "mh"}


class UnknownMatch(Match):
    """A match that no file here describes: kept word for word."""

    name = "unknown"
    modelled = False

    called: str

    __slots__ = ("called",)

    def unmodelled(self) -> str | None:
        """Its name as written."""
        return f"match {self.called}"

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Never guessed."""
        return Unknown(f"match {self.called}")


class UnknownTarget(Target):
    """A target that no file here describes: kept word for word."""

    name = "unknown"
    modelled = False

    called: str

    __slots__ = ("called",)

    def unmodelled(self) -> str | None:
        """Its name as written."""
        return f"target {self.called}"

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """Never guessed."""
        return Undecided(f"target {self.called}")


class ChainTarget(Target):
    """`-j CHAIN` or `-g CHAIN`."""

    name = "chain"

    chain: str
    goto: bool

    __slots__ = ("chain", "goto")

    def unmodelled(self) -> str | None:
        """A chain takes no options: words behind it belong to a target that is not known."""
        return f"target {self.chain}" if self.written else None

    def apply(self, packet: Packet, around: Surroundings) -> Effect:
        """To the chain."""
        return Jump(self.chain, self.goto)


class Piece:
    """One extension as it stands in the rule: its introduction (`-m tcp`, `-j DNAT`), then its options."""

    __slots__ = ("extension", "intro", "problem")

    def __init__(self, intro: tuple[str, ...], extension: Match | Target, problem: str | None = None) -> None:
        self.intro = intro
        self.extension = extension
        self.problem = problem  # why its options could not be understood

    def words(self) -> Iterator[str]:
        """The words, in the order of the text."""
        yield from self.intro
        for option in self.extension.written:
            yield from option.spelled()


class Rule:
    """A rule of a chain. `text` is what stands behind `-A CHAIN `; everything else is parsed when asked for."""

    __slots__ = ("_parsed", "chain", "chains", "counters", "family", "number", "table", "text")

    def __init__(
        self,
        chain: str,
        number: int,
        text: str,
        family: Family,
        counters: str | None = None,
        chains: Container[str] | None = None,
        table: str | None = None,
    ) -> None:
        self.chain = chain
        self.number = number  # from 1, as `iptables -L --line-numbers` counts
        self.text = text
        self.family = family
        self.counters = counters  # "[packets:bytes]" as written, None where the save had none
        self.chains = chains  # the names of the table's chains; None: any name may be a chain
        self.table = table  # None: not known, and where the rule stands is not judged
        self._parsed: Parsed | None = None

    def __repr__(self) -> str:
        return f"Rule({self.chain} {self.number}: {self.text})"

    @property
    def parsed(self) -> Parsed:
        """The rule's pieces."""
        if self._parsed is None:
            pieces, spacing = _parse(self.text, self.family, self.chains)
            if self.table is not None:
                for piece in pieces:
                    piece.problem = piece.problem or piece.extension.misplaced(self.table, self.chain)
            self._parsed = Parsed(pieces, spacing)
        return self._parsed

    @property
    def line(self) -> str:
        """The rule as iptables-save writes it, without counters, rebuilt from what was parsed."""
        return f"-A {self.chain} {self.arguments}" if self.text else f"-A {self.chain}"

    @property
    def arguments(self) -> str:
        """What stands behind `-A CHAIN `, rebuilt from what was parsed."""
        return self.parsed.spell()

    @property
    def matches(self) -> tuple[Match, ...]:
        """The header and every match, in order."""
        return self.parsed.matches

    @property
    def header(self) -> Header | None:
        """The part without extensions; None where the rule has no `-s -d -i -o -p -f`."""
        return next((match for match in self.parsed.matches if isinstance(match, Header)), None)

    @property
    def target(self) -> Target | None:
        """The target; None where the rule only counts."""
        return self.parsed.target

    @property
    def jump(self) -> str | None:
        """The user-defined chain that the rule jumps or goes to."""
        return self.parsed.jump

    @property
    def unmodelled(self) -> tuple[str, ...]:
        """The names of what is not modelled in this rule."""
        return self.parsed.unmodelled

    @property
    def comment(self) -> str | None:
        """The text of `-m comment`, several joined by a space."""
        texts = [match.written[0].value for match in self.matches if match.name == "comment" and match.written]
        return " ".join(texts) if texts else None

    @property
    def packets(self) -> int | None:
        """How many packets matched, None where the save had no counters."""
        if self.counters is not None:
            return int(self.counters[1:].partition(":")[0])
        header = self.header
        counted = header.option("-c") if header is not None else None
        return int(counted.value) if counted is not None and counted.value.isdecimal() else None

    def answer(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches: header and matches all together.

        What is not understood makes it unknown, unless what is understood says no.
        """
        parsed = self.parsed
        answer = all_of(match.matches(packet, around) for match in parsed.sound)
        return answer if parsed.doubt is None or answer is False else Unknown(parsed.doubt)

    def effect(self, packet: Packet, around: Surroundings) -> Effect:
        """Carry out the target on the packet and say what is to be done with it."""
        parsed = self.parsed
        if parsed.target is None:
            return CONTINUE
        if parsed.target_doubt is not None and not parsed.target.harmless:
            return Undecided(parsed.target_doubt)
        return parsed.target.apply(packet, around)

    @property
    def harmless(self) -> bool:
        """True where the rule can change nobody's fate, so that an unknown match need not be decided."""
        return self.target is None or self.target.harmless


class Parsed:
    """The pieces of a rule in the order of its text."""

    __slots__ = ("doubt", "matches", "pieces", "sound", "spacing", "target", "target_doubt", "unmodelled")

    def __init__(self, pieces: list[Piece], spacing: tuple[str, ...] | None) -> None:
        self.pieces = pieces
        self.spacing = spacing  # white space before each word, and behind the last, where it is not single blanks
        self.target: Target | None = None
        self.target_doubt: str | None = None  # what of the target is not understood
        self.doubt: str | None = None  # what of the matches is not understood
        matches: list[Match] = []
        sound: list[Match] = []
        unmodelled: list[str] = []
        for piece in pieces:
            extension = piece.extension
            doubt = piece.problem or extension.unmodelled()
            if doubt is not None:
                unmodelled.append(doubt)
            speaks = not extension.modelled and piece.problem is None  # it gives its own reason
            if isinstance(extension, Target):
                self.target, self.target_doubt = extension, None if speaks else doubt
                continue
            matches.append(extension)
            if doubt is None or speaks or isinstance(extension, Header):
                sound.append(extension)
            if doubt is not None and not speaks:
                self.doubt = self.doubt or doubt
        self.matches = tuple(matches)
        self.sound = tuple(sound)  # the matches that can be asked
        self.unmodelled = tuple(unmodelled)

    @property
    def jump(self) -> str | None:
        """The user-defined chain that the rule jumps or goes to."""
        return self.target.chain if isinstance(self.target, ChainTarget) else None

    def spell(self) -> str:
        """Return the words with the white space between them."""
        words = [word for piece in self.pieces for word in piece.words()]
        if self.spacing is None:
            return " ".join(words)
        return "".join(space + word for space, word in zip(self.spacing, words, strict=False)) + self.spacing[-1]


def _parse(text: str, family: Family, chains: Container[str] | None) -> tuple[list[Piece], tuple[str, ...] | None]:
    words = text.split() if '"' not in text else [match.group(2) for match in _WORD.finditer(text)]
    spacing = None
    if " ".join(words) != text:
        found = list(_WORD.finditer(text))
        words = [match.group(2) for match in found]
        spacing = (*(match.group(1) for match in found), text[found[-1].end() :] if found else text)
    return _Reader(words, family, chains).read(), spacing


class _Reader:
    """Cuts a rule's words into pieces. Nothing raises here: what is not understood is kept and named."""

    __slots__ = ("at", "called", "chains", "cut", "family", "intro", "kind", "options", "pieces", "protocol", "words")

    def __init__(self, words: list[str], family: Family, chains: Container[str] | None) -> None:
        self.words = words
        self.family = family
        self.chains = chains
        self.at = 0
        self.pieces: list[Piece] = []
        self.intro: tuple[str, ...] = ()
        self.kind: type[Match | Target] = Header
        self.called = ""
        self.options: list[Option] = []
        self.cut = False  # the last option lacks a word
        self.protocol: str | None = None

    def read(self) -> list[Piece]:
        words = self.words
        end = len(words)
        while self.at < end:
            word = words[self.at]
            if word in _INTRODUCTIONS:
                self._introduce(word)
            elif word == "!" and self.at + 1 < end:
                self._option(words[self.at + 1], negated=True)
            else:
                self._option(word, negated=False)
        self._finish()
        return self.pieces

    def _introduce(self, word: str) -> None:
        self._finish()
        self.called = self.words[self.at + 1] if self.at + 1 < len(self.words) else ""
        self.intro = tuple(self.words[self.at : self.at + 2])
        self.at += 2
        if word in {"-m", "--match"}:
            self.kind = match_class(self.called) or UnknownMatch
        elif word in {"-g", "--goto"}:
            self.kind = ChainTarget
        else:
            self.kind = self._target_kind()

    def _target_kind(self) -> type[Target]:
        if self.chains is not None and self.called in self.chains:
            return ChainTarget
        found = target_class(self.called)
        if found is not None:
            return found
        # Without the table's chains at hand: a chain takes no options, a target that is not known may.
        bare = self.at >= len(self.words) or self.words[self.at] in _INTRODUCTIONS
        return ChainTarget if self.chains is None and bare else UnknownTarget

    def _option(self, word: str, *, negated: bool) -> None:
        if word not in self.kind.options:
            if word in Header.options:
                self._switch(Header)
            elif (implied := self._implied(word)) is not None:
                self._switch(implied)
        start = self.at + negated + 1
        arity = self.kind.options.get(word, -1)
        late = arity > 0 and not negated and start < len(self.words) and self.words[start] == "!"
        end = self._end_of(start + late, arity)
        values = tuple(self.words[start + late : end])
        self.cut = len(values) < arity
        if word in _PROTOCOL_WORDS and self.kind is Header and values:
            self.protocol = values[0]
        self.options.append(Option(word, values, negated or late, late))
        self.at = end

    def _implied(self, word: str) -> type[Match] | None:
        """`-p tcp --dport 80` means `-m tcp`, as iptables itself loads it."""
        if self.protocol is None or not word.startswith("--"):
            return None
        found = match_class(_IMPLIED.get(self.protocol, self.protocol))
        return found if found is not None and word in found.options else None

    def _switch(self, kind: type[Match]) -> None:
        if kind is self.kind:
            return
        self._finish()
        self.intro, self.kind, self.called = (), kind, kind.name

    def _end_of(self, start: int, arity: int) -> int:
        if arity >= 0:
            return min(start + arity, len(self.words))
        end = start
        while end < len(self.words) and not self._begins_option(end):
            end += 1
        return end

    def _begins_option(self, at: int) -> bool:
        word = self.words[at]
        if word == "!":
            return at + 1 < len(self.words) and self.words[at + 1].startswith("-")
        return word.startswith("--") or (len(word) == 2 and word[0] == "-" and word[1].isalpha())

    def _extension(self) -> Match | Target:
        if self.cut:
            raise ValueError(f"{self.options[-1].name} lacks a word")
        why = refusal(self.kind.name, self.options, self.protocol)
        if why is not None:
            raise ValueError(why)
        return self.kind(tuple(self.options), self.family)

    def _finish(self) -> None:
        if not self.intro and not self.options:
            return
        problem = None
        try:
            extension = self._extension()
        except (ValueError, IndexError, KeyError, ArithmeticError, TypeError, AttributeError):
            substitute = UnknownMatch if issubclass(self.kind, Match) else UnknownTarget
            extension = substitute(tuple(self.options), self.family)
            problem = f"{'match' if substitute is UnknownMatch else 'target'} {self.called or self.kind.name}"
            problem = " ".join((problem, *(str(option) for option in self.options)))
        if isinstance(extension, (UnknownMatch, UnknownTarget)):
            extension.called = self.called or self.kind.name
        if isinstance(extension, ChainTarget):
            extension.chain = self.called
            extension.goto = self.intro[0] in {"-g", "--goto"}
        self.pieces.append(Piece(self.intro, extension, problem))
        self.intro, self.options = (), []
        self.kind, self.called, self.cut = Header, "", False
