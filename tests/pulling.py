"""Pulls and pushes as tests make them: in a hurry, in small parts, with every word of progress kept."""

from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final

import msgspec

from a3s_power.core.events import Progress
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create, Pull, Push
from a3s_power.create.build import build
from a3s_power.create.convert.families import check
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.pull import Report
from a3s_power.registry.pull import pull as pull_model
from a3s_power.registry.push import push as push_model
from a3s_power.registry.settings import Cutting, Patience, Settings
from a3s_power.registry.supply import Supply
from a3s_power.store import Store
from tests.internet import Internet

HURRY: Final = Patience(connect=5.0, answer=5.0, stall=0.1, tries=4, pause=0.001, longest_pause=0.01)
SMALL: Final = Cutting(parts=6, least=4096, most=65_536)


def supply(folder: Path, internet: Internet | None = None, **settings: Any) -> Supply:
    """The way out for a store in `folder/models`."""
    defaults: dict[str, Any] = {"key_file": folder / "key" / "id_ed25519", "patience": HURRY, "cutting": SMALL}
    plan = Settings(**{**defaults, **settings})
    if internet is None:
        return Supply(Store(folder / "models"), plan)
    return Supply(Store(folder / "models"), plan, resolve=internet.resolve, dial=internet.dial)


class Told(list[Progress]):
    """What was reported, to be called with each."""

    def __call__(self, progress: Progress) -> None:
        self.append(progress)

    @property
    def lines(self) -> list[str]:
        """The words, without those that only repeat the line before."""
        words = [progress.status for progress in self]
        return [word for word, before in zip(words, ["", *words], strict=False) if word != before]


def pull(world: Supply, source: str, cancel: Cancel | None = None, **request: Any) -> Told:
    """Pull a model; what was said meanwhile. Plain http is allowed unless the request says otherwise."""
    told, wanted = Told(), Pull(source=source, **{"insecure": True, **request})

    def assemble(name: ModelName, files: Mapping[str, str], report: Report) -> None:
        build(Create(model=name, files=dict(files)), world.store, report, check_template=lambda _: None)

    pull_model(wanted, world, told, cancel or Cancel(), assemble, check=check)
    return told


def push(world: Supply, model: str, cancel: Cancel | None = None, **request: Any) -> Told:
    """Push a model; what was said meanwhile. Plain http is allowed unless the request says otherwise."""
    told = Told()
    wanted = Push(model=ModelName.parse(model), **{"insecure": True, **request})
    push_model(wanted, world, told, cancel or Cancel())
    return told


class State(msgspec.Struct, rename="pascal"):
    """What Ollama writes down about a part of a download."""

    n: int
    offset: int
    size: int
    completed: int


def states(store: Store, digest: str) -> list[State]:
    """What is written down about a download, in the order of the parts."""
    found: list[State] = []
    for path in (store.root / "blobs").glob(f"{digest.replace(':', '-')}-partial-*"):
        with suppress(FileNotFoundError):
            found.append(msgspec.json.decode(path.read_bytes(), type=State))
    return sorted(found, key=lambda state: state.offset)


def pull_in_child(folder: str, source: str, alive: Event) -> None:
    """Pull a model again and again, each time from nothing; what a test kills."""
    while True:
        world = supply(Path(folder), patience=msgspec.structs.replace(HURRY, tries=50), streams=3)
        alive.set()
        pull(world, source)
        world.store.delete(ModelName.parse(source))
