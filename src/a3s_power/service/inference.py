"""What models do on this machine: find the model, check the request, take a slot, pass the events on."""

import functools
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec

from a3s_power.aio import in_thread
from a3s_power.core.caller import caller, ignored
from a3s_power.core.errors import ModelNotFound, NotAllowed, PowerError
from a3s_power.core.events import Done, Event, Waiting
from a3s_power.core.model import Model
from a3s_power.core.names import ModelName
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
from a3s_power.prompt.gotemplate import parse
from a3s_power.runner import frames
from a3s_power.runner.runner import Runner
from a3s_power.scheduler.drafts import NO_DRAFT
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.need import Need
from a3s_power.service import checks, ranking, runs, vectors
from a3s_power.service.drafting import Drafts
from a3s_power.service.timing import Timed, Watch
from a3s_power.service.told import foretold
from a3s_power.store import Store
from a3s_power.telemetry.metrics import PROMPTS_TRUNCATED, Counters

log = logging.getLogger(__name__)

_FEW_VECTORS = 16


class LocalInference:
    """What the models of this machine do. `prefer_go` is the operator's word on Go templates, `None` for none."""

    def __init__(
        self,
        store: Store,
        scheduler: Scheduler,
        counters: Counters,
        drafts: Drafts,
        *,
        engine: str,
        prefer_go: bool | None,
    ) -> None:
        self._store = store
        self._drafts = drafts
        self._scheduler = scheduler
        self._counters = counters
        self._engine = engine
        self._prefer_go = prefer_go

    @asynccontextmanager
    async def chat(self, request: Chat) -> AsyncIterator[AsyncIterator[Event]]:
        """Answer a conversation; see `service.ports.Inference`."""
        watch = Watch()
        model = await self._model(request)
        if checks.wants_unload(request):
            yield self._unload(model)
            return
        checks.check_chat(request, model)
        options = self._options(request, model)
        run = runs.chat_run(request, model, options, **self._way(model))
        async with self._events(request, model, run, watch) as events:
            yield events

    @asynccontextmanager
    async def generate(self, request: Generate) -> AsyncIterator[AsyncIterator[Event]]:
        """Go on with a prompt; see `service.ports.Inference`."""
        watch = Watch()
        model = await self._model(request)
        if checks.wants_unload(request):
            yield self._unload(model)
            return
        checks.check_generate(request, model)
        options = self._options(request, model)
        run = runs.generate_run(request, model, options, **self._way(model))
        async with self._events(request, model, run, watch) as events:
            yield events

    async def embed(self, request: Embed) -> Embeddings:
        """Vectors of texts; see `service.ports.Inference`."""
        watch = Watch()
        model = await self._model(request)
        options = self._options(request, model)
        checks.check_embed(request, model, options)
        need = self._need(request, model, options, embedding=True)
        async with self._scheduler.acquire(need) as lease:
            watch.loaded()
            found = await lease.runner.embed(_embed_frame(request)) if request.texts else None
        rows = await _finished(found.rows if found else (), request.dimensions)
        if found and found.cut:
            self._counters.add(PROMPTS_TRUNCATED, model.name.full, amount=len(found.cut))
            log.warning("%d texts to embed were cut to the context of %s", len(found.cut), model.name)
        return Embeddings(
            vectors=rows,
            prompt_tokens=found.prompt_tokens if found else 0,
            cut=found.cut if found else (),
            load_ns=watch.load_ns,
            total_ns=watch.total_ns,
        )

    async def rerank(self, request: Rerank) -> Ranking:
        """Documents by how well they answer a query; see `service.ports.Inference`."""
        watch = Watch()
        model = await self._model(request)
        options = self._options(request, model)
        checks.check_rerank(request, model)
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
        watch = Watch()
        async with self._any_runner(request, watch) as runner:
            tokens = await runner.tokenize(request.text, first=request.first, special=request.special)
        return Tokenized(text=request.text, tokens=tokens, load_ns=watch.load_ns, total_ns=watch.total_ns)

    async def detokenize(self, request: Detokenize) -> Tokenized:
        """The text of token ids; see `service.ports.Inference`."""
        watch = Watch()
        async with self._any_runner(request, watch) as runner:
            text = await runner.detokenize(request.tokens)
        return Tokenized(text=text, tokens=request.tokens, load_ns=watch.load_ns, total_ns=watch.total_ns)

    @asynccontextmanager
    async def _any_runner(self, request: Tokenize | Detokenize, watch: Watch) -> AsyncIterator[Runner]:
        """A runner of the model, whatever that is for."""
        model = await self._model(request)
        options = self._options(request, model)
        if isinstance(request, Detokenize) and request.wanted_for is not None:
            checks.check_wanted(request.wanted_for, model, options)
        need = self._need(request, model, options, embedding=not model.can("completion"))
        async with self._scheduler.acquire(need) as lease:
            watch.loaded()
            yield lease.runner

    @asynccontextmanager
    async def _events(
        self, request: Chat | Generate, model: Model, run: frames.Run, watch: Watch
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """A slot, and what is said in it; leaving gives the slot back, whatever happened."""
        loads_only = checks.wants_load(request)
        if not loads_only:
            checks.check_content(request, model, rendered=bool(run.template or run.renderer))
            if isinstance(request, Generate) and request.template:
                await in_thread(parse, request.template)
            if checks.wants_structure(request):
                await in_thread(_check_structure, request, run, model.facts.chat_template)
        need = self._need(request, model, run.options, shift=run.shift)
        if loads_only:
            async with self._scheduler.acquire(need):
                yield _only(Done("load", Usage()))
            return
        opening = functools.partial(self._said, need, run, watch)
        async with foretold(opening) if request.progress else opening() as events:
            yield events

    @asynccontextmanager
    async def _said(
        self, need: Need, run: frames.Run, watch: Watch, tell: Callable[[Waiting], None] | None = None
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """What a run says in a slot of its own; `tell` hears what that waits for."""
        async with self._scheduler.acquire(need, tell) as lease:
            watch.loaded()
            run = msgspec.structs.replace(run, limit=lease.limit) if lease.limit else run
            async with lease.runner.run(run) as events:
                loaded, learn = lease.loaded, self._drafts.measured
                guessed = functools.partial(learn, need, loaded.draft_cost) if loaded.draft else None
                yield Timed(events, watch, self._scheduler, self._counters, need.model, guessed=guessed)

    async def _model(self, request: Request) -> Model:
        model = self._known(request.model)
        if model is None:
            try:
                model = await in_thread(self._read, request.model)
            except ModelNotFound:
                raise ModelNotFound(request.shown) from None
        if isinstance(request, Embed) and request.exact and model.name != request.model:
            raise ModelNotFound(request.shown)
        checks.check_runnable(request, model)
        return model

    def _known(self, name: ModelName) -> Model | None:
        """The model where hardly anything has to be read for it: a thread would take longer than that."""
        try:
            model = self._store.models.known(name)
        except PowerError:
            return None
        return None if model is None or self._drafts.reads(model) else model

    def _read(self, name: ModelName) -> Model:
        return self._drafts.equipped(self._store.models.read(name))

    def _options(self, request: Request, model: Model) -> Options:
        options = runs.request_options(request, model)
        if warning := unknown_names((*request.asked.unknown, *model.asked.unknown)):
            log.warning("%s", warning)
        checks.check_options(options)
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
        asking = caller.get()
        need = Need(
            client=asking.client,
            weight=asking.weight,
            batch=asking.batch,
            patience=asking.patience,
            model=model,
            engine=self._engine,
            options=options,
            embedding=embedding,
            shift=shift,
            keep_alive=request.keep_alive,
        )
        counts, in_vain = self._scheduler.settled(need)
        if in_vain:
            log.warning("%s is not loaded as asked for, but as the operator says: %s", model.name, in_vain)
            ignored(in_vain)
        drafting = self._drafts.of(counts)
        return counts if drafting is NO_DRAFT else msgspec.structs.replace(counts, drafting=drafting)

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
        if self._scheduler.pins(model.name):
            raise NotAllowed(f"model '{model.name}' is pinned and stays in memory")
        self._scheduler.unload(model.weights)
        return _only(Done("unload", Usage()))


def _check_structure(request: Chat | Generate, run: frames.Run, chat_template: str) -> None:
    # What compiles grammars is for the requests that ask for one.
    from a3s_power.service.structure import check_structure  # noqa: PLC0415

    check_structure(request, run, chat_template)


async def _finished(rows: Sequence[vectors.Vector], dimensions: int) -> tuple[vectors.Vector, ...]:
    """Vectors as they are answered; many of them are gone through beside the loop. Raises BadRequest."""
    if len(rows) > _FEW_VECTORS:
        return await in_thread(vectors.finished, rows, dimensions)
    return vectors.finished(rows, dimensions)


async def _only(event: Event) -> AsyncIterator[Event]:
    """A stream of one event."""
    yield event


def _embed_frame(request: Embed) -> frames.Embed:
    return frames.Embed(texts=request.texts, truncate=request.truncate, normalize=request.normalize)


def _rerank_frame(request: Rerank) -> frames.Rerank:
    return frames.Rerank(query=request.query, documents=request.documents, truncate=request.truncate)
