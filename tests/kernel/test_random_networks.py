"""Whatever the simulator says of a random network, the kernel does; and if it were wrong, this would notice.

The same by hand, for as long as one likes: `./dev kernel-diff SECONDS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kernel.fuzz import compare, faults, generate

if TYPE_CHECKING:
    from tests.kernel.fuzz.compare import Examined, Kernel

NETWORKS = range(401, 419)  # with 30 flows each
# In so few flows only what decides often is found; `./dev kernel-diff 100 --faults` plants all of them.
OFTEN = (
    "negation forgotten", "source and destination address swapped", "protocol overlooked", "ports swapped",
    "every packet is NEW", "policy DROP overlooked", "RETURN taken for ACCEPT", "jump does not come back",
    "REJECT lets through", "no mangle table", "no nat table", "the legacy backend overlooked",
    "the nft backend overlooked", "native chains overlooked", "DNAT without its port",
    "answers are not translated back", "bridge netfilter overlooked", "a local packet is not routed again",
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(kernel: Kernel) -> list[Examined]:
    return [compare.examine(kernel, generate.network(seed)) for seed in NETWORKS]


def test_the_simulator_and_the_kernel_agree_about_random_networks_and_planted_faults_are_noticed(
    corpus: list[Examined],
) -> None:
    said = [
        f"{difference}\n{examined.network.script(call)}"
        for examined in corpus
        for call, trace, observed, difference in compare.differences(examined)
        if difference and not compare.is_unknown(trace)
    ]
    assert said == []
    by_name = {fault.name: fault for fault in faults.FAULTS}
    lost = [name for name in OFTEN if faults.find(by_name[name], corpus, set()) is None]
    assert lost == []


def test_a_network_is_the_same_for_its_seed() -> None:
    assert generate.network(7) == generate.network(7)
