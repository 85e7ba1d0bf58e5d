"""The store under SIGKILL: wherever it strikes, what is listed is whole, and the next start clears the rest."""

import hashlib
import multiprocessing
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import pytest

from a3s_power.core.digests import Digest
from a3s_power.core.errors import BlobNotFound
from a3s_power.core.names import ModelName
from a3s_power.store import Store
from a3s_power.store.layout import Layout
from a3s_power.store.manifests import Manifests
from tests.churn import LATER, churn, contend, lives, make
from tests.stores import files_below, named

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")

_ROUNDS: Final = 25
_TURNS: Final = 150
_LONGEST_LIFE_SECONDS: Final = 0.06

# Forked from a process of one thread that has everything imported: a child lives within milliseconds.
_CHILDREN: Final = multiprocessing.get_context("forkserver")
_CHILDREN.set_forkserver_preload(["__main__", "tests.churn"])


def _child(work: Callable[..., None], *arguments: object) -> BaseProcess:
    process = _CHILDREN.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def _churning(root: Path, seed: int, *, cleans: bool) -> BaseProcess:
    """A child that has begun to change the store."""
    alive = _CHILDREN.Event()
    process = _child(partial(churn, cleans=cleans), str(root), seed, alive)
    assert alive.wait(30)
    return process


def _killed(process: BaseProcess) -> None:
    process.kill()
    process.join(10)
    assert process.exitcode == -signal.SIGKILL


def check_whole(root: Path) -> set[str]:
    """What holds at any time: every manifest can be read, its blobs are there, and digests do not lie."""
    scan = Manifests(Layout(root)).scan()
    assert (scan.corrupt, scan.whole) == ([], True)
    for path in (root / "blobs").glob(f"sha256-{'?' * 64}"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name.removeprefix("sha256-")
    for stored in scan.stored:
        for layer in (stored.manifest.config, *stored.manifest.layers):
            assert (root / "blobs" / layer.blob.file_name).stat().st_size == layer.size
    return {stored.name.short for stored in scan.stored}


def check_clean(root: Path) -> None:
    """What holds after a start two hours later: the same models, and no other file than theirs."""
    before = check_whole(root)
    store = Store(root)
    store.start(time.time() + LATER)
    assert check_whole(root) == before
    stored = store.manifests.scan().stored
    manifests = {f"manifests/{'/'.join(one.name.parts)}" for one in stored}
    blobs = {f"blobs/{blob.file_name}" for one in stored for blob in one.manifest.blobs}
    assert files_below(root) == manifests | blobs
    assert not [path for path in (root / "manifests").rglob("*") if path.is_dir() and not any(path.iterdir())]


def _states(store: Store) -> dict[str, str]:
    return {listing.name.short: listing.config.model_type for listing in store.models.list()}


# All that can be seen from outside while a child goes through `live`.
_LIFE: Final = [
    {},
    {"m:latest": "one"},
    {"m:latest": "two"},
    {"m:latest": "two", "Copies/of:m": "two"},
    {"m:latest": "two", "Copies/of:m": "two", "power-tiny:latest": "2.75M"},
    {"m:latest": "2.75M", "Copies/of:m": "two", "power-tiny:latest": "2.75M"},
    {"m:latest": "2.75M", "power-tiny:latest": "2.75M"},
]


@pytest.mark.slow
def test_a_child_killed_at_any_step_leaves_one_of_the_states_between_steps(tmp_path: Path) -> None:
    here, there = _CHILDREN.Pipe()
    nursery = _child(lives, str(tmp_path), there)
    steps, seen, status = 0, 0, -signal.SIGKILL
    while status:
        assert here.poll(30)
        root, status = here.recv()
        assert status in (0, -signal.SIGKILL)
        state = _LIFE.index(_states(Store(Path(root))))
        assert state >= seen, "a later death shows a later state"
        check_clean(Path(root))
        shutil.rmtree(root, ignore_errors=True)
        steps, seen = steps + 1, state
    assert seen == len(_LIFE) - 1
    assert steps > 100
    nursery.join(10)


@pytest.mark.slow
def test_two_children_killed_at_random_leave_whole_models_behind(tmp_path: Path) -> None:
    chance, root = random.Random(20260901), tmp_path / "models"
    listed = 0
    for _ in range(_ROUNDS):
        children = [_churning(root, chance.randrange(2**32), cleans=True) for _ in range(2)]
        first, second = chance.sample(children, 2)
        first.join(chance.uniform(0, _LONGEST_LIFE_SECONDS))
        _killed(first)
        second.join(chance.uniform(0, _LONGEST_LIFE_SECONDS))
        _killed(second)
        listed += len(check_whole(root))
    assert listed > _ROUNDS
    check_clean(root)


def test_processes_that_contend_for_the_same_blobs_never_see_a_model_without_them(tmp_path: Path) -> None:
    children = [_child(contend, str(tmp_path / "models"), seed, _TURNS) for seed in range(3)]
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]
    check_clean(tmp_path / "models")


def _make(store: Store, name: str, turn: int) -> None:
    """Make a model although the other process may delete, in between, the last other one with a layer of it."""
    for _ in range(100):
        with suppress(BlobNotFound):
            make(store, name, "kept", iter((b"weights", b"%d" % turn)))
            return
    pytest.fail("the other process was quicker a hundred times")


def test_a_killed_child_leaves_the_lock_to_others(tmp_path: Path) -> None:
    chance, root = random.Random(7), tmp_path / "models"
    survivor = _churning(root, 1, cleans=False)
    store = Store(root)
    for turn in range(10):
        victim = _churning(root, chance.randrange(2**32), cleans=False)
        victim.join(chance.uniform(0, _LONGEST_LIFE_SECONDS))
        _killed(victim)
        _make(store, f"mine:{turn}", turn)
        assert store.blobs.has(Digest.of(b"weights%d" % turn))
        store.delete(named(f"mine:{turn}"))
        assert store.manifests.find(ModelName.parse(f"mine:{turn}")) is None
    assert survivor.is_alive()
    _killed(survivor)
    check_clean(root)
