"""Loading: how a child comes and goes: it is started, loaded as the machine allows, weighed, watched and ended."""

import asyncio
import functools
import math
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from typing import Final

import anyio
import msgspec

from a3s_power.aio import in_thread
from a3s_power.core.errors import LoadFailed, LoadStalled, OutOfMemory, RunnerDied
from a3s_power.core.names import ModelName
from a3s_power.engines import llamacpp_memory
from a3s_power.engines.engine import Loaded, LoadOptions
from a3s_power.hardware.machine import Machine
from a3s_power.log import get_logger
from a3s_power.runner.courtesy import courteous
from a3s_power.runner.runner import Runner, Spawn
from a3s_power.scheduler import drafts, fixed, forecasts, graphics, placement
from a3s_power.scheduler.caches import unfilled_bytes
from a3s_power.scheduler.child import Child
from a3s_power.scheduler.devices import Lay
from a3s_power.scheduler.footprints import Footprints, Seen
from a3s_power.scheduler.need import Claim, Need
from a3s_power.scheduler.prefixes import Prefixes
from a3s_power.scheduler.settings import Settings
from a3s_power.scheduler.speeds import Speeds
from a3s_power.scheduler.tunings import Tunings

log = get_logger(__name__)

_LEAST_WATCH: Final = 0.01
"""Seconds between two looks at a child."""
_SETTLE: Final = 0.1
"""And at cards that a child has left."""


class Crowded(Exception):
    """Other programs have taken memory since models came or went last, and idle models have to leave first."""


