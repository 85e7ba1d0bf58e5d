"""What tests of the scheduler share: models by a letter, asks for them, and a runner that does as it is told."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import msgspec

from a3s_power.core.digests import Digest
from a3s_power.core.errors import EngineFailed, PowerError, RunnerDied
from a3s_power.core.events import Done, Event, Text
from a3s_power.core.manifest import CONFIG_TYPE, ConfigBlob, Layer, Manifest
from a3s_power.core.model import Facts, Model, ModelFiles
from a3s_power.core.names import ModelName
from a3s_power.core.options import Options
from a3s_power.core.usage import Usage
from a3s_power.engines.engine import Forecast, Loaded, LoadOptions, Scores, Vectors
from a3s_power.hardware.machine import Machine
from a3s_power.runner.frames import Embed, Rerank, Run
from a3s_power.runner.runner import Events
from a3s_power.scheduler.drafts import DRAFT_TOKENS, Drafting
from a3s_power.scheduler.need import Ask, Claim, Need
from tests.llamas import LLAMA

GIB = 1024**3

FACTS = msgspec.structs.replace(LLAMA, parameters=1_100_000_000, context_length=131_072)
DRAFT = msgspec.structs.replace(
    FACTS, parameters=60_000_000, block_count=2, kv_heads=(4, 4), weights_bytes=64 * 1024**2
)

MACHINE = Machine(x86=True, cores=8, memory_bytes=16 * GIB, free_bytes=12 * GIB)


def a_model(name: str = "a", *, weights: str | None = None, facts: Facts = FACTS, **files: Any) -> Model:
    """A model that exists in name only; `weights` are another model's when its name is given."""
    digest = Digest.of((weights or name).encode())
    return Model(
        name=ModelName.parse(name),
        digest=digest,
        modified=datetime(2026, 1, 1, tzinfo=UTC),
        manifest=Manifest(config=Layer(media_type=CONFIG_TYPE, digest=str(digest), size=0), layers=()),
        config=ConfigBlob(),
        weights=digest,
        files=ModelFiles(weights=f"/blobs/{digest.file_name}", **files),
        facts=facts,
    )


def a_need(name: str = "a", *, weights: str | None = None, facts: Facts = FACTS, **said: Any) -> Need:
    """A need of that model. Load options and fields of Need go by name."""
    options = {key: said.pop(key) for key in [*said] if key in Options.__struct_fields__}
    files = {key: said.pop(key) for key in [*said] if key in ModelFiles.__struct_fields__}
    if files.get("draft"):
        said["drafting"] = Drafting(kind="model", tokens=options.get("draft_num_predict", DRAFT_TOKENS), facts=DRAFT)
    return Need(model=a_model(name, weights=weights, facts=facts, **files), options=Options(**options), **said)


def an_ask(
    ticket: int,
    name: str = "a",
    *,
    memory_bytes: int = 0,
    shared_bytes: int = 0,
    deadline: float = math.inf,
    **said: Any,
) -> Ask:
    """A need at the scheduler, its context and batch as asked for or 4096 and 128."""
    need = a_need(name, **said)
    context, batch = need.options.num_ctx or 4096, need.options.num_batch or 128
    options = LoadOptions(context_length=context, batch=batch)
    claim = Claim(options=options, asked_context=context, memory_bytes=memory_bytes, shared_bytes=shared_bytes)
    return Ask(ticket=ticket, need=need, claim=claim, deadline=deadline)


