"""Tuner: measures the settings for models of a new kind, in the background, while nobody is answered."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio

from a3s_power.aio import Mailbox, in_thread
from a3s_power.core.errors import PowerError
from a3s_power.core.model import Facts
from a3s_power.engines import llamacpp_params
from a3s_power.engines.engine import Loaded, LoadOptions
from a3s_power.engines.tuning import Rates, best
from a3s_power.hardware.machine import Machine
from a3s_power.log import get_logger
from a3s_power.runner.runner import Spawn
from a3s_power.scheduler import calibration, placement
from a3s_power.scheduler.calibration import LEAST_BUSY, SLICE_BYTES, Subject
from a3s_power.scheduler.need import Need
from a3s_power.scheduler.tunings import Tunings

log = get_logger(__name__)

QUIET_SECONDS: Final = 20.0
"""So long after the last request it is likely that nobody is there."""
LEAST_PARAMETERS: Final = 100_000_000
"""Smaller models are quick with any setting."""
_TRIES: Final = 3
_ENGINES: Final = frozenset({"llamacpp", "llamaserver"})
"""Those that have these settings."""


class Tuner:
    """Fills `tunings`. Every ask ends what is being measured at once; it is begun anew when it is quiet again.

    `busy` tells whether anybody is answered, `look` looks at the machine. Slices of models are written into `scratch`.
    """

    def __init__(
        self,
        tunings: Tunings,
        spawn: Spawn,
        *,
        busy: Callable[[], bool],
        look: Callable[[], Machine],
        scratch: Path | None = None,
        quiet_seconds: float = QUIET_SECONDS,
        least_busy: float = LEAST_BUSY,
    ) -> None:
        self._tunings = tunings
        self._spawn = spawn
        self._busy = busy
        self._look = look
        self._scratch = scratch
        self._quiet_seconds = quiet_seconds
        self._least_busy = least_busy
        self._asked_at = -math.inf
        self._wanted: Mailbox[Subject] = Mailbox()
        self._seen: set[str] = set()
        self._measuring: anyio.CancelScope | None = None
        self._life = anyio.CancelScope()

    def asked(self) -> None:
        """Somebody wants something: whatever is being measured gives way."""
        self._asked_at = time.monotonic()
        if self._measuring is not None:
            self._measuring.cancel()

    def loaded(self, need: Need, options: LoadOptions, loaded: Loaded) -> None:
        """A model was loaded. One of a kind that was not measured here yet will be, if that is worth it."""
        facts = need.model.facts
        if options.tuning and not loaded.gpu_bytes:
            log.info("settings as measured here", model=need.model.name, setting=_setting(options, facts))
        if need.engine not in _ENGINES or loaded.gpu_bytes or options.embedding or facts.parameters < LEAST_PARAMETERS:
            return
        if options.tuning or need.options.num_thread or need.model.files.weights in self._seen:
            return
        self._seen.add(need.model.files.weights)
        self._wanted.put(
            Subject(
                weights=need.model.files.weights,
                facts=facts,
                engine=need.engine,
                threads=options.threads,
                threads_batch=options.threads_batch,
                program=options.program,
                arguments=options.arguments,
            )
        )

    async def run(self) -> None:
        """Measure what is wanted, one after the other, until `close`."""
        with self._life:
            async for subject in self._wanted:
                if not self._tunings.of(subject.facts, subject.engine, subject.program):
                    await self._tune(subject)

    def close(self) -> None:
        """Measure nothing more."""
        self._life.cancel()

    async def _tune(self, subject: Subject) -> None:
        """Measure a kind of model when it is quiet; what is disturbed too often, or fails, is left as it is."""
        tries = 0
        while tries < _TRIES:
            await self._quiet()
            measured: tuple[Rates, ...] | None = ()
            with anyio.CancelScope() as self._measuring:
                measured = await self._measured(subject)
                tries += 1
            self._measuring = None
            if measured is None:
                return
            if measured:
                self._tunings.learn(subject.facts, subject.engine, subject.program, measured)
                self._tell(subject)
                await in_thread(self._tunings.save)
                return
            if tries and self._asked_at < time.monotonic() - self._quiet_seconds:
                log.debug("too much else runs here: settings are measured later", weights=subject.weights)
            self._asked_at = time.monotonic()

    async def _measured(self, subject: Subject) -> tuple[Rates, ...] | None:
        """The speeds of all settings; empty where the machine is too busy, `None` where it cannot be done."""
        machine = await in_thread(self._look)
        if not machine.x86:
            return None
        if 0 < machine.free_bytes < 8 * SLICE_BYTES:
            return ()
        try:
            binding = placement.binding(subject.engine, min(subject.threads, subject.threads_batch), machine)
            return await calibration.measure(subject, self._spawn, self._scratch, self._least_busy, binding=binding)
        except (PowerError, OSError) as error:
            log.warning("settings could not be measured", weights=subject.weights, error=error)
            return None

    def _tell(self, subject: Subject) -> None:
        measured = self._tunings.of(subject.facts, subject.engine, subject.program)
        for rates in measured:
            log.debug("measured", setting=calibration.described(rates))
        if chosen := best(measured):
            kind = f"{subject.facts.file_type} of {subject.facts.parameters / 1e9:.1f}B"
            log.info("settings measured, used from the next load on", kind=kind, best=calibration.described(chosen))

    async def _quiet(self) -> None:
        """Wait until nobody has wanted anything for some time."""
        while (left := self._asked_at + self._quiet_seconds - time.monotonic()) > 0 or self._busy():
            if self._busy():
                self._asked_at = time.monotonic()
            await anyio.sleep(max(left, self._quiet_seconds / 10))


def _setting(options: LoadOptions, facts: Facts) -> str:
    """The setting that the engine takes, with its figures."""
    chosen = llamacpp_params.settings(options, facts, llamacpp_params.Machine(x86=True))
    taken = (chosen.repack, chosen.flash_attention != "DISABLED")
    found = (rates for rates in options.tuning if (rates.repack, rates.flash_attention) == taken)
    return next(map(calibration.described, found), "not among those")
