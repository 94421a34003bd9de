"""What was computed from an immutable part of a snapshot, kept while that part is in use (what-if worlds share parts).

Knows nothing of what is computed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_LIMIT = 4096
_kept: OrderedDict[tuple[int, str], tuple[Any, Any]] = OrderedDict()


def shared(part: object, kind: str, build: Callable[[], _T]) -> _T:
    """Return `build()`, computed once for each (identity of `part`, `kind`). `part` must never change.

    The part itself is kept beside the value, so that its identity cannot be given to another object meanwhile.
    """
    key = (id(part), kind)
    found = _kept.get(key)
    if found is not None and found[0] is part:
        _kept.move_to_end(key)
        value: _T = found[1]
        return value
    value = build()
    _kept[key] = (part, value)
    while len(_kept) > _LIMIT:
        _kept.popitem(last=False)
    return value
