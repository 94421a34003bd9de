"""Reads small state files that others write: torn, huge, hostile or vanishing ones are noted and never end a snapshot.

Knows nothing of what is in them: the caller says which fields of a document it wants, the others are never decoded.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, TypeVar

import msgspec

from netdoctor.model.snapshot import Unread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

T = TypeVar("T")

MOST_BYTES = 8 << 20  # a state file that is larger is not one
MOST_FILES = 20_000


def read(path: Path) -> bytes:
    """Return a regular file's bytes. Raises: OSError, ValueError (too large, not a regular file).

    O_NONBLOCK: a FIFO in a runtime's folder must not hold a snapshot up.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        document = stream.read(MOST_BYTES + 1)
    if len(document) > MOST_BYTES:
        raise ValueError("too large for a state file")
    return document


def documents(paths: Iterable[Path], kind: type[T], unread: list[Unread]) -> Iterator[tuple[Path, T]]:
    """Yield the files that hold a JSON document of `kind`; note the others, but for those that vanished meanwhile."""
    for count, path in enumerate(paths):
        if count >= MOST_FILES:
            unread.append(Unread("workloads", f"more than {MOST_FILES} state files in {path.parent.parent}"))
            return
        document = one(path, kind, unread)
        if document is not None:
            yield path, document


def one(path: Path, kind: type[T], unread: list[Unread]) -> T | None:
    """Return what the JSON file at `path` holds, None where it is not there or could not be read (which is noted)."""
    try:
        return msgspec.json.decode(read(path), type=kind)
    except FileNotFoundError:
        return None
    except OSError as error:
        unread.append(Unread("workloads", f"{path}: {error.strerror}"))
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        unread.append(Unread("workloads", f"{path}: {error}"))
    return None


def pid(path: Path) -> int | None:
    """Return the process id that a pid file holds, None where there is none."""
    try:
        text = read(path).strip()
    except (OSError, ValueError):
        return None
    return int(text) if text.isdigit() and 0 < len(text) < 10 else None


def entries(folder: Path, pattern: str, unread: list[Unread]) -> list[Path]:
    """Return what matches `pattern` below `folder`, in order; a folder that may not be read is noted."""
    try:
        folder.stat()
        if not os.access(folder, os.R_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        return sorted(folder.glob(pattern))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        unread.append(Unread("workloads", f"{folder}: {error.strerror}"))
        return []
