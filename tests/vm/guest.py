"""A small machine with another kernel, for what the kernel of this one lacks: `guest.py COMMAND ...` runs one in it.

The guest sees this machine's files, read-only under a layer of its own; it has no network and leaves nothing behind.
Its kernel is Debian's for clouds, unpacked in the user's cache and never installed. Knows nothing of what is tested.
"""

from __future__ import annotations

import gzip
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

META_PACKAGE = "linux-image-cloud-amd64"
SHELL_PACKAGE = "busybox-static"
VIRTIOFSD = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")
MEMORY = "2G"
DEADLINE = 1800  # seconds
EXITED = "guest: exit status "
BOOT_MODULES = ("virtio_pci", "virtiofs", "overlay")  # what mounts this machine's files
INIT = """#!/bin/sh
mount -t proc proc /proc
for module in {modules}; do insmod "/$module.ko"; done
mount -t virtiofs -o ro host /host
mount -t tmpfs tmpfs /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work overlay /root
for place in run tmp lib/modules; do mkdir -p "/root/$place"; done
mount -t proc proc /root/proc
mount -t sysfs sysfs /root/sys
mount -t devtmpfs devtmpfs /root/dev
mkdir -p /root/dev/pts /root/dev/shm
mount -t devpts devpts /root/dev/pts
mount -t tmpfs -o mode=755 tmpfs /root/run
mount -t tmpfs -o mode=1777 tmpfs /root/scratch 2>/dev/null
mkdir /root/run/guest
cp /bin/busybox /command /root/run/guest/
for tool in modprobe lsmod rmmod; do ln -s busybox "/root/run/guest/$tool"; done
mkdir -p /modules
mount --bind "/host{modules_folder}" /root/lib/modules
echo /run/guest/modprobe > /proc/sys/kernel/modprobe
umount /proc
exec switch_root /root /bin/sh /run/guest/command
"""
COMMAND = """
export PATH=/run/guest:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C.UTF-8
export NETDOCTOR_GUEST=1 PYTHONDONTWRITEBYTECODE=1
ip link set lo up
hostname guest
modprobe br_netfilter
cd {folder}
{command} </dev/null 2>&1
echo "{exited}$?"
sync
echo o > /proc/sysrq-trigger
sleep 60
"""


class GuestError(Exception):
    """The guest cannot be made; says what to try."""


def cache() -> Path:
    """Return the folder where the guest's kernel is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "netdoctor" / "vm"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kernel() -> Path:
    """Return where the kernel's package is unpacked, with `boot/vmlinuz-*` and its modules; fetch it where needed."""
    place = cache() / "kernel"
    if not place.is_dir():
        name = next(
            (
                line.split()[-1]
                for line in _said("apt-cache", "depends", META_PACKAGE)
                if "Depends: linux-image-" in line
            ),
            None,
        )
        if name is None:
            raise GuestError(
                f"the package lists do not know {META_PACKAGE}: the guest needs Debian and `apt-get update`"
            )
        unpacked = Path(tempfile.mkdtemp(dir=cache()))
        _unpack(name, unpacked)
        version = next((unpacked / "lib" / "modules").iterdir()).name
        _run(_shell(), "depmod", "-b", unpacked, version)
        unpacked.chmod(0o755)
        unpacked.rename(place)
    return place


def _shell() -> Path:
    """Return the static busybox that is all there is until the files of this machine are mounted."""
    place = cache() / "busybox"
    if not place.is_dir():
        unpacked = Path(tempfile.mkdtemp(dir=cache()))
        _unpack(SHELL_PACKAGE, unpacked)
        unpacked.rename(place)
    return next(path for path in (place / "bin/busybox", place / "usr/bin/busybox") if path.exists())


def _unpack(package: str, folder: Path) -> None:
    """Fetch a package and unpack it: nothing is installed, none of its scripts is run."""
    with tempfile.TemporaryDirectory(dir=cache()) as scratch:
        _run("apt-get", "-q", "download", package, cwd=scratch)
        _run("dpkg", "-x", next(Path(scratch).glob("*.deb")), folder)


def _run(*words: str | Path, cwd: str | None = None) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode != 0:
        raise GuestError(f"{' '.join(map(str, words))} failed: {done.stderr.strip()}")


