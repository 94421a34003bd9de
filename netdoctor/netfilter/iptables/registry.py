"""Finds the class of a match or target by its name, importing its file when a rule first uses it.

Knows nothing of what the classes do. The name decides the file: `-m ipv6header` is `matches/ipv6header.py`.
"""

from __future__ import annotations

import importlib
import keyword
import re
from functools import lru_cache
from typing import TypeVar

from netdoctor.netfilter.iptables.extension import Extension, Match, Target

E = TypeVar("E", bound=Extension)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")


@lru_cache(maxsize=1024)  # names come from files of strangers
def match_class(name: str) -> type[Match] | None:
    """Return the class of `-m NAME`, None where there is none."""
    return _find("matches", name, Match)


@lru_cache(maxsize=1024)
def target_class(name: str) -> type[Target] | None:
    """Return the class of `-j NAME`, None where there is none (then it is a user-defined chain, or not known)."""
    return _find("targets", name, Target) if name.isupper() or name.upper() == name else None


def _find(package: str, name: str, base: type[E]) -> type[E] | None:
    if not _NAME.match(name):  # a name from a stranger's file never becomes an import of something else
        return None
    file = name.lower().replace("-", "_")
    try:
        module = importlib.import_module(f"{__package__}.{package}.{file}{'_' * keyword.iskeyword(file)}")
    except ModuleNotFoundError:
        return None
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, base) and value is not base:
            names = (value.name, *value.revision_names) if "name" in vars(value) else ()
            if name in names:
                return value
    return None
