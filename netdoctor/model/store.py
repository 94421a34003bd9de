"""Snapshots as files: one JSON document, gzipped where the name ends in `.gz`, mode 0600, never through a link.

Knows nothing of how a snapshot is taken. Errors are one line that names the file.
"""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
import zlib
from pathlib import Path

import msgspec

from netdoctor.model.errors import SnapshotError
from netdoctor.model.snapshot import FORMAT_NAME, FORMAT_VERSION, Snapshot

MAX_BYTES = 4 << 30  # a gzip bomb ends here, not in the machine's memory


class _Header(msgspec.Struct):
    format: str = ""
    version: int = 0


def encode(snapshot: Snapshot) -> bytes:
    """Return the document, one line of JSON with a newline at its end."""
    return msgspec.json.encode(snapshot) + b"\n"


def decode(document: bytes, name: str = "snapshot") -> Snapshot:
    """Return the snapshot that `document` holds. `name` is said in errors.

    Raises: SnapshotError where it is cut short, not a snapshot, or of a newer format.
    """
    if document[:2] == b"\x1f\x8b":
        document = _gunzip(document, name)
    try:
        header = msgspec.json.decode(document, type=_Header)
    except msgspec.DecodeError as error:
        raise SnapshotError(f"cannot read snapshot {name}: {_why(error, document)}", _hint(document)) from None
    if header.format != FORMAT_NAME:
        raise SnapshotError(
            f"cannot read snapshot {name}: it is JSON, but not a netdoctor snapshot",
            "saved tool output is read with `netdoctor snapshot --from DIR`",
        )
    if header.version > FORMAT_VERSION:
        raise SnapshotError(
            f"cannot read snapshot {name}: format version {header.version} is newer than {FORMAT_VERSION}",
            "read it with a newer netdoctor",
        )
    try:
        return msgspec.json.decode(document, type=Snapshot)
    except msgspec.DecodeError as error:
        raise SnapshotError(f"cannot read snapshot {name}: {_why(error, document)}", "take it again") from None


def load(path: str) -> Snapshot:
    """Read a snapshot from a file, or from standard input for `-`. Raises: SnapshotError."""
    if path == "-":
        return decode(sys.stdin.buffer.read(MAX_BYTES), "from standard input")
    try:
        document = Path(path).read_bytes()
    except IsADirectoryError:
        raise SnapshotError(
            f"cannot read snapshot {path}: it is a folder",
            f"read saved tool output with `netdoctor snapshot --from {path}`",
        ) from None
    except OSError as error:
        raise SnapshotError(
            f"cannot read snapshot {path}: {error.strerror}", "check the path and its permissions"
        ) from None
    return decode(document, path)


def save(snapshot: Snapshot, path: str) -> None:
    """Write a snapshot with mode 0600, whole or not at all; a link at `path` is refused. Raises: SnapshotError."""
    target = Path(path)
    document = encode(snapshot)
    if path.endswith(".gz"):
        document = gzip.compress(document, 6, mtime=0)
    try:
        if target.is_symlink():
            raise SnapshotError(f"cannot write snapshot {path}: it is a symbolic link", "name a file of its own")
        if target.exists() and not target.is_file():
            raise SnapshotError(
                f"cannot write snapshot {path}: it is not a regular file", "use -o - for standard output"
            )
        handle, temporary = tempfile.mkstemp(prefix=".netdoctor-", dir=target.parent)  # mkstemp: mode 0600, O_EXCL
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(document)
            Path(temporary).replace(target)  # rename(2) replaces a link that appeared meanwhile, it never follows it
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SnapshotError(f"cannot write snapshot {path}: {error.strerror}", "choose another place with -o") from None


def _gunzip(document: bytes, name: str) -> bytes:
    inflate = zlib.decompressobj(wbits=31)
    try:
        text = inflate.decompress(document, MAX_BYTES)
    except zlib.error as error:
        raise SnapshotError(f"cannot read snapshot {name}: damaged gzip data ({error})", "take it again") from None
    if inflate.unconsumed_tail:
        raise SnapshotError(f"cannot read snapshot {name}: more than {MAX_BYTES >> 30} GiB unpacked", "take it again")
    if not inflate.eof:
        raise SnapshotError(f"cannot read snapshot {name}: the file is cut short", "copy or take it again")
    return text


def _why(error: msgspec.DecodeError, document: bytes) -> str:
    if not document.strip():
        return "the file is empty"
    if "truncated" in str(error):
        return "the file is cut short"
    return str(error)


def _hint(document: bytes) -> str:
    if document.lstrip()[:1] not in (b"{", b""):
        return "saved tool output is read with `netdoctor snapshot --from DIR`"
    return "copy or take it again"