def _said(*words: str) -> list[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines()


def initramfs(command: Sequence[str], folder: Path) -> bytes:
    """Return the first file system of the guest: a shell, the modules that mount the rest, and what is to be run."""
    place = kernel()
    files = {"bin/busybox": _shell().read_bytes()}
    modules = list(dict.fromkeys(path for name in BOOT_MODULES for path in _with_needed(place, name)))
    files |= {path.name: path.read_bytes() for path in modules}
    names = [path.name.partition(".")[0] for path in modules]
    files["init"] = INIT.format(modules=" ".join(names), modules_folder=place / "lib/modules").encode()
    files["command"] = COMMAND.format(
        folder=shlex.quote(str(folder)), command=shlex.join(command), exited=EXITED
    ).encode()
    links = {
        f"bin/{tool}": "busybox" for tool in ("sh", "mount", "umount", "insmod", "mkdir", "cp", "ln", "switch_root")
    }
    return gzip.compress(b"".join(_archive(("bin", "proc", "host", "layer", "root"), files, links)), 1)


def _with_needed(place: Path, module: str) -> list[Path]:
    """Return the files of a module and of those that it needs, in the order in which they are loaded (modules.dep)."""
    tree = next((place / "lib" / "modules").iterdir())
    for line in (tree / "modules.dep").read_text().splitlines():
        name, _, needed = line.partition(":")
        if Path(name).name.partition(".")[0] == module:
            return [tree / path for path in (*reversed(needed.split()), name)]
    raise GuestError(f"the guest's kernel has no module {module}; remove {cache()} and try again")


def _archive(folders: Sequence[str], files: dict[str, bytes], links: dict[str, str]) -> Iterator[bytes]:
    """Write a cpio archive. Source: Documentation/driver-api/early-userspace/buffer-format.rst"""
    entries = [(name, 0o040755, b"") for name in folders]
    entries += [(name, 0o100755, data) for name, data in files.items()]
    entries += [(name, 0o120777, goal.encode()) for name, goal in links.items()]
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        yield head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def run(command: Sequence[str], folder: Path) -> int:
    """Boot the guest, run the command in `folder` of its own view of this machine's files, return its exit status.

    What it prints is printed. Raises: GuestError.
    """
    program = shutil.which("qemu-system-x86_64")
    server = next((path for path in VIRTIOFSD if Path(path).exists()), None)
    if program is None or server is None:
        raise GuestError("qemu-system-x86_64 or virtiofsd is not installed: apt-get install qemu-system-x86 virtiofsd")
    with tempfile.TemporaryDirectory(prefix="netdoctor-vm-") as scratch:
        socket, first = Path(scratch, "files"), Path(scratch, "initramfs")
        first.write_bytes(initramfs(command, folder))
        files = subprocess.Popen(
            [server, f"--socket-path={socket}", "-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _await(socket, files)
            return _boot(program, socket, first)
        finally:
            files.terminate()
            files.wait()


def _await(socket: Path, server: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        if socket.exists():
            return
        if server.poll() is not None:
            break
        time.sleep(0.05)
    raise GuestError("virtiofsd does not serve the files of this machine: run it as root")


def _boot(program: str, socket: Path, first: Path) -> int:
    words = [
        program, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY, "-nodefaults",
        "-no-reboot", "-display", "none", "-serial", "stdio", "-monitor", "none", "-net", "none",
        "-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on", "-numa", "node,memdev=memory",
        "-chardev", f"socket,id=files,path={socket}", "-device", "vhost-user-fs-pci,chardev=files,tag=host",
        "-kernel", str(next((kernel() / "boot").glob("vmlinuz-*"))), "-initrd", str(first),
        "-append", "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off random.trust_cpu=on",
    ]  # fmt: skip
    status = None
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as machine:
        assert machine.stdout is not None
        deadline = time.monotonic() + DEADLINE
        try:
            for raw in machine.stdout:
                line = raw.decode(errors="replace").rstrip()
                if EXITED in line:
                    status = int(line.rpartition(EXITED)[2])
                    break
                print(line, flush=True)
                if time.monotonic() > deadline:
                    raise GuestError(f"the guest took more than {DEADLINE} s")
        finally:
            machine.kill()
    if status is None:
        raise GuestError("the guest ended before its command did")
    return status


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the guest ends, and its files go
    try:
        sys.exit(run(sys.argv[1:], Path.cwd()))
    except GuestError as error:
        sys.exit(f"vm: {error}")
