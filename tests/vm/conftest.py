"""Everything in this folder asks a second kernel, which has what this machine's lacks: `./dev vm` runs it there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "kernel"))
# Elsewhere than in the guest these tests are not collected: without its modules there is nothing to ask.
collect_ignore_glob = [] if os.environ.get("NETDOCTOR_GUEST") else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test of this folder, so that `-m vm` finds it."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.vm)