class FakeRunner:
    """A child that is no process. A `ready` one loads at once; else tests decide (`finish`), and when it dies."""

    def __init__(self, pid: int, *, ready: bool) -> None:
        self.pid = pid
        self.ready = ready
        self.loaded: Loaded | None = None
        self.last_progress = 0.0
        self.busy = 0
        self.draining = 0
        self.poisoned = False
        self.stuck_seconds = 0.0
        self.failed = ""
        self.crowds: list[bool] = []
        self.files: ModelFiles | None = None
        self.options: LoadOptions | None = None
        self.asked: LoadOptions | None = None
        self.forecast: Forecast | None = None
        self.report: Callable[[float], None] = lambda _fraction: None
        self.killed = False
        self.asked_to_load = anyio.Event()
        self.stopped = anyio.Event()
        self._answer: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        self._callbacks: list[Callable[[RunnerDied], None]] = []

    async def load(
        self, files: ModelFiles, options: LoadOptions, progress: Callable[[float], None] | None = None
    ) -> Loaded:
        """Wait for the test's word."""
        self.files, self.options, self.report = files, options, progress or self.report
        self.asked_to_load.set()
        if self.ready:
            self.finish()
        self.loaded = await self._answer
        return self.loaded

    def finish(self, error: PowerError | None = None, *, parallel: int | None = None) -> None:
        """The load is done, or has failed."""
        assert self.options is not None, "not asked to load yet"
        options = self.options
        if error is not None:
            self._answer.set_exception(error)
        else:
            slots = options.parallel if parallel is None else parallel
            self._answer.set_result(Loaded(context_length=options.context_length, parallel=slots, memory_bytes=7))

    def die(self) -> None:
        """End as if by a signal from outside."""
        for callback in self._callbacks:
            callback(RunnerDied("killed"))

    def fail(self, reason: str) -> None:
        """Gone at once, as if it had died."""
        self.failed = reason
        self.die()

    def run(self, request: Run) -> Events:
        """Say the text of the request and its end."""
        return _said(Text(request.text or ""), Done("stop", Usage()))

    async def foretell(self, files: ModelFiles, options: LoadOptions) -> Forecast:
        """As `FakeChildren` was told, which has nothing to tell at first."""
        self.asked = options
        if self.forecast is None:
            raise EngineFailed("no dry run")
        return self.forecast

    async def embed(self, request: Embed) -> Vectors:
        """Not asked for here."""
        raise NotImplementedError

    async def rerank(self, request: Rerank) -> Scores:
        """Not asked for here."""
        raise NotImplementedError

    async def tokenize(self, text: str, *, first: bool = False, special: bool = True) -> tuple[int, ...]:
        """Not asked for here."""
        raise NotImplementedError

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """Not asked for here."""
        raise NotImplementedError

    async def keep_prompts(self, limit: int) -> int:
        """It has none."""
        return 0

    def crowded(self, *, others: bool) -> None:
        """Remember what it was told."""
        self.crowds.append(others)

    def on_exit(self, callback: Callable[[RunnerDied], None]) -> None:
        """Remember whom to tell."""
        self._callbacks.append(callback)

    async def stop(self) -> None:
        """Gone at once."""
        self.stopped.set()

    def kill(self) -> None:
        """Gone at once."""
        self.killed = True


@asynccontextmanager
async def _said(*events: Event) -> AsyncIterator[AsyncIterator[Event]]:
    async def one_by_one() -> AsyncIterator[Event]:
        for event in events:
            yield event

    yield one_by_one()


class FakeChildren:
    """Spawns fake runners; `started` holds all of them, in order, `visible` what each was to see."""

    def __init__(self, *, ready: bool = True) -> None:
        self.ready = ready
        self.started: list[FakeRunner] = []
        self.forecast: Forecast | None = None
        self.visible: list[Mapping[str, str]] = []
        self._changed = anyio.Event()

    async def spawn(self, engine: str, visible: Mapping[str, str]) -> FakeRunner:
        """As `Spawn`."""
        self.visible.append(visible)
        runner = FakeRunner(pid=len(self.started) + 1, ready=self.ready)
        runner.forecast = self.forecast
        self.started.append(runner)
        self._changed.set()
        self._changed = anyio.Event()
        return runner

    async def child(self, number: int) -> FakeRunner:
        """The child with this number, from 1, once it has been asked to load."""
        with anyio.fail_after(10):
            while len(self.started) < number:
                await self._changed.wait()
            runner = self.started[number - 1]
            await runner.asked_to_load.wait()
        return runner
