"""What was planned, done and taken back, on disk before it happens: one JSON file for each plan.

Knows nothing of how a change is made. Folder mode 0700, files 0600, each written whole and synced before anything
changes.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from netdoctor.change.plan import Operation, Plan
from netdoctor.model.errors import NetdoctorError
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE_DIR = "/var/lib/netdoctor"
LOCK_SECONDS = 10.0

State = Literal["planned", "applying", "applied", "kept", "undoing", "undone", "failed"]
StepState = Literal["todo", "begun", "done", "skipped", "undone"]
LIVE: tuple[State, ...] = ("planned", "applying", "applied", "kept", "undoing")  # something of it may be in the kernel


class Target(msgspec.Struct, frozen=True):
    """A namespace as it was found: an inode names it until it dies, or the node is started again."""

    netns: str
    path: str
    inode: int


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One operation, how far it is, and what was there before."""

    operation: Operation
    state: StepState = "todo"
    facts: dict[
        str, Any
    ] = {}  # what the worker noted before the change, so that it can be taken back; then what it made


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One plan's file."""

    plan: Plan
    state: State = "planned"
    made: float  # seconds since the epoch
    boot: str  # /proc/sys/kernel/random/boot_id
    targets: tuple[Target, ...]
    steps: tuple[Step, ...]
    deadline: float | None = None  # undone at this time (seconds since the epoch) unless it is kept
    notes: tuple[str, ...] = ()  # what an undo could not or would not take back
    version: int = 1

    @property
    def id(self) -> str:
        """The plan's."""
        return self.plan.id


class Journal:
    """The plans of a node."""

    def __init__(self, state_dir: str = STATE_DIR) -> None:
        self.state_dir = state_dir
        self.folder = Path(state_dir) / "plans"

    def prepare(self) -> None:
        """Make the folders. Raises: NetdoctorError where they are not ours alone."""
        for folder in (Path(self.state_dir), self.folder):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                status = folder.lstat()
            except OSError as error:
                raise NetdoctorError(
                    f"cannot keep a journal in {folder}: {error.strerror}", "nothing was changed; run it as root"
                ) from None
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
                raise NetdoctorError(
                    f"cannot keep a journal in {folder}: it is a link, or others can write to it",
                    f"nothing was changed; chown root {folder}; chmod 700 {folder}",
                )
        self.folder.chmod(0o700)

    def write(self, entry: Entry) -> None:
        """Write a plan's file and wait until it is on the disk. Raises: NetdoctorError."""
        try:
            handle, temporary = tempfile.mkstemp(prefix=".", dir=self.folder)  # mode 0600
            with os.fdopen(handle, "wb") as stream:
                stream.write(msgspec.json.encode(entry))
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).replace(self.folder / f"{entry.id}.json")
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise NetdoctorError(
                f"cannot write the journal in {self.folder}: {error.strerror}",
                "free space there; see netdoctor fix --status",
            ) from None

    def read(self, name: str) -> Entry:
        """Return a plan by its id. Raises: NetdoctorError."""
        if not re.fullmatch(r"[0-9a-f]{8}", name):
            raise NetdoctorError(f"{printable(name)!r} is not a plan", "netdoctor fix --status lists them")
        path = self.folder / f"{name}.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Entry)
        except FileNotFoundError:
            raise NetdoctorError(f"there is no plan {name}", "netdoctor fix --status lists them") from None
        except OSError as error:
            raise NetdoctorError(f"cannot read plan {name}: {error.strerror}", "run it as root") from None
        except (msgspec.DecodeError, ValueError) as error:
            raise NetdoctorError(f"cannot read plan {name}: {error}", f"look at {path}") from None

    def entries(self) -> list[Entry]:
        """Return all plans, the oldest first. Raises: NetdoctorError where one cannot be read."""
        return sorted((self.read(name) for name in self._names()), key=lambda entry: entry.made)

    def _names(self) -> Iterator[str]:
        try:
            found = sorted(os.listdir(self.folder))  # noqa: PTH208
        except FileNotFoundError:
            return
        except OSError as error:
            raise NetdoctorError(f"cannot read {self.folder}: {error.strerror}", "run it as root") from None
        for name in found:
            if re.fullmatch(r"[0-9a-f]{8}\.json", name):
                yield name[:-5]

    def lock(self, seconds: float = LOCK_SECONDS) -> int:
        """Return a descriptor that holds the node's lock until the last copy of it is closed.

        Workers and what they run inherit it, so that whoever has the lock next knows that nobody is at work any more.
        Raises: NetdoctorError where another one keeps it longer than `seconds`.
        """
        handle = os.open(Path(self.state_dir) / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    os.close(handle)
                    raise NetdoctorError(
                        "another netdoctor is changing this node", "wait for it; see netdoctor fix --status"
                    ) from None
                time.sleep(0.05)
            else:
                return handle


def boot_id() -> str:
    """Return what is different after every start of the node."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
