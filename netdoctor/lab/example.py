"""The example of a rule of the catalogue, rehearsed: build its node, break it, send its client.

Knows nothing of rules: an example is any data that has these fields.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from netdoctor.lab.lab import Backend, ClientResult, Lab
from netdoctor.model.flow import Flow, Proto

if TYPE_CHECKING:
    from collections.abc import Iterator


class Example(Protocol):
    """What a rule file says of the node that it finds something on."""

    @property
    def topology(self) -> str:
        """The name of a topology, in which the client connects."""

    @property
    def breaks(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What breaks it: (host or pod, argument list)."""

    @property
    def client(self) -> str:
        """Where the client runs."""

    @property
    def address(self) -> str:
        """What it calls."""

    @property
    def port(self) -> int | None:
        """And on which port; without one it sends echo requests."""

    @property
    def proto(self) -> str:
        """Tcp or udp."""


@contextmanager
def healthy(example: Example, backend: Backend = "nft") -> Iterator[Lab]:
    """Build the topology as it is before anything breaks."""
    with Lab(example.topology, backend=backend) as lab:
        yield lab


@contextmanager
def broken(example: Example, backend: Backend = "nft") -> Iterator[Lab]:
    """Build the topology and break it. Raises: LabError where a command fails."""
    with healthy(example, backend) as lab:
        break_it(lab, example)
        yield lab


def break_it(lab: Lab, example: Example) -> None:
    """Run the commands that break the node. `iptables` is the tool of the lab's backend. Raises: LabError."""
    for where, words in example.breaks:
        lab.run(where, words, check=True)


def ask(lab: Lab, example: Example) -> ClientResult:
    """Send the example's real client."""
    proto: Proto | None = None
    if example.port is not None:
        proto = "udp" if example.proto == "udp" else "tcp"
    return lab.client(Flow(from_=example.client, to=example.address, proto=proto, dport=example.port))
