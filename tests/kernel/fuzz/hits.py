"""Counts what decided: verdicts, matches, targets, native statements, and prints them as a table.

Knows nothing of networks. It listens to the rules while they are asked.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from netdoctor.netfilter.iptables.rule import ChainTarget, Rule
from netdoctor.netfilter.nft import statements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdoctor.simulate.trace import Trace


class Hits:
    """How often each thing decided."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.matched: Counter[str] = Counter()  # it held, and so did all others of its rule
        self.refused: Counter[str] = Counter()  # it alone did not hold
        self.targets: Counter[str] = Counter()
        self.native: Counter[str] = Counter()

    def add(self, trace: Trace) -> None:
        """Count a flow's outcome."""
        for outcome in trace.outcomes:
            self.verdicts[outcome.verdict] += 1
            for part in (outcome, outcome.reply, outcome.next):
                if part is not None and part.cause is not None:
                    self.causes[part.cause.kind] += 1
                    break

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Count matches and targets of every rule that is asked meanwhile."""
        answer, effect, run = Rule.answer, Rule.effect, statements.Statement

        def counted_answer(rule: Rule, packet: Any, around: Any) -> Any:
            said = answer(rule, packet, around)
            if said is True:
                self.matched.update(match.name for match in rule.parsed.sound)
            elif said is False:
                # connlimit counts whom it is asked about.
                asked = [match for match in rule.parsed.sound if match.name != "connlimit"]
                against = [match.name for match in asked if match.matches(packet, around) is False]
                if len(against) == 1:
                    self.refused[against[0]] += 1
            return said

        def counted_effect(rule: Rule, packet: Any, around: Any) -> Any:
            if rule.target is not None:
                chain = isinstance(rule.target, ChainTarget)
                self.targets[("goto" if rule.target.goto else "jump") if chain else rule.target.name] += 1
            return effect(rule, packet, around)

        asked = patch.object(Rule, "answer", counted_answer), patch.object(Rule, "effect", counted_effect)
        with asked[0], asked[1], self._native(run):
            yield

    @contextmanager
    def _native(self, base: type) -> Iterator[None]:
        patches = []
        for kind in base.__subclasses__():
            original = kind.run

            def counted(statement: Any, asking: Any, original: Any = original, name: str = kind.__name__) -> Any:
                done = original(statement, asking)
                key = name.lower() + (f" {statement._what}" if name == "Match" else "")
                self.native[f"{key} {'breaks' if done is None else 'holds'}"] += 1
                return done

            patches.append(patch.object(kind, "run", counted))
        for one in patches:
            one.start()
        try:
            yield
        finally:
            for one in patches:
                one.stop()

    def table(self) -> str:
        """Return everything that was counted, the rarest last."""
        lines = []
        for title, counted in (
            ("verdicts", self.verdicts), ("causes", self.causes), ("targets", self.targets), ("native", self.native),
        ):  # fmt: skip
            lines.append(f"{title}: " + ", ".join(f"{name} {count}" for name, count in counted.most_common()))
        names = sorted({*self.matched, *self.refused}, key=lambda name: -(self.matched[name] + self.refused[name]))
        lines.append(
            "matches (held, alone did not): "
            + ", ".join(f"{name} {self.matched[name]} {self.refused[name]}" for name in names)
        )
        return "\n".join(lines)
