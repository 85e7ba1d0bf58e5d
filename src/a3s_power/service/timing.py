"""Timing: how long a request waited and took, and what a generation's end says of it."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Self

import msgspec

from a3s_power.core.events import Done, Event
from a3s_power.core.model import Model
from a3s_power.core.usage import Usage
from a3s_power.scheduler.loop import Scheduler
from a3s_power.telemetry.metrics import DRAFT_ACCEPTED, DRAFT_TOKENS, PROMPTS_TRUNCATED, Counters

log = logging.getLogger(__name__)


class Watch:
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


class Timed:
    """A generation's events, its end completed with what only this side knows: the times around it."""

    def __init__(
        self,
        events: AsyncIterator[Event],
        watch: Watch,
        scheduler: Scheduler,
        counters: Counters,
        model: Model,
        *,
        guessed: Callable[[Usage], None] | None = None,
    ) -> None:
        """`guessed` hears of an answer that was guessed ahead, or could have been."""
        self._next = events.__anext__
        self._counters = counters
        self._watch = watch
        self._scheduler = scheduler
        self._model = model
        self._guessed = guessed

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self._next()
        return self._completed(event) if isinstance(event, Done) else event

    def _completed(self, done: Done) -> Done:
        usage = done.usage
        evaluated = usage.prompt_tokens - usage.cached_tokens
        self._scheduler.measured(self._model.weights, evaluated, usage.prompt_ns / 1e9)
        if usage.draft_tokens:
            self._counters.add(DRAFT_TOKENS, self._model.name.full, amount=usage.draft_tokens)
            self._counters.add(DRAFT_ACCEPTED, self._model.name.full, amount=usage.accepted_tokens)
        if self._guessed is not None:
            self._guessed(usage)
        if usage.dropped_messages or usage.cut_tokens:
            self._counters.add(PROMPTS_TRUNCATED, self._model.name.full)
            log.warning(
                "the prompt of %s was cut to its context: %d messages dropped, %d tokens cut",
                *(self._model.name, usage.dropped_messages, usage.cut_tokens),
            )
        if usage.shifted:
            log.warning("the context of %s was full, and its oldest tokens were dropped", self._model.name)
        whole = msgspec.structs.replace(usage, load_ns=self._watch.load_ns, total_ns=self._watch.total_ns)
        return msgspec.structs.replace(done, usage=whole)
