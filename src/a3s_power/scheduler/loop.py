"""Scheduler: the owner of core and children. It tells the core what happens and carries out what the core decides."""

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import anyio
import anyio.abc

from a3s_power.aio import Mailbox, task_group
from a3s_power.core.digests import Digest
from a3s_power.core.errors import EngineFailed, PowerError
from a3s_power.core.events import Waiting
from a3s_power.core.model import FailedLoad, Resident
from a3s_power.core.names import ModelName
from a3s_power.hardware import memory
from a3s_power.hardware.machine import Machine
from a3s_power.log import get_logger, request_id
from a3s_power.runner.runner import Runner, Spawn
from a3s_power.scheduler.child import Child
from a3s_power.scheduler.commands import Command, Grant, Load, Reject, Unload
from a3s_power.scheduler.core import Core
from a3s_power.scheduler.devices import Lay
from a3s_power.scheduler.footprints import Footprints
from a3s_power.scheduler.lease import Lease, Tenant
from a3s_power.scheduler.listeners import Listeners
from a3s_power.scheduler.loading import Crowded, Loading
from a3s_power.scheduler.need import Ask, Need, RunnerKey
from a3s_power.scheduler.settings import Settings
from a3s_power.scheduler.speeds import Speeds
from a3s_power.scheduler.tuner import Tuner
from a3s_power.scheduler.tunings import Tunings
from a3s_power.telemetry.metrics import MODEL_RELOADS, QUEUE_WAIT, Counters

log = get_logger(__name__)

_FAILURES_KEPT: Final = 64


