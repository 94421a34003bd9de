"""One rule: its text, parsed when it is first asked for; printed back from what was parsed.

Knows nothing of the chain it stands in beyond its name and number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netdoctor.netfilter.effect import CONTINUE, Effect, Jump, Undecided
from netdoctor.netfilter.iptables.extension import Match, Option, Target
from netdoctor.netfilter.iptables.header import Header
from netdoctor.netfilter.iptables.registry import match_class, target_class
from netdoctor.netfilter.ternary import Answer, Unknown, all_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.netfilter.packet import Family, Packet
    from netdoctor.netfilter.surroundings import Surroundings

_WORD = re.compile(r'(\s*)("(?:[^"\\]|\\.)*"|\S+)', re.DOTALL)
_HEADER_WORDS = frozenset(Header.options)
_LONG_NAMES = {
    "--source": "-s", "--src": "-s", "--destination": "-d", "--dst": "-d", "--in-interface": "-i",
    "--out-interface": "-o", "--protocol": "-p", "--proto": "-p", "--fragment": "-f",
}  # fmt: skip


class UnknownMatch(Match):
    """A match that no file here describes: kept word for word."""

    name = "unknown"
    modelled = False

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

    __slots__ = ("chain", "goto")

    def unmodelled(self) -> str | None:
        """Everything of it is modelled."""
        return None

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

    __slots__ = ("_parsed", "chain", "counters", "family", "number", "text")

    def __init__(self, chain: str, number: int, text: str, family: Family, counters: str | None = None) -> None:
        self.chain = chain
        self.number = number  # from 1, as `iptables -L --line-numbers` counts
        self.text = text
        self.family = family
        self.counters = counters  # "[packets:bytes]" as written, None where the save had none
        self._parsed: _Parsed | None = None

    def __repr__(self) -> str:
        return f"Rule({self.chain} {self.number}: {self.text})"

    @property
    def parsed(self) -> _Parsed:
        """The rule's pieces."""
        if self._parsed is None:
            self._parsed = _parse(self.text, self.family)
        return self._parsed

    @property
    def line(self) -> str:
        """The rule as iptables-save writes it, without counters, rebuilt from what was parsed."""
        return f"-A {self.chain} {self.arguments}".rstrip() if not self.text else f"-A {self.chain} {self.arguments}"

    @property
    def arguments(self) -> str:
        """What stands behind `-A CHAIN `, rebuilt from what was parsed."""
        return self.parsed.spell()

    @property
    def matches(self) -> tuple[Match, ...]:
        """The header and every match, in order."""
        return self.parsed.matches

    @property
    def target(self) -> Target | None:
        """The target; None where the rule only counts."""
        return self.parsed.target

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
        return None if self.counters is None else int(self.counters[1:].partition(":")[0])

    def answer(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether the packet matches: header and matches all together."""
        parsed = self.parsed
        if parsed.problem is not None and parsed.broken_match:
            sure = all_of(match.matches(packet, around) for match in parsed.sound_matches)
            return False if sure is False else Unknown(parsed.problem)
        return all_of(match.matches(packet, around) for match in parsed.matches)

    def effect(self, packet: Packet, around: Surroundings) -> Effect:
        """Carry out the target on the packet and say what is to be done with it."""
        target = self.parsed.target
        if target is None:
            return CONTINUE
        if self.parsed.problem is not None and not self.parsed.broken_match:
            return Undecided(self.parsed.problem)
        return target.apply(packet, around)

    @property
    def harmless(self) -> bool:
        """True where the rule can change nobody's fate, so that an unknown match need not be decided."""
        target = self.parsed.target
        return target is None or (self.parsed.problem is None and target.harmless)


class _Parsed:
    """The pieces of a rule in the order of its text."""

    __slots__ = ("broken_match", "matches", "pieces", "problem", "sound_matches", "spacing", "target", "unmodelled")

    def __init__(self, pieces: list[Piece], spacing: tuple[str, ...] | None) -> None:
        self.pieces = pieces
        self.spacing = spacing  # white space before each word, and behind the last, where it is not single blanks
        self.matches = tuple(piece.extension for piece in pieces if isinstance(piece.extension, Match))
        self.sound_matches = tuple(
            piece.extension for piece in pieces if isinstance(piece.extension, Match) and piece.problem is None
        )
        self.target = next((piece.extension for piece in pieces if isinstance(piece.extension, Target)), None)
        problems = [piece for piece in pieces if piece.problem is not None]
        self.problem = problems[0].problem if problems else None
        self.broken_match = any(isinstance(piece.extension, Match) for piece in problems)
        named = (piece.problem or piece.extension.unmodelled() for piece in pieces)
        self.unmodelled = tuple(name for name in named if name is not None)

    @property
    def jump(self) -> str | None:
        """The user-defined chain that the rule jumps or goes to."""
        return self.target.chain if isinstance(self.target, ChainTarget) else None

    def spell(self) -> str:
        words = [word for piece in self.pieces for word in piece.words()]
        if self.spacing is None:
            return " ".join(words)
        return "".join(space + word for space, word in zip(self.spacing, words, strict=False)) + self.spacing[-1]


def _parse(text: str, family: Family) -> _Parsed:
    words = [match.group(2) for match in _WORD.finditer(text)]
    spacing = None
    if " ".join(words) != text:
        found = list(_WORD.finditer(text))
        spacing = (*(match.group(1) for match in found), text[found[-1].end() :] if found else text)
    return _Parsed(_Reader(words, family).read(), spacing)


class _Reader:
    """Cuts a rule's words into pieces. Nothing raises here: what is not understood is kept and named."""

    def __init__(self, words: list[str], family: Family) -> None:
        self.words = words
        self.family = family
        self.at = 0
        self.pieces: list[Piece] = []
        self.intro: tuple[str, ...] = ()
        self.kind: type[Match | Target] = Header
        self.called = ""
        self.options: list[Option] = []
        self.protocol: str | None = None

    def read(self) -> list[Piece]:
        while self.at < len(self.words):
            negated = self.words[self.at] == "!" and self.at + 1 < len(self.words)
            word = self.words[self.at + negated]
            if word in {"-m", "--match", "-j", "--jump", "-g", "--goto"} and not negated:
                self._introduce(word)
            else:
                self._option(word, negated=negated)
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
            self.kind = target_class(self.called) or (UnknownTarget if self._has_options() else ChainTarget)

    def _has_options(self) -> bool:
        """A user-defined chain takes none; a target that is not known may."""
        return self.at < len(self.words)

    def _option(self, word: str, *, negated: bool) -> None:
        name = _LONG_NAMES.get(word, word)
        if word not in self.kind.options and self.kind is not Header:
            if name in _HEADER_WORDS or word == "-c":
                self._switch(Header)
            elif (implied := self._implied(word)) is not None:
                self._switch(implied)
        elif self.kind is Header and name not in _HEADER_WORDS and (implied := self._implied(word)) is not None:
            self._switch(implied)
        start = self.at + negated + 1
        late = start < len(self.words) and self.words[start] == "!" and word in self.kind.options
        start += late
        end = self._end_of(start, self._arity(name if self.kind is Header else word))
        values = tuple(self.words[start:end])
        if self.kind is Header and name == "-p" and values:
            self.protocol = values[0]
        known = name if self.kind is Header and name == word else word
        self.options.append(Option(known, values, negated or late, late))
        self.at = end

    def _implied(self, word: str) -> type[Match] | None:
        """`-p tcp --dport 80` means `-m tcp`, as iptables itself loads it."""
        if self.protocol is None or not word.startswith("--"):
            return None
        names = {"ipv6-icmp": "icmp6", "icmpv6": "icmp6"}
        found = match_class(names.get(self.protocol, self.protocol))
        return found if found is not None and word in found.options else None

    def _switch(self, kind: type[Match]) -> None:
        self._finish()
        self.intro, self.kind, self.called = (), kind, kind.name

    def _arity(self, name: str) -> int | None:
        if self.kind is Header and name == "-c":
            return 2
        arity = self.kind.options.get(name)
        return None if arity is None or arity < 0 else arity

    def _end_of(self, start: int, arity: int | None) -> int:
        if arity is not None:
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

    def _finish(self) -> None:
        if not self.intro and not self.options:
            return
        problem = None
        try:
            extension = self.kind(tuple(self.options), self.family)
        except (ValueError, IndexError, KeyError):
            substitute = UnknownMatch if issubclass(self.kind, Match) else UnknownTarget
            extension = substitute(tuple(self.options), self.family)
            problem = f"{'match' if substitute is UnknownMatch else 'target'} {self.called or self.kind.name}"
            problem += f" {' '.join(str(option) for option in self.options)}"
        if isinstance(extension, (UnknownMatch, UnknownTarget)):
            extension.called = self.called or self.kind.name
        if isinstance(extension, ChainTarget):
            extension.chain = self.called
            extension.goto = self.intro[0] in {"-g", "--goto"}
        self.pieces.append(Piece(self.intro, extension, problem))
        self.intro, self.options = (), []
        self.kind, self.called = Header, ""
