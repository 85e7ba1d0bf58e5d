"""Pulls under SIGKILL: wherever it strikes, no blob lies, no model is there in part, and the next pull goes on."""

import hashlib
import multiprocessing
import random
import signal
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import pytest

from a3s_power.core.manifest import LICENSE
from tests.pulling import pull, pull_in_child, states, supply
from tests.registries import Asked, Registry, Reply, Twist
from tests.stores import files_below, named

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")

_DEATHS: Final = 100
_AT_ONCE: Final = 4
"""Children that live beside each other, each with a store of its own: starting them takes longer than their lives."""

_LONGEST_LIFE_SECONDS: Final = 0.16

# Forked from a process of one thread that has everything imported: a child lives within milliseconds.
_CHILDREN: Final = multiprocessing.get_context("forkserver")
_CHILDREN.set_forkserver_preload(["__main__", "tests.pulling", "tests.churn"])

WEIGHTS: Final = random.Random(5).randbytes(600_000)
NOTICE: Final = random.Random(6).randbytes(20_000)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry().running() as running:
        running.add("ns/m", (LICENSE, NOTICE), weights=WEIGHTS)
        yield running


def _pulling(folder: Path, source: str) -> BaseProcess:
    alive = _CHILDREN.Event()
    process = _CHILDREN.Process(target=pull_in_child, args=(str(folder), source, alive), daemon=True)
    process.start()
    assert alive.wait(30)
    return process


def _check(folder: Path, source: str) -> bool:
    """What holds at any time; whether the model is there."""
    store = supply(folder).store
    blobs = store.root / "blobs"
    for path in blobs.glob(f"sha256-{'?' * 64}"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name.removeprefix("sha256-")
    scan = store.manifests.scan()
    assert (scan.corrupt, scan.whole) == ([], True)
    assert all(store.blobs.has(digest) for stored in scan.stored for digest in stored.manifest.blobs)
    return store.manifests.find(named(source)) is not None


def _in_pieces(chance: random.Random) -> Twist:
    """Answers of any length that break off, so that a life of any length ends amid some part."""

    def twist(asked: Asked, reply: Reply) -> Reply:
        hurried = not asked.range or chance.random() < 0.3
        return reply if hurried else reply._replace(cut=chance.randrange(len(reply.body)), hang=0.01)

    return twist


@pytest.mark.slow
def test_a_child_killed_at_any_moment_leaves_no_model_in_part(registry: Registry, tmp_path: Path) -> None:
    chance, source = random.Random(20260901), f"{registry.host}/ns/m"
    registry.twist = _in_pieces(random.Random(1))
    folders = [tmp_path / str(number) for number in range(_AT_ONCE)]
    resumed = 0
    for _ in range(_DEATHS // _AT_ONCE):
        resumed += sum(_left(folder) > 0 for folder in folders)
        children = [_pulling(folder, source) for folder in folders]
        for child in children:
            child.join(chance.uniform(0, _LONGEST_LIFE_SECONDS / _AT_ONCE))
            child.kill()
        for child, folder in zip(children, folders, strict=True):
            child.join(10)
            assert child.exitcode == -signal.SIGKILL
            _check(folder, source)
    assert resumed > _DEATHS // 4
    registry.twist = lambda _, reply: reply
    for folder in folders:
        pull(supply(folder), source)
        assert _check(folder, source)
        assert len([name for name in files_below(folder) if "blobs/sha256-" in name and len(name) > 70]) == 3


def _left(folder: Path) -> int:
    """Bytes that a killed pull has left to go on with."""
    return sum(state.completed for state in states(supply(folder).store, _digest()))


def _digest() -> str:
    return f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"


def test_what_a_killed_pull_wrote_down_is_not_fetched_again(registry: Registry, tmp_path: Path) -> None:
    source, seen = f"{registry.host}/ns/m", 0
    enough = _CHILDREN.Event()

    def slowly(asked: Asked, reply: Reply) -> Reply:
        nonlocal seen
        seen += asked.range is not None
        if seen > 6:
            enough.set()
            return reply._replace(cut=len(reply.body) // 2, hang=30.0)
        return reply

    registry.twist = slowly
    child = _pulling(tmp_path, source)
    assert enough.wait(30)
    child.kill()
    child.join(10)
    left = states(supply(tmp_path).store, _digest())
    assert any(state.completed == state.size for state in left)
    registry.twist = lambda _, reply: reply
    registry.seen.clear()
    pull(supply(tmp_path), source)
    asked = [each.range for each in registry.seen if each.range and each.path.endswith(_digest())]
    missing = [(s.offset + s.completed, s.offset + s.size - 1) for s in left if s.completed < s.size]
    assert set(missing) <= set(asked)
    assert not [each for each in asked if any(each[0] < s.offset + s.completed and s.offset <= each[1] for s in left)]
    assert _check(tmp_path, source)
