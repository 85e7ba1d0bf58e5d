"""What children do to a store while a test kills them: a life in fixed steps, and an endless one by chance."""

import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final

from a3s_power.core.errors import BlobNotFound, ModelNotFound, StoreFailed
from a3s_power.core.manifest import (
    CONFIG_TYPE,
    LICENSE,
    MODEL,
    SYSTEM,
    ConfigBlob,
    Manifest,
    write_config,
    write_manifest,
)
from a3s_power.core.names import ModelName
from a3s_power.store import Store, layers
from a3s_power.store.bundled import NAME

LATER: Final = 2 * 3600.0
"""Seconds from now at which every leftover is old enough to go."""

_CHANGES: Final = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.utime", "os.truncate", "os.link"})
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def make(store: Store, name: str, system: str, weights: Iterator[bytes]) -> None:
    """Create a model of three layers, one of them the same in all."""
    parts = [
        layers.put(store.blobs, MODEL, weights)[0],
        layers.put(store.blobs, LICENSE, b"shared by all")[0],
        layers.put(store.blobs, SYSTEM, system.encode())[0],
    ]
    config, _ = layers.put(store.blobs, CONFIG_TYPE, write_config(ConfigBlob(model_format="gguf", model_type=system)))
    store.write(ModelName.parse(name), write_manifest(Manifest(config=config, layers=tuple(parts))))


def lives(folder: str, told: Connection) -> None:
    """Live again and again, each time in a folder of its own, dying one step later, until a life comes to its end.

    The folder's name and the status the life ended with are sent to `told`.
    """
    for fatal in itertools.count(1):
        root = os.path.join(folder, str(fatal))  # noqa: PTH118 -- a text to be sent
        child = os.fork()
        if child == 0:
            live(root, fatal)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        told.send((root, os.waitstatus_to_exitcode(status)))
        if status == 0:
            return


def live(root: str, fatal: int) -> None:
    """Make, replace, copy, delete and clean up models, and die at the change of the disk that has this number."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    _watch(step)
    store = Store(Path(root))
    store.start(time.time())
    for system in ("one", "two"):
        make(store, "m", system, _in_pieces(system.encode() * 1000, step))
    store.copy(ModelName.parse("M"), ModelName.parse("Copies/of:m"))
    store.models.read(NAME)
    store.copy(NAME, ModelName.parse("m"))
    store.delete(ModelName.parse("copies/OF:m"))
    store.start(time.time() + LATER)


def _watch(step: Callable[[], None]) -> None:
    """Have `step` called before every change of the disk by this process."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING):
            step()

    sys.addaudithook(hook)
    _sync_with(step)


def _sync_with(step: Callable[[], None]) -> None:
    """Have `step` called in place of fsync: that is for power cuts, and takes most of the time here."""

    def synced(fd: object) -> None:
        step()

    os.fsync = synced


def _in_pieces(content: bytes, between: Callable[[], None]) -> Iterator[bytes]:
    for at in range(0, len(content), 1500):
        between()
        yield content[at : at + 1500]


def churn(root: str, seed: int, alive: Event, *, cleans: bool) -> None:
    """Change the store by chance and without end, and set `alive` when it begins.

    A child that `cleans` does so as if it were two hours later.
    """
    _sync_with(lambda: None)
    alive.set()
    chance, store = random.Random(seed), Store(Path(root))
    names = ("a", "A:x", "ns/b", "hf.co/u/c:Q8")
    while True:
        name, other = (ModelName.parse(chance.choice(names)) for _ in range(2))
        try:
            match chance.randrange(6):
                case 0:
                    store.blobs.put([chance.randbytes(chance.randrange(100_000))])
                case 1:
                    store.copy(name, other)
                case 2:
                    store.delete(name)
                case 3:
                    store.start(time.time() + (LATER if cleans else 0))
                case _:
                    system = str(chance.randrange(4))
                    make(store, name.full, system, _in_pieces(system.encode() * 10_000, lambda: None))
        except (BlobNotFound, ModelNotFound, StoreFailed):
            # Another process was quicker: it deleted the model, or took for a leftover what is just being written.
            continue


def contend(root: str, seed: int, turns: int) -> None:
    """Make and delete models of the same few blobs as others do, and fail when ever one is there and not whole."""
    _sync_with(lambda: None)
    chance, store = random.Random(seed), Store(Path(root))
    for _ in range(turns):
        name = chance.choice(("a", "b"))
        with suppress(BlobNotFound, ModelNotFound):
            if chance.randrange(2):
                make(store, name, "same", iter((b"weights",)))
            else:
                store.delete(ModelName.parse(name))
        with store._lock.held():
            for stored in store.manifests.scan().stored:
                assert all(store.blobs.has(digest) for digest in stored.manifest.blobs)
