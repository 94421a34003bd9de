"""What every test may ask for: throw-away networks of either backend."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from netdoctor.lab.lab import Backend, Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netdoctor.lab.topology import Topology


@pytest.fixture(params=["nft", "legacy"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Either backend of iptables; a test that asks for it runs twice."""
    return request.param


@pytest.fixture
def build() -> Iterator[Callable[..., Lab]]:
    """`build(topology, backend="nft")` makes a lab that ends with the test."""
    with ExitStack() as stack:

        def make(name: str | Topology, backend: Backend = "nft") -> Lab:
            return stack.enter_context(Lab(name, backend=backend))

        yield make


@pytest.fixture
def two_pods(build: Callable[..., Lab], backend: Backend) -> Lab:
    """The healthy Kubernetes node of fixtures/topologies/two-pods.json, for each backend."""
    return build("two-pods", backend)
