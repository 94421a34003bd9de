"""Everything in this folder asks a real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kernel.fuzz import compare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernel.fuzz.compare import Kernel

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    made = compare.Kernel()
    yield made
    made.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test of this folder, so that `-m kernel` finds it and `-m "not kernel"` leaves it out."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.kernel)
