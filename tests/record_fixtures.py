"""Records `fixtures/snapshots/` anew on this kernel: `python tests/record_fixtures.py [NAME …]`.

Each healthy topology, and each rule's example after its real client failed, becomes one snapshot, taken in the node.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDER = CHECKOUT / "fixtures" / "snapshots"
SNAPSHOT = (
    "import sys; sys.path.insert(0, {checkout!r}); from netdoctor.cli.main import main; main(['snapshot', '-o', '-'])"
)
sys.path.insert(0, str(CHECKOUT))

from netdoctor.diagnose import loader  # noqa: E402
from netdoctor.lab import example, topology  # noqa: E402
from netdoctor.lab.lab import Backend, Lab  # noqa: E402
from netdoctor.model import store  # noqa: E402


@dataclass(frozen=True, slots=True)
class Recording:
    """One file: what to build, what is wrong with it, which findings it must give."""

    name: str
    topology: str
    backend: Backend = "nft"
    rule: str | None = None

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}.json.gz"


def recordings() -> Iterator[Recording]:
    """Everything that there is to record."""
    for name in topology.names():
        yield Recording(f"{name}-healthy", name)
    yield Recording("two-pods-healthy-legacy", "two-pods", "legacy")
    for rule in loader.load():
        if rule.example is not None:
            yield Recording(rule.rule.id, rule.example.topology, "nft", rule.rule.id)
    yield Recording("hairpin-snat-missing-legacy", "two-pods", "legacy", "hairpin-snat-missing")


def record(one: Recording) -> None:
    """Build, break, send the real client, and take the snapshot inside the first host."""
    with Lab(one.topology, backend=one.backend) as lab:
        if one.rule is not None:
            broken = loader.by_name(one.rule).example
            assert broken is not None
            example.break_it(lab, broken)
            result = example.ask(lab, broken)
            assert result.connects == "no", f"{one.name}: the client connects: {result}"
        program = SNAPSHOT.format(checkout=str(CHECKOUT))
        taken = lab.run(lab.topology.hosts[0].name, [sys.executable, "-c", program], check=True)
    store.save(store.decode(taken.stdout.encode(), one.name), str(one.path))


def main() -> None:
    """Record what the arguments name, or everything."""
    FOLDER.mkdir(exist_ok=True)
    for one in recordings():
        if not sys.argv[1:] or one.name in sys.argv[1:]:
            record(one)
            print(f"{one.name}: {one.path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
