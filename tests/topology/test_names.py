"""Which namespace a user means."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from netdoctor.model import store
from netdoctor.model.errors import UnknownNamespaceError
from netdoctor.topology.world import World

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "snapshots"


@pytest.fixture
def named():
    """`named(*names)` is a world whose host has pods of these names."""
    taken = store.load(str(FIXTURES / "two-pods-healthy.json.gz"))
    host, pod, *_ = taken.namespaces

    def make(*names: str) -> World:
        pods = tuple(replace(pod, name=name, aliases=(), inode=number) for number, name in enumerate(names, 1))
        return World(replace(taken, namespaces=(host, *pods)))

    return make


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("shop/web-6c8", "shop/web-6c8"),
        ("web-6c8", "shop/web-6c8"),
        ("shop/web", "shop/web-6c8"),
        ("shop/cart", "shop/cart-7f9d8b6c5d-x2lqz"),
        ("shop/db", "shop/db-0"),
        ("shop/web-admin", "shop/web-admin-6c8"),
        ("host", "host"),
    ],
)
def test_a_pod_is_found_by_its_name_its_tail_or_what_made_it(named, said, meant) -> None:
    world = named("shop/web-6c8", "shop/web-admin-6c8", "shop/cart-7f9d8b6c5d-x2lqz", "shop/db-0")
    assert world.namespace(said).name == meant


def test_the_name_of_what_made_several_pods_is_refused_with_the_list(named) -> None:
    world = named("shop/web-6c8", "shop/web-7f9")
    with pytest.raises(UnknownNamespaceError, match=r"fits several: shop/web-6c8, shop/web-7f9"):
        world.namespace("shop/web")


@pytest.mark.parametrize("said", ["shop/we", "shop/", "shop", "web"])
def test_what_fits_nothing_is_refused(named, said) -> None:
    with pytest.raises(UnknownNamespaceError, match="no namespace"):
        named("shop/web-6c8", "shop/web-admin-6c8").namespace(said)
