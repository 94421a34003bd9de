"""Sysctls of the namespace that this process is in, with all that the kernel rewrites when one is written.

Knows nothing of what they mean: what changed is seen by reading all of them before and after.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from netdoctor.change.settings import path_of, written
from netdoctor.collect import sysctl
from netdoctor.model.errors import NetdoctorError

if TYPE_CHECKING:
    from netdoctor.change.settings import SetSysctl

# What a sysctl's write can change besides itself: per-interface values. The rest moves by itself.
_FOLLOWING = ("net.ipv4.conf.", "net.ipv6.conf.", "net.ipv4.ip_forward", "net.bridge.")


class Doing:
    """One sysctl."""

    def __init__(self, operation: SetSysctl) -> None:
        self.operation = operation

    def look(self) -> dict[str, Any]:
        """Note the value and, for the case that nobody lives to say more, what the write will change by the way."""
        before = _read(self.operation.name)
        if self.operation.name not in before:
            raise NetdoctorError(f"there is no sysctl {self.operation.name} here", "is its kernel module loaded?")
        after = written(before, self.operation.name, self.operation.value)
        return {"changed": _changed(before, after)}

    def do(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Write the value; note what changed with it."""
        before = _read(self.operation.name)
        _write(self.operation.name, self.operation.value)
        after = _read(self.operation.name)
        if after.get(self.operation.name) != self.operation.value:
            _write(self.operation.name, before[self.operation.name])
            raise NetdoctorError(f"the kernel did not take {self.operation.name}={self.operation.value}", "see dmesg")
        return {**facts, "changed": _changed(before, after)}

    def undo(self, facts: dict[str, Any]) -> tuple[str, ...]:
        """Write back what was changed, but for what somebody else changed since."""
        changed: dict[str, tuple[str, str]] = facts.get("changed", {})
        now = _read(self.operation.name)
        wanted: dict[str, str] = {}
        notes = []
        for name, (before, after) in changed.items():
            if name not in now:
                continue  # its interface is gone
            if now[name] in {after, before}:
                wanted[name] = before
            else:
                wanted[name] = now[name]
                notes.append(f"{name} is {now[name]} now: somebody else changed it since, it was left so")
        # Per-interface values keep what somebody else wrote even where writing ours back rewrites them all.
        others = {name: value for name, value in now.items() if name.startswith(_FOLLOWING) and name not in changed}
        if self.operation.name in wanted and now.get(self.operation.name) != wanted[self.operation.name]:
            _write(self.operation.name, wanted[self.operation.name])
        current = _read(self.operation.name)
        for name, value in {**others, **wanted}.items():
            if current.get(name, value) != value and name != self.operation.name:
                _write(name, value)
        return tuple(notes)


def _changed(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str, str]]:
    return {name: (value, after[name]) for name, value in before.items() if name in after and after[name] != value}


def _read(name: str) -> dict[str, str]:
    found = sysctl.read()
    return {one: value for one, value in found.items() if one == name or one.startswith(_FOLLOWING)}


def _write(name: str, value: str) -> None:
    """Raises: OSError with the file's name."""
    handle = os.open(path_of(name), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.write(handle, value.encode() + b"\n")
    finally:
        os.close(handle)
