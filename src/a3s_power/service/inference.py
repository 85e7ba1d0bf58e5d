"""Chat, generate and embed on this machine: find the model, check the request, take a slot, pass the events on."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import msgspec

from a3s_power.aio import in_thread
from a3s_power.core.errors import ModelNotFound
from a3s_power.core.events import Done, Event
from a3s_power.core.model import Model
from a3s_power.core.options import Options, unknown_names
from a3s_power.core.requests import Chat, Embed, Embeddings, Generate
from a3s_power.core.usage import Usage
from a3s_power.prompt.capabilities import way
from a3s_power.runner import frames
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.need import Need
from a3s_power.service import conversation, vectors
from a3s_power.store import Store

log = logging.getLogger(__name__)


class LocalInference:
    """What the models of this machine do. `prefer_go` is the operator's word on Go templates, `None` for none."""

    def __init__(self, store: Store, scheduler: Scheduler, *, engine: str, prefer_go: bool | None) -> None:
        self._store = store
        self._scheduler = scheduler
        self._engine = engine
        self._prefer_go = prefer_go

    @asynccontextmanager
    async def chat(self, request: Chat) -> AsyncIterator[AsyncIterator[Event]]:
        """Answer a conversation; see `service.ports.Inference`."""
        started = time.perf_counter_ns()
        model = await self._model(request)
        if conversation.wants_unload(request):
            yield self._unload(model)
            return
        conversation.check_chat(request, model)
        options = self._options(request, model)
        run = conversation.chat_run(request, model, options, template=self._template(model))
        async with self._events(request, model, run, started) as events:
            yield events

    @asynccontextmanager
    async def generate(self, request: Generate) -> AsyncIterator[AsyncIterator[Event]]:
        """Go on with a prompt; see `service.ports.Inference`."""
        started = time.perf_counter_ns()
        model = await self._model(request)
        if conversation.wants_unload(request):
            yield self._unload(model)
            return
        conversation.check_generate(request, model)
        options = self._options(request, model)
        run = conversation.generate_run(request, model, options, template=self._template(model))
        async with self._events(request, model, run, started) as events:
            yield events

    async def embed(self, request: Embed) -> Embeddings:
        """Vectors of texts; see `service.ports.Inference`."""
        started = time.perf_counter_ns()
        model = await self._model(request)
        options = self._options(request, model)
        conversation.check_embed(request, model, options)
        need = self._need(request, model, options, embedding=True)
        async with self._scheduler.acquire(need) as lease:
            loaded = time.perf_counter_ns()
            found = await lease.runner.embed(_embed_frame(request)) if request.texts else None
        rows = found.rows if found else ()
        vectors.checked(rows)
        return Embeddings(
            vectors=tuple(vectors.shortened(row, request.dimensions) for row in rows),
            prompt_tokens=found.prompt_tokens if found else 0,
            load_ns=loaded - started,
            total_ns=time.perf_counter_ns() - started,
        )

    @asynccontextmanager
    async def _events(
        self, request: Chat | Generate, model: Model, run: frames.Run, started: int
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """A slot, and what is said in it; leaving gives the slot back, whatever happened."""
        loads_only = conversation.wants_load(request)
        if not loads_only:
            conversation.check_content(request, model)
        async with self._scheduler.acquire(self._need(request, model, run.options, shift=run.shift)) as lease:
            if loads_only:
                yield _only(Done("load", Usage()))
                return
            loaded = time.perf_counter_ns()
            async with lease.runner.run(run) as events:
                yield _Timed(events, started, loaded, self._scheduler, model)

    async def _model(self, request: Chat | Generate | Embed) -> Model:
        try:
            model = await in_thread(self._store.models.read, request.model)
        except ModelNotFound:
            raise ModelNotFound(request.shown) from None
        if isinstance(request, Embed) and request.exact and model.name != request.model:
            raise ModelNotFound(request.shown)
        conversation.check_runnable(request, model)
        return model

    def _options(self, request: Chat | Generate | Embed, model: Model) -> Options:
        options = conversation.request_options(request, model)
        if warning := unknown_names((*request.asked.unknown, *model.asked.unknown)):
            log.warning("%s", warning)
        return options

    def _need(
        self,
        request: Chat | Generate | Embed,
        model: Model,
        options: Options,
        *,
        embedding: bool = False,
        shift: bool = True,
    ) -> Need:
        return Need(
            model=model,
            engine=self._engine,
            options=options,
            embedding=embedding,
            shift=shift,
            keep_alive=request.keep_alive,
        )

    def _template(self, model: Model) -> str:
        """The Go template the model is rendered with, or nothing for its file's own Jinja."""
        chosen = way(model.config, model.template, model.facts.chat_template, prefer_go=self._prefer_go)
        if chosen.note:
            log.info("%s", chosen.note)
        return model.template if chosen.kind == "go" else ""

    def _unload(self, model: Model) -> AsyncIterator[Event]:
        self._scheduler.unload(model.weights)
        return _only(Done("unload", Usage()))


async def _only(event: Event) -> AsyncIterator[Event]:
    """A stream of one event."""
    yield event


def _embed_frame(request: Embed) -> frames.Embed:
    return frames.Embed(texts=request.texts, truncate=request.truncate, normalize=request.normalize)


class _Timed:
    """A generation's events, its end completed with what only this side knows: the times around it."""

    def __init__(
        self, events: AsyncIterator[Event], started: int, loaded: int, scheduler: Scheduler, model: Model
    ) -> None:
        self._next = events.__anext__
        self._started = started
        self._loaded = loaded
        self._scheduler = scheduler
        self._model = model

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self._next()
        return self._completed(event) if isinstance(event, Done) else event

    def _completed(self, done: Done) -> Done:
        usage = done.usage
        evaluated = usage.prompt_tokens - usage.cached_tokens
        self._scheduler.measured(self._model.weights, evaluated, usage.prompt_ns / 1e9)
        if usage.dropped_messages or usage.cut_tokens:
            log.warning(
                "the prompt of %s was cut to its context: %d messages dropped, %d tokens cut",
                *(self._model.name, usage.dropped_messages, usage.cut_tokens),
            )
        whole = msgspec.structs.replace(
            usage, load_ns=self._loaded - self._started, total_ns=time.perf_counter_ns() - self._started
        )
        return msgspec.structs.replace(done, usage=whole)
