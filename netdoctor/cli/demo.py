"""`netdoctor demo`: a rule's example replayed in throw-away namespaces: broken, found, fixed, undone.

Knows nothing of any rule; it runs netdoctor's own commands inside the node, as a user would.
"""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import click

from netdoctor.cli import status
from netdoctor.cli.output import Paint, wants_colour, write
from netdoctor.model.errors import LabError, NetdoctorError
from netdoctor.model.text import printable

if TYPE_CHECKING:
    import subprocess

    from netdoctor.diagnose.loader import LoadedRule
    from netdoctor.diagnose.rule import Example
    from netdoctor.lab.lab import Backend, ClientResult, Lab

FIRST = "hairpin-snat-missing"  # the case that started it
PROGRAM = (sys.executable, "-P", "-m", "netdoctor.cli.main")


@click.command(short_help="replay a failure: broken, found, fixed, undone")
@click.argument("rule", default=FIRST)
@click.option("--backend", type=click.Choice(["nft", "legacy"]), default="nft", show_default=True,
              help="Which iptables the node uses.")  # fmt: skip
def demo(rule: str, backend: Backend) -> int:
    """Build a small broken node in throw-away namespaces, find out why, repair it, and take everything back.

    Nothing of this machine is touched, and nothing is left behind.
    """
    from netdoctor.diagnose.loader import by_name
    from netdoctor.lab.example import healthy

    loaded = by_name(rule)
    example = loaded.example
    if example is None:
        raise NetdoctorError(f"{loaded.rule.id} has no example to replay", "`netdoctor explain` prints its page")
    paint = Paint(colour=wants_colour())
    write(paint(loaded.rule.title, "bold"))
    try:
        with healthy(example, backend) as lab:
            _replay(lab, example, paint)
    except LabError as error:
        if _can_build():
            raise
        return _from_recording(loaded, paint, str(error))
    write(paint("\nThe namespaces are gone; nothing is left behind.", "green"))
    return status.OK


def _replay(lab: Lab, example: Example, paint: Paint) -> None:
    from netdoctor.lab.example import ask, break_it

    host = lab.topology.hosts[0].name
    called = f"{example.address}{f':{example.port}' if example.port is not None else ''}"
    title = f"{example.client} calls {called}"
    _tell(paint, "A healthy node", title)
    _expect(ask(lab, example), "yes", paint)
    for where, words in example.breaks:
        _tell(paint, "Something breaks it", f"{where}# {shlex.join(words)}")
    break_it(lab, example)
    _expect(ask(lab, example), "no", paint)
    before = lab.state(host)
    _netdoctor(lab, host, paint, "What is wrong?", ["check"], status.FINDINGS)
    _netdoctor(lab, host, paint, "Which way does the packet go?",
               ["trace", "--from", example.client, "--to", f"{called}/{example.proto}" if example.port else called],
               status.FINDINGS)  # fmt: skip
    _netdoctor(lab, host, paint, "What can be done?", ["fix"], status.OK)
    _netdoctor(lab, host, paint, "Do it", ["fix", "--apply", "--yes"], status.OK)
    _tell(paint, "The same client", title)
    _expect(ask(lab, example), "yes", paint)
    _netdoctor(lab, host, paint, "Take it back", ["fix", "--undo", "--yes"], status.OK)
    after = lab.state(host)
    if after != before:
        moved = [title for title, text in before.items() if after.get(title) != text]
        raise NetdoctorError(f"the undo did not restore: {', '.join(moved)}", "please report this")
    write(f"  {len(before)} parts of the node's state (rules, sysctls, links, routes, …) are as they were")
    _expect(ask(lab, example), "no", paint)


def _tell(paint: Paint, title: str, line: str) -> None:
    write(f"\n{paint(f'== {title}', 'bold', 'cyan')}\n  {line}")


def _expect(result: ClientResult, connects: str, paint: Paint) -> None:
    """Raises: NetdoctorError where the real client says something else."""
    said = "connects" if result.connects == "yes" else f"does not connect: {result.error or 'no answer'}"
    write("  the real client " + paint(said, "green" if result.connects == "yes" else "red"))
    if result.connects != connects:
        raise NetdoctorError(f"the demo expected {connects}, but the real client {said}", "please report this")


def _netdoctor(lab: Lab, host: str, paint: Paint, title: str, words: list[str], expected: int) -> None:
    """Run one of netdoctor's commands on the node and show what it says. Raises: NetdoctorError where it fails."""
    _tell(paint, title, f"{host}# netdoctor {shlex.join(words)}")
    sys.stdout.flush()
    done = run(lab, host, words, colour=wants_colour())
    write("\n".join(f"  {line}" for line in done.stdout.splitlines()))
    if done.returncode != expected:
        why = printable((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
        raise NetdoctorError(f"netdoctor {words[0]} did not do what the demo shows: {why}", "please report this")


def run(lab: Lab, host: str, words: list[str], *, colour: bool = False) -> subprocess.CompletedProcess[str]:
    """Run netdoctor inside a host of the lab; it has a journal of its own there, and no way to the user's."""
    # Whoever came to this machine by SSH did not come to the lab's node by it.
    environment = {"FORCE_COLOR": "1"} if colour else {"NO_COLOR": "1", "FORCE_COLOR": ""}
    return lab.run(host, ["env", "-u", "SSH_CONNECTION", *PROGRAM, *words], env=environment, timeout=120)


def _can_build() -> bool:
    from netdoctor.lab import process

    try:
        process.close(process.keeper("lab"))
    except LabError:
        return False
    return True


def _from_recording(loaded: LoadedRule, paint: Paint, why: str) -> int:
    """The reading half, on the recorded snapshot of the same node."""
    from netdoctor.cli.main import run_words
    from netdoctor.diagnose.loader import recording

    path = recording(loaded.rule.id)
    if path is None:
        raise NetdoctorError(f"no namespace can be built here: {why}", "run it as root")
    example = loaded.example
    assert example is not None
    called = f"{example.address}:{example.port}/{example.proto}" if example.port is not None else example.address
    write(f"No namespace can be built here ({printable(why)}).")
    write("This is the reading half, on a snapshot that was recorded on such a node; run it as root to see the rest.")
    for title, words in (
        ("What is wrong?", ["check"]),
        ("Which way does the packet go?", ["trace", "--from", example.client, "--to", called]),
        ("What can be done?", ["fix"]),
    ):
        words[1:1] = ["--snapshot", str(path)]
        _tell(paint, title, f"netdoctor {shlex.join(words)}")
        run_words(words)
    return status.OK
