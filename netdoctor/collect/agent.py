"""The process that enters namespaces, so that the one which asked never does. It forks a worker for each.

Knows nothing of names or runtimes: it is told what to read, and sends back what was read. Run as `python -m`.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time

import msgspec

from netdoctor.collect import namespaces
from netdoctor.collect.reader import Reader
from netdoctor.model.snapshot import Namespace, Unread

CLONE_NEWNET = 0x40000000
WORKER_SECONDS = 60.0


class Job(msgspec.Struct):
    """One namespace to be read: how to open it and what the others shall call it."""

    name: str
    path: str
    own: bool = False  # the caller's own namespace: nothing to enter


class Result(msgspec.Struct):
    """What came of a job."""

    name: str
    namespace: Namespace | None
    unread: tuple[Unread, ...] = ()


def main() -> None:
    """Read jobs from standard input (one JSON list), write a result for each, one JSON line each, as they are done."""
    jobs = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Job])
    holders = namespaces.socket_holders()
    opened: list[tuple[str, int]] = []
    failed: list[Result] = []
    todo: list[tuple[Job, int]] = []
    for job in jobs:
        try:
            descriptor = os.open(job.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            failed.append(_lost(job, f"it vanished: {error.strerror}" if error.errno == 2 else error.strerror or "?"))
            continue
        opened.append((job.name, descriptor))
        todo.append((job, descriptor))
    for result in failed:
        _send(msgspec.json.encode(result))
    _Pool(todo, opened, holders).run()


class _Pool:
    """As many workers at once as there are processors, each bounded in time."""

    def __init__(
        self, todo: list[tuple[Job, int]], opened: list[tuple[str, int]], holders: dict[int, tuple[str, int]]
    ) -> None:
        self.todo = todo[::-1]
        self.opened = opened
        self.holders = holders
        self.running: dict[int, tuple[Job, int, float, bytearray]] = {}  # pipe -> job, pid, deadline, what it wrote
        self.most = max(2, os.cpu_count() or 2)

    def run(self) -> None:
        while self.todo or self.running:
            while self.todo and len(self.running) < self.most:
                self._start(*self.todo.pop())
            self._collect()

    def _start(self, job: Job, descriptor: int) -> None:
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            _work(job, descriptor, write_end, self.opened, self.holders)
        os.close(write_end)
        self.running[read_end] = (job, pid, time.monotonic() + WORKER_SECONDS, bytearray())

    def _collect(self) -> None:
        ready, _, _ = select.select(list(self.running), [], [], 0.5)
        for pipe in ready:
            job, pid, _, written = self.running[pipe]
            part = os.read(pipe, 1 << 20)
            if part:
                written += part
                continue
            self._end(pipe, pid)
            _send(bytes(written) or msgspec.json.encode(_lost(job, "reading it ended unexpectedly")))
        for pipe, (job, pid, deadline, _) in list(self.running.items()):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                self._end(pipe, pid)
                _send(msgspec.json.encode(_lost(job, f"reading it took more than {WORKER_SECONDS:.0f} s")))

    def _end(self, pipe: int, pid: int) -> None:
        os.close(pipe)
        os.waitpid(pid, 0)
        del self.running[pipe]


def _work(
    job: Job, descriptor: int, pipe: int, opened: list[tuple[str, int]], holders: dict[int, tuple[str, int]]
) -> None:
    """Enter, read, answer and end. Never returns."""
    try:
        try:
            if not job.own:
                _enter(descriptor)
            # The host's own namespace is the peer of nearly every container's: it is asked first.
            reader = Reader(job.name, holders, sorted(opened, key=lambda one: one[0] != "host"))
            result = Result(job.name, reader.read(), tuple(reader.unread))
        except OSError as error:
            result = _lost(job, error.strerror or str(error))
        with os.fdopen(pipe, "wb") as stream:
            stream.write(msgspec.json.encode(result))
    finally:
        os._exit(0)


def _enter(descriptor: int) -> None:
    """setns(2); Python has it from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _lost(job: Job, why: str) -> Result:
    return Result(job.name, None, (Unread("namespace", why, job.name),))


def _send(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