class Loading:
    """What a child needs of the machine, and what was learnt of models here. Decides nothing of when."""

    def __init__(
        self,
        settings: Settings,
        spawn: Spawn,
        *,
        look: Callable[[], Machine],
        weigh: Callable[[int], int],
        speeds: Speeds,
        footprints: Footprints,
        tunings: Tunings,
    ) -> None:
        self._settings = settings
        self._spawn = spawn
        self._look = look
        self._weigh = weigh
        self._speeds = speeds
        self._footprints = footprints
        self._tunings = tunings
        self._machine = look()
        self._known = {gpu.id: gpu for gpu in self._machine.gpus}
        for gpu in self._machine.gpus:
            log.info("graphics processor", card=f"{gpu.kind}:{gpu.index}", id=gpu.id, name=gpu.name)
        self._tell(self.degraded)
        self._prefixes = Prefixes(settings.prompts, settings.prompts_bytes)

    @property
    def usable_bytes(self) -> int:
        """What all models together may take; 0 where nobody can tell."""
        return placement.usable_bytes(self._machine)

    @property
    def cards(self) -> int:
        """How many graphics processors models may lie on."""
        return len(self._machine.gpus)

    def claim(self, need: Need) -> Claim:
        """What a need comes to here. Raises what `placement.claim` raises."""
        if tuning := self._tunings.of(need.model.facts, need.engine, self._settings.program):
            need = msgspec.structs.replace(need, tuning=tuning)
        rate = self._speeds.rate(need.model.weights)
        try:
            return graphics.claim(need, self._settings, self._machine, rate, self._seen(need))
        except OutOfMemory:
            if not need.drafting.kind:
                raise
            need = msgspec.structs.replace(need, drafting=drafts.NO_DRAFT)
            return graphics.claim(need, self._settings, self._machine, rate, self._seen(need))

    def settled(self, need: Need) -> tuple[Need, dict[str, str]]:
        """The need as it counts where the operator has the last word, and what it asks for in vain.

        Raises:
            OutOfMemory: as `claim` does.
        """
        counts, in_vain = need, dict[str, str]()
        if self._settings.fixed.of(need.model.name):
            counts = fixed.settled(need)
            in_vain = fixed.ignored(need, self.claim(counts))
        if need.model.name in self._settings.pins:
            if need.keep_alive not in {None, math.inf}:
                in_vain["keep_alive"] = f"{need.keep_alive:g}s -> for ever"
            counts = msgspec.structs.replace(counts, keep_alive=math.inf, pinned=True)
        return counts, in_vain

    def pins(self, name: ModelName) -> bool:
        """Whether the operator has pinned this model."""
        return name in self._settings.pins

    async def load(
        self, child: Child, children: int, progressed: Callable[[], None], *, busy: bool = False, idle: bool = False
    ) -> tuple[Runner, Loaded]:
        """Start a child, one of so many of which some are `busy`, and load its model.

        Raises what `Spawn` and `Runner.load` raise, and Crowded where another one is `idle` whose memory is needed.
        """
        need, claim, began = child.ask.need, child.ask.claim, time.perf_counter_ns()
        await self._look_around()
        claim = await self._foretold(need, claim)
        if idle and claim.memory_bytes > self._machine.free_bytes > 0:
            raise Crowded
        fit = graphics.fitted(need, claim, self._machine, self._settings, self._seen(need))
        options = placement.plan(need, fit.claim, self._machine, self._settings, children)
        options = graphics.loadable(options, fit, self._settings)
        if overruled := placement.overruled(need, claim, options) | dict(fit.reasons):
            log.warning("model is not loaded quite as asked for", model=child, **overruled)
            child.reason = ", ".join(f"{name} {change}" for name, change in overruled.items())
        environment = graphics.environment(need, fit, self._machine, self._settings)
        environment |= placement.binding(need.engine, options.least_threads, self._machine)
        runner = child.runner = await self._spawned(need.engine, environment)
        try:
            async with courteous(runner.pid) if busy else nullcontext():
                loaded = await self._watched(child, runner, options, progressed)
        except (OutOfMemory, RunnerDied) as error:
            raise forecasts.with_numbers(error, fit.claim, self._machine.free_bytes) from error
        graphics.check(need, self._settings, loaded)
        if why := drafts.reasons(need.drafting, options, loaded):
            log.warning("text is not guessed ahead", model=child, reason=why)
            child.reason = ", ".join(filter(None, (child.reason, why)))
        child.lay, child.cards = fit.lay, graphics.labels(self._machine, fit.lay)
        child.serving, child.load_ns = (runner, options, loaded), time.perf_counter_ns() - began
        await self._weighed(child, runner, loaded, fit.claim)
        log.info("model loaded", model=child, pid=runner.pid, seconds=child.load_ns / 1e9)
        return runner, loaded

    async def room(self, children: Collection[Child]) -> tuple[int, dict[str, int]]:
        """What all models may take now, of main memory and of each graphics processor, where those are loaded."""
        await self._look_around()
        held = sum(child.held_bytes for child in children) - await in_thread(self._promised, list(children))
        return placement.room(self._machine, held), graphics.rooms(self._machine, [each.lay.bytes for each in children])

    def _promised(self, children: Collection[Child]) -> int:
        """What the loaded ones may still fill with prompts of late."""
        serving = [(child, child.serving) for child in children if child.serving is not None]
        return sum(
            unfilled_bytes(options.prompt_cache_mib, child.memory_bytes, self._weigh(runner.pid))
            for child, (runner, options, _) in serving
        )

    @property
    def degraded(self) -> tuple[str, ...]:
        """What is wrong with the graphics processors that engines here could use."""
        return (*graphics.lost(self._known, self._machine), *self._machine.gpu_troubles)

    def lost(self, child: Child) -> str:
        """What became of a card that a child lies on; empty where all of them are there, or nobody can tell."""
        return "; ".join(graphics.lost({card: self._known[card] for card in child.lay.cards}, self._machine))

    async def _look_around(self) -> None:
        before, self._machine = self.degraded, await in_thread(self._look)
        self._known |= {gpu.id: gpu for gpu in self._machine.gpus}
        self._tell(reason for reason in self.degraded if reason not in before)

    @staticmethod
    def _tell(reasons: Iterable[str]) -> None:
        for reason in reasons:
            log.warning("not all graphics processors can be used", reason=reason)

    async def stuck(self, runner: Runner) -> float:
        """Wait until something in the child has made no progress for too long: so many seconds."""
        patience = self._settings.stall_timeout
        if not 0 < patience < math.inf:
            await anyio.sleep_forever()
        left = patience
        while left > 0:
            await anyio.sleep(max(_LEAST_WATCH, left))
            left = patience - runner.stuck_seconds
        return patience

    async def end(self, child: Child) -> None:
        """Stop the child, at once when it is not even loaded, and keep what was learnt of its speed."""
        if child.runner is not None:
            if child.serving is None:
                child.runner.kill()
            else:
                await self._prefixes.keep(child.runner, child.prompts)
            before = await in_thread(self._look) if child.lay.bytes else self._machine
            await child.runner.stop()
            await self._freed(before, child.lay)
            log.info("model left memory", model=child)
        child.held_bytes, child.lay = 0, Lay()
        await in_thread(self.save)

    async def _freed(self, before: Machine, lay: Lay) -> None:
        """Wait a while until cards have back what was taken of them: drivers are slow with it."""
        with anyio.move_on_after(self._settings.gpus.settle_seconds):
            while lay.bytes:
                if graphics.freed(before, await in_thread(self._look), lay):
                    return
                await anyio.sleep(_SETTLE)

    def save(self) -> None:
        """Keep what was learnt."""
        self._speeds.save()
        self._footprints.save()

    def _seen(self, need: Need) -> Seen:
        return functools.partial(self._footprints.seen, need)

    async def _foretold(self, need: Need, claim: Claim) -> Claim:
        """The claim, by the engine's own word where the formula's is all there is and may be wrong."""
        chosen, free = placement.chosen_settings(need, claim.options, self._machine), self._machine.free_bytes
        known = self._footprints.seen(need, claim.options, chosen)
        if known or self._machine.gpus or not forecasts.is_doubtful(need, claim, free):
            return claim
        told = await forecasts.forecast(need, claim, lambda: self._spawned(need.engine, {}))
        if told is None:
            return claim
        self._footprints.foretold(need, claim.options, chosen, told)
        return placement.weighed(need, claim.options, claim.asked_context, self._machine, self._seen(need))

    async def _weighed(self, child: Child, runner: Runner, loaded: Loaded, claim: Claim) -> None:
        """See what a loaded child really takes, and remember it."""
        need, options = child.ask.need, claim.options
        taken = 0 if loaded.gpu_bytes else await in_thread(self._weigh, runner.pid)
        # Less than its weights: not all of them have been read yet, or the system has already dropped some.
        if taken > claim.shared_bytes:
            chosen = placement.chosen_settings(need, options, self._machine)
            projector, _ = placement.beside_bytes(need)
            untouched = llamacpp_memory.untouched_bytes(need.model.facts, chosen, projector_bytes=projector)
            self._footprints.measured(need, options, chosen, taken, untouched)
        weighed = placement.weighed(need, options, 0, self._machine, self._seen(need)).memory_bytes
        child.memory_bytes = weighed if taken else loaded.memory_bytes or weighed
        child.held_bytes = max(0, child.memory_bytes - loaded.gpu_bytes - claim.shared_bytes)

    async def _spawned(self, engine: str, visible: dict[str, str]) -> Runner:  # type: ignore[return]  # a shield swallows nothing
        try:
            # A child must not be lost between its start and our hands.
            with anyio.CancelScope(shield=True):
                return await self._spawn(engine, visible)
        except OSError as error:
            raise LoadFailed(f"error starting llama-server: {error}") from error

    async def _watched(self, child: Child, runner: Runner, options: LoadOptions, told: Callable[[], None]) -> Loaded:
        """The load, given up when it makes no progress for too long."""
        patience = self._settings.load_timeout if self._settings.load_timeout > 0 else math.inf
        last, clock = 0.0, asyncio.get_running_loop().time
        child.prompts = await in_thread(self._prefixes.place, child.ask.need, options)
        files = msgspec.structs.replace(child.ask.need.model.files, prompts=child.prompts)
        with anyio.move_on_after(patience) as watch:

            def progressed(fraction: float) -> None:
                nonlocal last
                if fraction != last:
                    # Called outside of any task, where anyio would not always find its own clock.
                    last, watch.deadline = fraction, clock() + patience
                    child.fraction = fraction
                    told()

            return await runner.load(files, options, progressed)
        raise LoadStalled(f"timed out waiting for llama-server to start - no progress for {patience:g}s at {last:.0%}")
