"""One machine's service, wired together: store, scheduler and children behind the ports of `service.ports`."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import msgspec

from a3s_power.aio import in_thread
from a3s_power.core.digests import Digest
from a3s_power.core.names import ModelName
from a3s_power.registry.settings import Settings as RegistrySettings
from a3s_power.runner.launch import cleaned
from a3s_power.runner.process import spawn
from a3s_power.scheduler.footprints import Footprints
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.settings import Settings
from a3s_power.scheduler.speeds import Speeds
from a3s_power.service.archive import LocalArchives
from a3s_power.service.inference import LocalInference
from a3s_power.service.library import LocalBlobs, LocalLibrary
from a3s_power.service.ports import Responses, Service
from a3s_power.service.status import LocalStatus
from a3s_power.service.transfers import LocalTransfers
from a3s_power.store import Store
from a3s_power.telemetry.metrics import Counters


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
    Without `registry` nothing is pulled or pushed; without `responses` none are kept.
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


@asynccontextmanager
async def open_local(settings: LocalSettings) -> AsyncIterator[Service]:
    """The service of this machine; leaving it ends every child. Open it on the thread that lives longest."""
    start = functools.partial(spawn, environ=settings.environ, scratch=settings.scratch)
    async with Scheduler(
        settings.scheduler, start, speeds=Speeds(settings.speeds), footprints=_footprints(settings.speeds)
    ) as scheduler:
        loop = asyncio.get_running_loop()

        def changed(name: ModelName, blobs: Collection[Digest]) -> None:
            loop.call_soon_threadsafe(scheduler.changed, name, blobs)

        store = Store(settings.models, keep_unused=settings.noprune, prefer_go=settings.prefer_go, changed=changed)
        await in_thread(store.start, time.time())
        counters = Counters()
        with _responses(settings.responses) as responses:
            yield Service(
                inference=LocalInference(
                    store, scheduler, counters, engine=settings.engine, prefer_go=settings.prefer_go
                ),
                library=LocalLibrary(store),
                blobs=LocalBlobs(store),
                archives=LocalArchives(store),
                transfers=LocalTransfers(store, cleaned(settings.environ), settings.registry, lambda: scheduler.busy),
                status=LocalStatus(scheduler, counters),
                responses=responses,
            )


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


def _footprints(speeds: Path | None) -> Footprints:
    """They lie beside the speeds."""
    return Footprints(speeds and speeds.with_name("footprints.json"))
