"""One change of a legacy table as an atomic libiptc commit, by python-iptables where it is installed.

Knows nothing of plans. python-iptables is imported here only: on import it runs programs and may load modules, and it
takes no lock, so /run/xtables.lock is held from the read to the commit. Source: libiptc.c:TC_COMMIT,
iptables/xshared.c:xtables_lock.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from netdoctor.change import ruletext
from netdoctor.model.errors import NetdoctorError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = "/run/xtables.lock"
LOCK_SECONDS = 20.0
# The options of iptables(8) itself that are an attribute of iptc.Rule.
_HEADER = {"-s": "src", "-d": "dst", "-i": "in_interface", "-o": "out_interface", "-p": "protocol"}


class _Inexpressible(Exception):  # noqa: N818  # not an error: iptables-restore does it instead
    """Something that is left to iptables-restore."""


def commit(family: str, table: str, line: str) -> bool:
    """Make the change that one line of iptables-restore says; False where it is left to iptables-restore.

    Raises: NetdoctorError where another program keeps the lock.
    """
    if importlib.util.find_spec("iptc") is None:
        return False
    try:
        import iptc
    except Exception:  # noqa: BLE001  # no libxtables, a tool that it runs on import is missing, …
        return False
    with _locked():
        try:
            opened = (iptc.Table if family == "ip" else iptc.Table6)(table, autocommit=False)
            opened.refresh()
            _change(iptc, opened, family, line)
            opened.commit()
        except (_Inexpressible, iptc.IPTCError, iptc.XTablesError, ValueError, AttributeError):
            return False  # nothing is in the kernel before the commit, and the commit is all or nothing
    return True


def _change(iptc: Any, table: Any, family: str, line: str) -> None:
    command, name, *rest = ruletext.words(line)
    if command == "-N":
        table.create_chain(name)
    elif command == "-X":
        table.delete_chain(name)
    elif command == "-P":
        table.set_policy(name, iptc.Policy(rest[0]))
    elif command in {"-A", "-I"}:
        chain = iptc.Chain(table, name)
        given = command == "-I" and rest[0].isdecimal()
        made = _rule(iptc, family, rest[1:] if given else rest, chain)
        if command == "-A":
            chain.append_rule(made)
        else:
            chain.insert_rule(made, int(rest[0]) - 1 if given else 0)
    else:
        raise _Inexpressible(command)


def _rule(iptc: Any, family: str, words: list[str], chain: Any) -> Any:
    """Make a rule of its words: the header's options, then each match's and the target's own."""
    rule = (iptc.Rule if family == "ip" else iptc.Rule6)(chain=chain)
    owner = rule  # what the next option belongs to
    at = 0
    while at < len(words):
        negated = words[at] == "!"
        option = words[at + negated]
        at += 1 + negated
        values = []
        while at < len(words) and words[at] != "!" and not words[at].startswith("-"):
            values.append(words[at])
            at += 1
        if option in _HEADER and len(values) == 1:
            setattr(rule, _HEADER[option], ("!" if negated else "") + values[0])
        elif option == "-m" and len(values) == 1 and not negated:
            owner = rule.create_match(values[0])
        elif option == "-j" and len(values) == 1 and not negated:
            owner = rule.create_target(values[0])
        elif option.startswith("--") and owner is not rule:
            owner.set_parameter(option[2:], [*(["!"] if negated else []), *values] if negated or values else "")
        else:
            raise _Inexpressible(option)
    return rule


@contextmanager
def _locked() -> Iterator[None]:
    """Hold the lock that every legacy iptables takes. Raises: NetdoctorError."""
    handle = os.open(LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        end = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise NetdoctorError(
                        f"another program holds {LOCK} for more than {LOCK_SECONDS:.0f} s",
                        "this step changed nothing; who runs iptables?",
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)
