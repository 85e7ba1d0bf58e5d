"""One machine's service, wired together: store, scheduler and children behind the ports of `service.ports`."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import msgspec

from a3s_power.aio import in_thread, task_group
from a3s_power.core.digests import Digest
from a3s_power.core.errors import PowerError
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Generate
from a3s_power.hardware.machine import Machine
from a3s_power.log import get_logger
from a3s_power.registry.settings import Settings as RegistrySettings
from a3s_power.runner.launch import cleaned
from a3s_power.runner.process import spawn
from a3s_power.scheduler.footprints import Footprints
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.settings import Settings
from a3s_power.scheduler.speeds import Speeds
from a3s_power.scheduler.tunings import Tunings
from a3s_power.service.archive import LocalArchives
from a3s_power.service.drafting import Drafts, Said
from a3s_power.service.inference import LocalInference
from a3s_power.service.library import LocalBlobs, LocalLibrary
from a3s_power.service.ports import Responses, Service
from a3s_power.service.status import LocalStatus
from a3s_power.service.transfers import LocalTransfers
from a3s_power.store import Store
from a3s_power.telemetry.metrics import Counters

log = get_logger(__name__)


class KeptSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where responses are kept, how many, how many bytes of them, and for how many seconds since their last use."""

    file: Path
    count: int
    size: int
    seconds: float


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine's service goes by.

    `models` is the models folder; `speeds` the file of measured prompt speeds, `None` to forget them; `scratch` where
    children have their private folders, `None` for the system's place. `environ` is what children's environments are
    made from. `prefer_go` is the operator's word on Go templates, `None` for none. `engine` is a name of the table.
    Without `registry` nothing is pulled or pushed; without `responses` none are kept. `drafts` is who guesses ahead.
    """

    models: Path
    speeds: Path | None = None
    scratch: Path | None = None
    environ: Mapping[str, str] = {}
    noprune: bool = False
    prefer_go: bool | None = None
    engine: str = "llamacpp"
    scheduler: Settings = Settings()
    registry: RegistrySettings | None = None
    responses: KeptSettings | None = None
    drafts: Said = {}
    preload: tuple[ModelName, ...] = ()


@asynccontextmanager
async def open_local(settings: LocalSettings) -> AsyncIterator[Service]:
    """The service of this machine; leaving it ends every child. Open it on the thread that lives longest."""
    start = functools.partial(spawn, environ=settings.environ, scratch=settings.scratch)
    counters = Counters()
    async with Scheduler(
        settings.scheduler,
        start,
        look=_look(settings),
        speeds=Speeds(settings.speeds),
        footprints=Footprints(_beside(settings.speeds, "footprints.json")),
        tunings=Tunings(_beside(settings.speeds, "tunings.json")),
        scratch=settings.scratch,
        counters=counters,
    ) as scheduler:
        loop = asyncio.get_running_loop()

        def changed(name: ModelName, blobs: Collection[Digest]) -> None:
            loop.call_soon_threadsafe(scheduler.changed, name, blobs)

        store = Store(settings.models, keep_unused=settings.noprune, prefer_go=settings.prefer_go, changed=changed)
        await in_thread(store.start, time.time())
        drafts = Drafts(settings.drafts, store.models.read, _beside(settings.speeds, "drafts.json"))
        inference = LocalInference(
            *(store, scheduler, counters, drafts), engine=settings.engine, prefer_go=settings.prefer_go
        )
        async with _preloading(inference, settings.preload):
            with _responses(settings.responses) as responses:
                yield Service(
                    inference=inference,
                    library=LocalLibrary(store),
                    blobs=LocalBlobs(store),
                    archives=LocalArchives(store),
                    transfers=LocalTransfers(
                        store, cleaned(settings.environ), settings.registry, lambda: scheduler.busy
                    ),
                    status=LocalStatus(scheduler, counters),
                    responses=responses,
                )


@asynccontextmanager
async def _preloading(inference: LocalInference, names: tuple[ModelName, ...]) -> AsyncIterator[None]:
    """Load these models, one after the other, while others are served."""

    async def load() -> None:
        for name in names:
            try:
                async with inference.generate(Generate(model=name, shown=str(name))):
                    log.info("preloaded", model=name)
            except PowerError as error:
                log.warning("model could not be preloaded", model=name, error=error)

    async with task_group() as tasks:
        tasks.start_soon(load)
        yield
        tasks.cancel_scope.cancel()


@contextmanager
def _responses(settings: KeptSettings | None) -> Iterator[Responses | None]:
    """The responses of this machine, if any are kept; leaving it closes their file."""
    if settings is None:
        yield None
        return
    from a3s_power.service.kept import LocalResponses  # noqa: PLC0415 -- most servers keep none, and need no database

    responses = LocalResponses(settings.file, count=settings.count, size=settings.size, seconds=settings.seconds)
    with closing(responses):
        yield responses


def _look(settings: LocalSettings) -> Callable[[], Machine]:
    """How the machine is looked at: its graphics processors too where an engine here can use them."""
    return functools.partial(Machine.look, environ=settings.environ) if settings.scheduler.gpus.kinds else Machine.look


def _beside(speeds: Path | None, name: str) -> Path | None:
    """Where what else was learnt lies."""
    return speeds and speeds.with_name(name)
