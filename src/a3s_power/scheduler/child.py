"""Child: one instance as it lives in the scheduler's loop, and as others see it."""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

import anyio
import msgspec

from a3s_power.core.model import Resident
from a3s_power.engines.engine import Loaded, LoadOptions
from a3s_power.runner.runner import Runner
from a3s_power.scheduler.devices import Lay
from a3s_power.scheduler.need import Ask


class Child:
    """One instance: `end` ends it, `serving` is what a lease of it holds.

    `prompts` is the folder where what it has read outlives it, empty for nowhere.
    `lay` is how it lies on graphics processors, `cards` what people call those; `held_bytes` of the main memory it
    takes are nobody else's; `reason` says why it is not loaded as was asked for.
    """

    def __init__(self, instance: int, ask: Ask) -> None:
        self.instance = instance
        self.ask = ask
        self._scope: anyio.CancelScope | None = None
        self._ended = False
        self.runner: Runner | None = None
        self.serving: tuple[Runner, LoadOptions, Loaded] | None = None
        self.fraction = 0.0
        self.load_ns = 0
        self.memory_bytes = 0
        self.held_bytes = 0
        self.reason = ""
        self.lay = Lay()
        self.cards: tuple[str, ...] = ()
        self.prompts = ""
        self._crowded = False

    def __str__(self) -> str:
        return str(self.ask.need.model.name)

    def life(self) -> anyio.CancelScope:
        """What its life happens in, made where it begins: outside of any task there can be none."""
        self._scope = anyio.CancelScope()
        if self._ended:
            self._scope.cancel()
        return self._scope

    def end(self) -> None:
        """End it, also before it has begun."""
        self._ended = True
        if self._scope is not None:
            self._scope.cancel()

    def crowd(self, *, others: bool) -> None:
        """Other children compute now, or no more; it is told when that is something else than before."""
        if self.serving is not None and others != self._crowded:
            self._crowded = others
            self.serving[0].crowded(others=others)

    def residents(self, stays: float, now: datetime) -> Iterator[Resident]:
        """It, as a model in memory that stays so many seconds more; nothing while it is being loaded."""
        if self.serving is None:
            return
        _, options, loaded = self.serving
        yield Resident(
            model=self.ask.need.model,
            memory_bytes=self.memory_bytes,
            gpu_bytes=loaded.gpu_bytes,
            context_length=min(options.context_length, loaded.context_length),
            expires=None if stays == math.inf else now + timedelta(seconds=stays),
            load_ns=self.load_ns,
            placement=_placement(options, loaded, self.cards),
            reason=self.reason,
            options=msgspec.to_builtins(options),
            engine=self.ask.need.engine,
        )


def _placement(options: LoadOptions, loaded: Loaded, cards: tuple[str, ...]) -> str:
    """Where and how a model lies, in a line."""
    where = "CPU" if not loaded.gpu_bytes else "GPU" if loaded.gpu_bytes >= loaded.memory_bytes else "CPU and GPU"
    where += f" ({', '.join(cards)})" if loaded.gpu_bytes and cards else ""
    context = min(options.context_length, loaded.context_length)
    slots = "1 slot" if loaded.parallel <= 1 else f"{loaded.parallel} slots"
    guesses = f", {options.draft_tokens} tokens guessed ahead" if loaded.draft else ""
    return f"{where}, {slots} of {context} tokens, {options.kv_cache_type} cache, {options.threads} threads{guesses}"
