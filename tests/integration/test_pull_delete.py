"""Models deleted while others that share their layers are on their way: what another model needs never goes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import pytest

from a3s_power.core.errors import BadManifest, ModelNotFound
from a3s_power.core.manifest import LICENSE, SYSTEM
from a3s_power.registry.supply import Supply
from tests.pulling import pull, supply
from tests.registries import Registry
from tests.stores import files_below, gguf, named

_TURNS = 4
_PAUSE_SECONDS = 0.01
"""Between two deletions: long enough that some pulls get through."""
_WEIGHTS = gguf().ljust(200_000, b"\0")
"""Shared by all, and in several parts on its way."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry().running() as running:
        for name in ("kept", "one", "two"):
            running.add(f"ns/{name}", (LICENSE, b"shared, too"), (SYSTEM, name.encode()), weights=_WEIGHTS)
        yield running


def _pull_often(world: Supply, name: str, together: Barrier) -> int:
    """How many pulls arrived; one may give up when its layers go as fast as they come."""
    together.wait(30)
    arrived = 0
    for _ in range(_TURNS):
        try:
            arrived += pull(world, name).lines[-1] == "success"
        except BadManifest as error:
            assert "as fast as they arrive" in error.message  # noqa: PT017 -- one of two good ends
    return arrived


def _delete_often(world: Supply, names: list[str], together: Barrier, enough: Event) -> int:
    """How many models were deleted."""
    together.wait(30)
    deleted = 0
    while not enough.wait(_PAUSE_SECONDS):
        for name in names:
            try:
                world.store.delete(named(name))
            except ModelNotFound:
                continue
            deleted += 1
    return deleted


@pytest.mark.parametrize("shared", [True, False], ids=["another-has-them", "nobody-has-them"])
def test_deleting_takes_nothing_that_another_pull_or_model_needs(
    registry: Registry, tmp_path: Path, shared: bool
) -> None:
    world, enough, together = supply(tmp_path), Event(), Barrier(4)
    kept, *names = [f"{registry.host}/ns/{name}" for name in ("kept", "one", "two")]
    if shared:
        pull(world, kept)
    with ThreadPoolExecutor(4) as pool:
        pulls = [pool.submit(_pull_often, world, name, together) for name in names]
        deletions = [pool.submit(_delete_often, world, names, together, enough) for _ in range(2)]
        try:
            arrived = [one.result(60) for one in pulls]
        finally:
            enough.set()
        deleted = sum(one.result(60) for one in deletions)
    assert min(arrived) > 0
    assert deleted > 0
    for listing in world.store.models.list():
        assert world.store.models.read(listing.name).facts.architecture == "llama"
    assert shared == (world.store.manifests.find(named(kept)) is not None)
    for name in names:
        pull(world, name)
        world.store.delete(named(name))
    left = world.store.manifests.read(named(kept)).manifest.blobs if shared else ()
    assert {path for path in files_below(world.store.root) if path.startswith("blobs/")} == {
        f"blobs/{digest.file_name}" for digest in left
    }
