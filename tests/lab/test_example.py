"""An example is rehearsed with the tools of either backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from netdoctor.lab import example
from netdoctor.model.errors import LabError

if TYPE_CHECKING:
    from netdoctor.lab.lab import Backend

pytestmark = pytest.mark.kernel


@dataclass(frozen=True)
class Policy:
    """A node that forwards nothing by its policy."""

    topology: str = "two-pods"
    breaks: tuple[tuple[str, tuple[str, ...]], ...] = (("node", ("iptables", "-P", "FORWARD", "DROP")),)
    client: str = "shop/web-6c8"
    address: str = "203.0.113.1"
    port: int | None = 443
    proto: str = "tcp"


def test_the_client_connects_before_the_commands_and_not_afterwards(backend: Backend) -> None:
    with example.healthy(Policy(), backend) as lab:
        before = example.ask(lab, Policy()).connects
        example.break_it(lab, Policy())
        after = example.ask(lab, Policy())
    assert (before, after.connects, after.error) == ("yes", "no", "timeout")


def test_without_a_port_the_client_sends_echo_requests() -> None:
    with example.broken(Policy(port=None, breaks=())) as lab:
        assert example.ask(lab, Policy(port=None)).connects == "yes"


def test_a_command_that_does_not_break_but_fails_is_an_error() -> None:
    breaks = (("node", ("iptables", "-P", "NOWHERE", "DROP")),)
    with (
        pytest.raises(LabError, match="iptables-nft -P NOWHERE DROP on node failed"),
        example.broken(Policy(breaks=breaks)),
    ):
        pass
