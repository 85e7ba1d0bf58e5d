"""What models do on this machine: find the model, check the request, take a slot, pass the events on."""

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
from a3s_power.core.requests import (
    Chat,
    Detokenize,
    Embed,
    Embeddings,
    Generate,
    Ranking,
    Request,
    Rerank,
    Tokenize,
    Tokenized,
)
from a3s_power.core.usage import Usage
from a3s_power.prompt.capabilities import check_names, way
from a3s_power.runner import frames
from a3s_power.runner.runner import Runner
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.need import Need
from a3s_power.service import conversation, ranking, vectors
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
        run = conversation.chat_run(request, model, options, **self._way(model))
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
        run = conversation.generate_run(request, model, options, **self._way(model))
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
        if found and found.cut:
            log.warning("%d texts to embed were cut to the context of %s", len(found.cut), model.name)
        return Embeddings(
            vectors=tuple(vectors.shortened(row, request.dimensions) for row in rows),
            prompt_tokens=found.prompt_tokens if found else 0,
            cut=found.cut if found else (),
            load_ns=loaded - started,
            total_ns=time.perf_counter_ns() - started,
        )

    async def rerank(self, request: Rerank) -> Ranking:
        """Documents by how well they answer a query; see `service.ports.Inference`."""
        watch = _Watch()
        model = await self._model(request)
        options = self._options(request, model)
        conversation.check_rerank(request, model)
        need = self._need(request, model, options, embedding=not model.can("completion"))
        async with self._scheduler.acquire(need) as lease:
            watch.loaded()
            found = await lease.runner.rerank(_rerank_frame(request)) if request.documents else None
        return Ranking(
            results=ranking.best(found, request.top) if found else (),
            prompt_tokens=found.prompt_tokens if found else 0,
            load_ns=watch.load_ns,
            total_ns=watch.total_ns,
        )

    async def tokenize(self, request: Tokenize) -> Tokenized:
        """Token ids of a text; see `service.ports.Inference`."""
        watch = _Watch()
        async with self._any_runner(request, watch) as runner:
            tokens = await runner.tokenize(request.text, first=request.first, special=request.special)
        return Tokenized(text=request.text, tokens=tokens, load_ns=watch.load_ns, total_ns=watch.total_ns)

    async def detokenize(self, request: Detokenize) -> Tokenized:
        """The text of token ids; see `service.ports.Inference`."""
        watch = _Watch()
        async with self._any_runner(request, watch) as runner:
            text = await runner.detokenize(request.tokens)
        return Tokenized(text=text, tokens=request.tokens, load_ns=watch.load_ns, total_ns=watch.total_ns)

    @asynccontextmanager
    async def _any_runner(self, request: Tokenize | Detokenize, watch: "_Watch") -> AsyncIterator[Runner]:
        """A runner of the model, whatever that is for."""
        model = await self._model(request)
        options = self._options(request, model)
        need = self._need(request, model, options, embedding=not model.can("completion"))
        async with self._scheduler.acquire(need) as lease:
            watch.loaded()
            yield lease.runner

    @asynccontextmanager
    async def _events(
        self, request: Chat | Generate, model: Model, run: frames.Run, started: int
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """A slot, and what is said in it; leaving gives the slot back, whatever happened."""
        loads_only = conversation.wants_load(request)
        if not loads_only:
            conversation.check_content(request, model, rendered=bool(run.template or run.renderer))
            if conversation.has_form(request):
                await in_thread(_check_form, request, run, model.facts.chat_template)
        async with self._scheduler.acquire(self._need(request, model, run.options, shift=run.shift)) as lease:
            if loads_only:
                yield _only(Done("load", Usage()))
                return
            loaded = time.perf_counter_ns()
            run = msgspec.structs.replace(run, limit=lease.limit) if lease.limit else run
            async with lease.runner.run(run) as events:
                yield _Timed(events, started, loaded, self._scheduler, model)

    async def _model(self, request: Request) -> Model:
        try:
            model = await in_thread(self._store.models.read, request.model)
        except ModelNotFound:
            raise ModelNotFound(request.shown) from None
        if isinstance(request, Embed) and request.exact and model.name != request.model:
            raise ModelNotFound(request.shown)
        conversation.check_runnable(request, model)
        return model

    def _options(self, request: Request, model: Model) -> Options:
        options = conversation.request_options(request, model)
        if warning := unknown_names((*request.asked.unknown, *model.asked.unknown)):
            log.warning("%s", warning)
        return options

    def _need(
        self,
        request: Request,
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

    def _way(self, model: Model) -> dict[str, str]:
        """What makes the model's prompts and reads its answers, as a Run says it.

        Raises:
            BadRequest: the model names a renderer or a parser that nobody knows.
        """
        check_names(model.config)
        chosen = way(model.config, model.template, model.facts.chat_template, prefer_go=self._prefer_go)
        if chosen.note:
            log.info("%s", chosen.note)
        beside = chosen.kind == "renderer" and not chosen.parser
        template = model.template if chosen.kind == "go" or beside else ""
        return {"template": template, "renderer": chosen.renderer, "parser": chosen.parser}

    def _unload(self, model: Model) -> AsyncIterator[Event]:
        self._scheduler.unload(model.weights)
        return _only(Done("unload", Usage()))


def _check_form(request: Chat | Generate, run: frames.Run, chat_template: str) -> None:
    # What compiles grammars is for the requests that ask for one.
    from a3s_power.service.form import check_form  # noqa: PLC0415

    check_form(request, run, chat_template)


async def _only(event: Event) -> AsyncIterator[Event]:
    """A stream of one event."""
    yield event


def _embed_frame(request: Embed) -> frames.Embed:
    return frames.Embed(texts=request.texts, truncate=request.truncate, normalize=request.normalize)


def _rerank_frame(request: Rerank) -> frames.Rerank:
    return frames.Rerank(query=request.query, documents=request.documents, truncate=request.truncate)


class _Watch:
    """Measures a request from its making, in nanoseconds."""

    def __init__(self) -> None:
        self._started = time.perf_counter_ns()
        self.load_ns = 0

    def loaded(self) -> None:
        """The model is there."""
        self.load_ns = self.total_ns

    @property
    def total_ns(self) -> int:
        """Until now."""
        return time.perf_counter_ns() - self._started


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
        if usage.shifted:
            log.warning("the context of %s was full, and its oldest tokens were dropped", self._model.name)
        whole = msgspec.structs.replace(
            usage, load_ns=self._loaded - self._started, total_ns=time.perf_counter_ns() - self._started
        )
        return msgspec.structs.replace(done, usage=whole)
