"""The files of a saved folder, from a directory or a tar on standard input, bounded in size and number.

Knows nothing of what a file means. Nothing is unpacked to disk, no link is followed, no name leads out of the folder.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import stat
import tarfile
import zlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from netdoctor.model.errors import SnapshotError
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_FILES = 50_000
MOST_DEPTH = 4
MOST_FILE_BYTES = 1 << 30
MOST_BYTES = 2 << 30
_XZ_MEMORY = 256 << 20  # xz -9 needs 65 MiB
_SUFFIXES = (".gz", ".xz")


@dataclass(slots=True)
class Folder:
    """Files by their path in the folder, without `.gz` or `.xz`; and the names of what was refused."""

    _open: dict[str, Callable[[], bytes]] = field(default_factory=dict)
    _packing: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    newest: float = 0.0  # when the youngest file was written, seconds since the epoch
    left: int = MOST_BYTES

    @property
    def names(self) -> list[str]:
        """The paths, sorted."""
        return sorted(self._open)

    def add(self, path: str, written: float, read: Callable[[], bytes]) -> None:
        """Add a file. Raises: SnapshotError where there are too many."""
        if len(self._open) >= MOST_FILES:
            raise SnapshotError(f"cannot read the folder: more than {MOST_FILES} files", "name the folder of one host")
        plain = path.removesuffix(".gz").removesuffix(".xz")
        if plain in self._open and plain != path:
            self.refused.append(f"{path} ({plain} is there too)")
            return
        self._open[plain], self._packing[plain] = read, path[len(plain) :]
        self.newest = max(self.newest, written)

    def read(self, name: str) -> bytes:
        """Return a file's content, unpacked. Raises: SnapshotError where it is damaged, too large or unreadable."""
        try:
            document = _unpack(self._open[name](), self._packing[name], min(MOST_FILE_BYTES, self.left))
        except OSError as error:
            raise SnapshotError(f"cannot read {printable(name)}: {error.strerror or error}") from None
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            raise SnapshotError(f"cannot read {printable(name)}: damaged data ({error})", "copy it again") from None
        self.left -= len(document)
        return document

    def text(self, name: str) -> str:
        """Return a file's content as text; bytes that are not UTF-8 are replaced. Raises: SnapshotError."""
        return self.read(name).decode("utf-8", "replace")

    def without_top(self) -> Folder:
        """Return the folder itself, or the only one in it where it holds nothing else (`tar c node1/`)."""
        tops = {name.partition("/")[0] for name in self._open}
        if len(tops) != 1 or any("/" not in name for name in self._open):
            return self
        cut = len(next(iter(tops))) + 1
        return Folder(
            {name[cut:]: read for name, read in self._open.items()},
            {name[cut:]: packing for name, packing in self._packing.items()},
            self.refused,
            self.newest,
            self.left,
        )


def _unpack(document: bytes, packing: str, most: int) -> bytes:
    if packing == ".gz":
        with gzip.GzipFile(fileobj=io.BytesIO(document)) as stream:
            document = stream.read(most + 1)
    elif packing == ".xz":
        document = _unpack_xz(document, most)
    if len(document) > most:
        raise SnapshotError(f"a file of the folder is larger than {most >> 20} MiB unpacked")
    return document


def _unpack_xz(document: bytes, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while document and size <= most:
        inflate = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
        part = inflate.decompress(document, most + 1 - size)
        while part:
            parts.append(part)
            size += len(part)
            part = b"" if inflate.eof or size > most else inflate.decompress(b"", most + 1 - size)
        if not inflate.eof and size <= most:
            raise EOFError("it is cut short")
        document = inflate.unused_data
    return b"".join(parts)


def directory(path: str) -> Folder:
    """Return the files of a directory. Raises: SnapshotError."""
    folder = Folder()
    try:
        _scan(folder, path, "", 0)
    except NotADirectoryError:
        raise SnapshotError(
            f"cannot read {printable(path)}: it is not a folder",
            "a snapshot is read with --snapshot FILE, a tar with `--from - <FILE`",
        ) from None
    except OSError as error:
        raise SnapshotError(
            f"cannot read {printable(path)}: {error.strerror}", "check the path and its permissions"
        ) from None
    return folder


def _scan(folder: Folder, path: str, prefix: str, depth: int) -> None:
    for entry in os.scandir(path):
        name = f"{prefix}{entry.name}"
        if entry.is_symlink():
            folder.refused.append(f"{name} (a symbolic link)")
        elif entry.is_dir(follow_symlinks=False):
            if depth < MOST_DEPTH:
                _scan(folder, entry.path, f"{name}/", depth + 1)
            else:
                folder.refused.append(f"{name}/ (too deep)")
        elif entry.is_file(follow_symlinks=False):
            folder.add(name, entry.stat(follow_symlinks=False).st_mtime, partial(_read, entry.path))
        else:
            folder.refused.append(f"{name} (not a regular file)")


def _read(path: str) -> bytes:
    """Read a regular file; what became a link or a FIFO since it was listed is refused by the kernel or by us."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SnapshotError(f"cannot read {printable(Path(path).name)}: not a regular file")
        return stream.read(MOST_FILE_BYTES + 1)


class _Bounded(io.RawIOBase):
    """A stream that ends a snapshot, not the machine's memory, where it holds too much."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = MOST_BYTES

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        part = self._stream.read(size)
        self._left -= len(part)
        if self._left < 0:
            raise SnapshotError(f"cannot read the tar: it holds more than {MOST_BYTES >> 30} GiB")
        return part


def tar(stream: IO[bytes]) -> Folder:
    """Return the files of a tar, packed with gzip or xz or not at all, held in memory. Raises: SnapshotError."""
    folder = Folder()
    buffered = io.BufferedReader(stream) if isinstance(stream, io.RawIOBase) else stream
    try:
        with tarfile.open(fileobj=_Bounded(_inflated(buffered)), mode="r|") as archive:
            for count, member in enumerate(archive):
                if count >= MOST_FILES:
                    raise SnapshotError(f"cannot read the tar: more than {MOST_FILES} entries")
                _add_member(folder, archive, member)
    except tarfile.ReadError as error:
        said = str(error)
        why = "it is cut short" if "unexpected end" in said else "it is empty" if "empty" in said else "it is not a tar"
        raise SnapshotError(
            f"cannot read the tar: {why}", "make it with the script that `netdoctor snapshot --collector` prints"
        ) from None
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise SnapshotError(f"cannot read the tar: {error}", "copy or make it again") from None
    return folder.without_top()


def _inflated(stream: IO[bytes]) -> IO[bytes]:
    magic = stream.peek(6)[:6] if isinstance(stream, io.BufferedReader) else b""
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=stream)  # type: ignore[return-value]
    if magic.startswith(b"\xfd7zXZ"):
        return lzma.LZMAFile(stream)
    return stream


def _add_member(folder: Folder, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    parts = [part for part in path.parts if part != "."]
    if member.isdir():
        return
    if path.is_absolute() or ".." in parts or not parts or len(parts) > MOST_DEPTH + 1:
        folder.refused.append(f"{member.name} (it leads out of the folder, or too deep)")
    elif not member.isreg():
        folder.refused.append(f"{member.name} (not a regular file)")
    elif member.size > MOST_FILE_BYTES:
        raise SnapshotError(f"cannot read the tar: {printable(member.name)} is larger than {MOST_FILE_BYTES >> 20} MiB")
    else:
        content = archive.extractfile(member)
        document = b"" if content is None else content.read()
        folder.add("/".join(parts), float(member.mtime), lambda: document)
