"""What a rule of the catalogue is: plain data at the top of its file. Knows nothing of how rules are found or run."""

from __future__ import annotations

from typing import Literal

import msgspec

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """The header of a rule file: `RULE = Rule(…)`. The id is the file's name."""

    id: str
    title: str  # what is wrong, in a sentence that a Docker user understands
    severity: Severity
    tags: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A node that the rule finds something on: `EXAMPLE = Example(…)`. Data: the lab builds it, breaks it, asks it.

    In `breaks`, `iptables` stands for the tool of either backend.
    """

    topology: str
    breaks: tuple[tuple[str, tuple[str, ...]], ...]  # (host or pod, argument list)
    client: str  # where the real client runs
    address: str
    port: int | None = None
    proto: str = "tcp"
