"""Lease: a slot of a loaded model, and Tenant: somebody who waits for one."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from a3s_power.core.errors import PowerError, revive
from a3s_power.core.events import Waiting
from a3s_power.engines.engine import Loaded, LoadOptions
from a3s_power.runner.runner import Runner


class Lease(NamedTuple):
    """A slot of a loaded model: its runner, how it was loaded, what became of that, and the wait in nanoseconds.

    `limit` is the context the request is held to: a shorter one than the model was loaded with, or one that could be
    shifted and must not; else 0.
    """

    runner: Runner
    options: LoadOptions
    loaded: Loaded
    load_ns: int
    limit: int = 0


class Tenant:
    """Somebody in `acquire`, to be held to this context, or to none by 0; `shift` is whether it may be shifted.

    `tell` hears what is waited for, whenever that changes.
    """

    def __init__(self, context: int, tell: Callable[[Waiting], None] | None, *, shift: bool = True) -> None:
        self.answer: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._since = time.perf_counter_ns()
        self._context = context
        self._shift = shift
        self._tell = tell
        self._heard: Waiting | None = None

    @property
    def waits(self) -> bool:
        """Whether there is no answer yet."""
        return not self.answer.done()

    def hear(self, waiting: Waiting) -> None:
        """It waits for this now."""
        if self._tell is not None and waiting != self._heard:
            self._heard = waiting
            self._tell(waiting)

    def grant(self, runner: Runner, options: LoadOptions, loaded: Loaded) -> None:
        """It has a slot; one that was cancelled a moment ago is on its way to give it back."""
        if self.waits:
            self.answer.set_result(
                Lease(runner, options, loaded, time.perf_counter_ns() - self._since, self._limit(options))
            )

    def reject(self, error: PowerError) -> None:
        """It gets none."""
        if self.waits:
            # Each gets an error of its own: one that is raised in many places grows a traceback of all of them.
            self.answer.set_exception(revive(error.kind, error.message))
            # Whoever waited may be cancelled before reading it, and that is nobody's mistake.
            self.answer.exception()

    def _limit(self, options: LoadOptions) -> int:
        if 0 < self._context < options.context_length:
            return self._context
        return options.context_length if options.shift and not self._shift else 0