class Scheduler:
    """Slots of models, loaded when they are asked for. Open it with `async with`; leaving stops every child.

    Everything here runs on one event loop, and every decision is the core's: a method tells it what happened and
    carries out the answer before anything else can happen.
    """

    def __init__(
        self,
        settings: Settings,
        spawn: Spawn,
        *,
        look: Callable[[], Machine] = Machine.look,
        weigh: Callable[[int], int] = memory.resident,
        speeds: Speeds | None = None,
        footprints: Footprints | None = None,
        tunings: Tunings | None = None,
        scratch: Path | None = None,
        counters: Counters | None = None,
    ) -> None:
        self._counters = Counters() if counters is None else counters
        self._speeds = Speeds() if speeds is None else speeds
        footprints = Footprints() if footprints is None else footprints
        tunings = Tunings() if tunings is None else tunings
        self._loading = Loading(
            settings, spawn, look=look, weigh=weigh, speeds=self._speeds, footprints=footprints, tunings=tunings
        )
        self._tuner = Tuner(tunings, spawn, busy=lambda: self.busy, look=look, scratch=scratch)
        self._settings = settings
        self._core = Core(settings.limits(self._loading.usable_bytes, self._loading.cards))
        self._tickets = itertools.count(1)
        self._tenants: dict[int, Tenant] = {}
        self._listeners = Listeners(self._waits)
        self._children: dict[int, Child] = {}
        self._births: Mailbox[Child] = Mailbox()
        self._failures: dict[ModelName, FailedLoad] = {}
        self._crowded: set[RunnerKey] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._clock = asyncio.get_running_loop().time
        self._tasks = await self._exits.enter_async_context(task_group())
        self._tasks.start_soon(self._bear)
        if self._settings.calibrate:
            self._tasks.start_soon(self._tuner.run)
        if self._settings.gpus.kinds:
            self._tasks.start_soon(self._watch_cards)
        self._watching = anyio.CancelScope()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._core.close(self._clock()))
        self._births.close()
        self._tuner.close()
        self._watching.cancel()
        self._listeners.close()
        # The children end side by side; the group waits for all of them.
        await self._exits.__aexit__(kind, error, trace)
        self._loading.save()

    @asynccontextmanager
    async def acquire(self, need: Need, tell: Callable[[Waiting], None] | None = None) -> AsyncIterator[Lease]:
        """A slot of the model, for as long as this is open. Leaving it always gives the slot back.

        `tell` hears what is waited for, and again whenever that changes; it must not wait.

        Raises:
            QueueFull: too many wait already.
            Overdue: the need's patience came to its end.
            OutOfMemory: the model does not fit into this machine.
            LoadFailed: the model could not be loaded; so do all errors of `Runner.load`.
        """
        self._tuner.asked()
        claim = self._core.claimed(need) or self._loading.claim(need)
        ticket = next(self._tickets)
        context = 0 if need.options.num_ctx is None else claim.options.context_length
        tenant = self._tenants[ticket] = Tenant(need.context or context, tell, shift=need.shift)
        if tell is not None:
            self._listeners.add(ticket, tenant)
        lease: Lease | None = None
        try:
            now = self._clock()
            ask = Ask(ticket=ticket, need=need, claim=claim, deadline=now + need.patience)
            self._do(self._core.requested(ask, now))
            if tenant.waits:
                log.debug("waits", model=need.model.name, among=self._core.waiting)
            lease = await tenant.answer
            self._counters.observe(QUEUE_WAIT, lease.load_ns / 1e9)
            yield lease
        finally:
            del self._tenants[ticket]
            self._listeners.drop(ticket)
            self._leave(ticket, lease)

    def settled(self, need: Need) -> tuple[Need, dict[str, str]]:
        """The need as it counts where the operator has the last word, and what it asks for in vain.

        Raises:
            OutOfMemory: the model does not fit into this machine.
        """
        return self._loading.settled(need)

    def pins(self, name: ModelName) -> bool:
        """Whether the operator has pinned this model, so that no client takes it out of memory."""
        return self._loading.pins(name)

    def unload(self, weights: Digest) -> None:
        """Take a model out of memory as soon as nobody uses it, under all its names."""
        self._do(self._core.expire(weights, self._clock()))

    def changed(self, name: ModelName, blobs: Collection[Digest]) -> None:
        """`name` stands for these blobs now: what it stood for could not be unloaded by it any more, so that leaves."""
        for model in [child.ask.need.model for child in self._children.values()]:
            if model.name == name and model.weights not in blobs:
                self.unload(model.weights)

    @property
    def waiting(self) -> int:
        """How many wait for a model or a slot."""
        return self._core.waiting

    @property
    def degraded(self) -> tuple[str, ...]:
        """What is wrong with the graphics processors that engines here could use, in words."""
        return self._loading.degraded

    @property
    def busy(self) -> bool:
        """Whether anybody is being answered. May be read from any thread."""
        return self._core.busy

    def resident(self) -> list[Resident]:
        """The models in memory, the one that stays longest first."""
        now = datetime.now(UTC).astimezone()
        stays = self._core.residents(self._clock())
        return [one for instance, seconds in stays for one in self._children[instance].residents(seconds, now)]

    def failed(self) -> list[FailedLoad]:
        """The models whose last load failed, the latest at the end; only so many are remembered."""
        return list(self._failures.values())

    def measured(self, weights: Digest, tokens: int, seconds: float) -> None:
        """So many newly evaluated prompt tokens of this model took so long: its next load goes by that."""
        self._speeds.measured(weights, tokens, seconds)

    def _leave(self, ticket: int, lease: Lease | None) -> None:
        """Give a slot back, or a place in the queue; a child that is no good any more gets no more asks."""
        if lease is not None and lease.runner.poisoned:
            for child in self._children.values():
                if child.runner is lease.runner:
                    self._do(self._core.retire(child.instance, self._clock()))
        self._do(self._core.left(ticket, self._clock()))

    def _do(self, commands: list[Command]) -> None:
        """Carry out what the core decided. Nothing in here waits, and nothing tells the core anything."""
        for command in commands:
            match command:
                case Grant(ticket, instance):
                    child = self._children[instance]
                    if child.serving is not None:
                        self._tenants[ticket].grant(*child.serving)
                case Reject(ticket, error):
                    self._tenants[ticket].reject(error)
                case Load(instance, ask):
                    child = self._children[instance] = Child(instance, ask)
                    self._births.put(child)
                case Unload(instance, reload):
                    if reload:
                        self._counters.add(MODEL_RELOADS, reload)
                    self._children[instance].end()
        crowded = self._core.computing > 1
        for child in self._children.values():
            child.crowd(others=crowded)
        self._set_alarm()
        self._listeners.tell()

    def _waits(self) -> Callable[[int], Waiting]:
        """What each ticket waits for now."""
        places = self._core.places(self._clock())

        def waits(ticket: int) -> Waiting:
            instance = self._core.awaited(ticket)
            if instance is not None:
                return Waiting("loading", fraction=self._children[instance].fraction)
            return Waiting("queued", places.get(ticket, 0))

        return waits

    def _set_alarm(self) -> None:
        """Be called when time changes something."""
        deadline = self._core.deadline
        if self._alarm is not None:
            if self._alarm.when() == deadline:
                return
            self._alarm.cancel()
        later = deadline < math.inf
        self._alarm = asyncio.get_running_loop().call_at(deadline, self._ring, deadline) if later else None

    def _ring(self, deadline: float) -> None:
        self._alarm = None
        # The loop may call a moment early, by the resolution of its clock.
        self._do(self._core.passed(max(deadline, self._clock())))

    async def _bear(self) -> None:
        """Begin lives. News of a death comes outside of any task, where none can be begun."""
        async for child in self._births:
            self._tasks.start_soon(self._live, child)

    async def _live(self, child: Child) -> None:
        """The whole life of a child: it is loaded, it serves, it ends."""
        # Its log lines are not those of the request that happened to be the first.
        request_id.set("")
        failure: PowerError | None = None
        try:
            with child.life():
                try:
                    runner = await self._load(child)
                except Crowded:
                    # The core hears that there is less room and that this one is gone, and makes room for another try.
                    log.info("idle models have to leave first", model=child)
                    self._crowded.add(child.ask.need.key)
                except PowerError as error:
                    failure = error
                except Exception:
                    # One model's life ends here: whatever is wrong with it, all the others go on.
                    log.exception("load of a model met a bug", model=child)
                    failure = EngineFailed("internal error while loading the model, see the server's log")
                else:
                    await self._watch_over(child, runner)
        finally:
            with anyio.CancelScope(shield=True):
                await self._loading.end(child)
                await self._look_around()
            if failure is None:
                self._do(self._core.gone(child.instance, self._clock()))
            else:
                log.error("model could not be loaded", model=child, error=failure)
                self._remember(child.ask.need.model.name, failure)
                self._do(self._core.load_failed(child.instance, failure, self._clock()))
            del self._children[child.instance]

    async def _load(self, child: Child) -> Runner:
        """Load a child and tell the core."""
        key = child.ask.need.key
        idle = self._core.idle and key not in self._crowded
        self._crowded.discard(key)
        runner, loaded = await self._loading.load(
            child, self._core.instances, self._listeners.tell, busy=self._core.busy, idle=idle
        )
        await self._look_around()
        self._failures.pop(child.ask.need.model.name, None)
        if child.serving is not None:
            self._tuner.loaded(child.ask.need, child.serving[1], loaded)
        self._do(self._core.loaded(child.instance, max(1, loaded.parallel), self._clock(), child.lay.bytes))
        runner.on_exit(lambda _death: self._died(child))
        return runner

    async def _look_around(self) -> None:
        """See what is left for models, now that one has come or gone."""
        memory_bytes, cards = await self._loading.room(self._children.values())
        self._do(self._core.room(memory_bytes, self._clock(), cards))
        for child in [*self._children.values()]:
            if child.runner is not None and (lost := self._loading.lost(child)):
                log.error("model has lost its graphics processor", model=child, reason=lost)
                child.lay = Lay()
                self._replace(child, child.runner, lost)

    async def _watch_cards(self) -> None:
        """See whether graphics processors are still there while models lie on them; at no other time."""
        with self._watching:
            while True:
                await anyio.sleep(self._settings.gpus.watch_seconds)
                if any(child.lay.cards for child in self._children.values()):
                    await self._look_around()

    async def _watch_over(self, child: Child, runner: Runner) -> None:
        """Never returns. Should something in the child be stuck, it is replaced; what goes forward is only slow."""
        patience = await self._loading.stuck(runner)
        log.error("model is stuck and is replaced", model=child, seconds=patience)
        self._replace(child, runner, f"model runner made no progress for {patience:g}s and was replaced")
        await anyio.sleep_forever()

    def _replace(self, child: Child, runner: Runner, reason: str) -> None:
        """End a child that is no good any more: its requests hear why, those who wait cause a new load."""
        self._do(self._core.retire(child.instance, self._clock()))
        runner.fail(reason)

    def _died(self, child: Child) -> None:
        """It ended by itself. The core hears it at once, so that nobody is given a slot of it any more."""
        log.warning("model left memory: its child died", model=child)
        self._do(self._core.gone(child.instance, self._clock()))
        child.end()

    def _remember(self, name: ModelName, failure: PowerError) -> None:
        self._failures.pop(name, None)
        self._failures[name] = FailedLoad(model=name, error=failure, moment=datetime.now(UTC))
        for oldest in list(self._failures)[:-_FAILURES_KEPT]:
            del self._failures[oldest]
