"""Scheduler: the owner of core and children. It tells the core what happens and carries out what the core decides."""

import asyncio
import functools
import itertools
import math
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, NamedTuple, Self

import anyio
import anyio.abc

from a3s_power.aio import Mailbox, in_thread, task_group
from a3s_power.core.digests import Digest
from a3s_power.core.errors import EngineFailed, LoadFailed, LoadStalled, PowerError, revive
from a3s_power.core.events import Waiting
from a3s_power.core.model import FailedLoad, Resident
from a3s_power.core.names import ModelName
from a3s_power.engines.engine import Loaded, LoadOptions
from a3s_power.hardware import memory
from a3s_power.hardware.machine import Machine
from a3s_power.log import get_logger, request_id
from a3s_power.runner.runner import Runner, Spawn
from a3s_power.scheduler import placement
from a3s_power.scheduler.core import Command, Core, Grant, Load, Reject, Unload
from a3s_power.scheduler.footprints import Footprints
from a3s_power.scheduler.need import Ask, Claim, Need
from a3s_power.scheduler.settings import Settings
from a3s_power.scheduler.speeds import Speeds

log = get_logger(__name__)

_FAILURES_KEPT: Final = 64
_LEAST_WATCH: Final = 0.01
"""Seconds between two looks at a child."""


class Lease(NamedTuple):
    """A slot of a loaded model: its runner, how it was loaded, what became of that, and the wait in nanoseconds.

    `limit` is the context asked for where the model was loaded with a longer one, else 0.
    """

    runner: Runner
    options: LoadOptions
    loaded: Loaded
    load_ns: int
    limit: int = 0


class _Waiter(NamedTuple):
    """Somebody in `acquire`: where the answer goes, since when it is waited for, and the context it said, else 0."""

    answer: asyncio.Future[Lease]
    since: int
    context: int


class _Listener:
    """Hears what an ask waits for, whenever that is something else than before."""

    def __init__(self, tell: Callable[[Waiting], None]) -> None:
        self._tell = tell
        self._heard: Waiting | None = None

    def hear(self, waiting: Waiting) -> None:
        if waiting != self._heard:
            self._heard = waiting
            self._tell(waiting)


class _Child:
    """One instance as it lives here: `end` ends it, `serving` is what a lease of it holds.

    `held_bytes` of the memory it takes are nobody else's; `reason` says why it is not loaded as was asked for.
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
    ) -> None:
        self._settings = settings
        self._spawn = spawn
        self._look = look
        self._weigh = weigh
        self._speeds = Speeds() if speeds is None else speeds
        self._footprints = Footprints() if footprints is None else footprints
        self._machine = look()
        self._core = Core(settings.limits(placement.usable_bytes(self._machine)))
        self._tickets = itertools.count(1)
        self._waiters: dict[int, _Waiter] = {}
        self._listeners: dict[int, _Listener] = {}
        self._children: dict[int, _Child] = {}
        self._births: Mailbox[_Child] = Mailbox()
        self._failures: dict[ModelName, FailedLoad] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._clock = asyncio.get_running_loop().time
        self._tasks = await self._exits.enter_async_context(task_group())
        self._tasks.start_soon(self._bear)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._core.close(self._clock()))
        self._births.close()
        # The children end side by side; the group waits for all of them.
        await self._exits.__aexit__(kind, error, trace)
        self._save()

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
        rate, seen = self._speeds.rate(need.model.weights), functools.partial(self._footprints.seen, need)
        claim = placement.claim(need, self._settings, self._machine, rate, seen)
        ticket = next(self._tickets)
        context = 0 if need.options.num_ctx is None else claim.options.context_length
        waiter = _Waiter(asyncio.get_running_loop().create_future(), time.perf_counter_ns(), context)
        self._waiters[ticket] = waiter
        if tell is not None:
            self._listeners[ticket] = _Listener(tell)
        lease: Lease | None = None
        try:
            now = self._clock()
            ask = Ask(ticket=ticket, need=need, claim=claim, deadline=now + need.patience)
            self._do(self._core.requested(ask, now))
            if not waiter.answer.done():
                log.debug("waits", model=need.model.name, place=self._core.place(ticket, now))
            lease = await waiter.answer
            yield lease
        finally:
            del self._waiters[ticket]
            self._listeners.pop(ticket, None)
            self._leave(ticket, lease)

    def unload(self, weights: Digest) -> None:
        """Take a model out of memory as soon as nobody uses it, under all its names."""
        self._do(self._core.expire(weights, self._clock()))

    def changed(self, name: ModelName, blobs: Collection[Digest]) -> None:
        """`name` stands for these blobs now: what it stood for could not be unloaded by it any more, so that leaves."""
        for model in [child.ask.need.model for child in self._children.values()]:
            if model.name == name and model.weights not in blobs:
                self.unload(model.weights)

    @property
    def busy(self) -> bool:
        """Whether anybody is being answered. May be read from any thread."""
        return self._core.busy

    def resident(self) -> list[Resident]:
        """The models in memory, the one that stays longest first."""
        now = datetime.now(UTC).astimezone()
        stays = self._core.residents(self._clock())
        return [one for instance, seconds in stays for one in _resident(self._children[instance], seconds, now)]

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
                    self._grant(self._waiters[ticket], self._children[instance])
                case Reject(ticket, error):
                    self._reject(self._waiters[ticket], error)
                case Load(instance, ask):
                    child = self._children[instance] = _Child(instance, ask)
                    self._births.put(child)
                case Unload(instance):
                    self._children[instance].end()
        self._set_alarm()
        self._tell()

    def _tell(self) -> None:
        """Say to those who listen what they wait for."""
        for ticket, listener in self._listeners.items():
            if not self._waiters[ticket].answer.done():
                instance = self._core.awaited(ticket)
                listener.hear(
                    Waiting("queued", self._core.place(ticket, self._clock()))
                    if instance is None
                    else Waiting("loading", fraction=self._children[instance].fraction)
                )

    def _grant(self, waiter: _Waiter, child: _Child) -> None:
        # One that was cancelled a moment ago is on its way to `left`, which gives the slot back.
        if not waiter.answer.done() and child.serving is not None:
            runner, options, loaded = child.serving
            limit = waiter.context if waiter.context < options.context_length else 0
            waiter.answer.set_result(Lease(runner, options, loaded, time.perf_counter_ns() - waiter.since, limit))

    def _reject(self, waiter: _Waiter, error: PowerError) -> None:
        if not waiter.answer.done():
            # Each gets an error of its own: one that is raised in many places grows a traceback of all of them.
            waiter.answer.set_exception(revive(error.kind, error.message))
            # Whoever waited may be cancelled before reading it, and that is nobody's mistake.
            waiter.answer.exception()

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

    async def _live(self, child: _Child) -> None:
        """The whole life of a child: it is loaded, it serves, it ends."""
        # Its log lines are not those of the request that happened to be the first.
        request_id.set("")
        failure: PowerError | None = None
        try:
            with child.life():
                try:
                    await self._load(child)
                except PowerError as error:
                    failure = error
                except Exception:
                    # One model's life ends here: whatever is wrong with it, all the others go on.
                    log.exception("load of a model met a bug", model=child)
                    failure = EngineFailed("internal error while loading the model, see the server's log")
                else:
                    await self._watch_over(child)
        finally:
            with anyio.CancelScope(shield=True):
                await self._end(child)
            if failure is None:
                self._do(self._core.gone(child.instance, self._clock()))
            else:
                log.error("model could not be loaded", model=child, error=failure)
                self._remember(child.ask.need.model.name, failure)
                self._do(self._core.load_failed(child.instance, failure, self._clock()))
            del self._children[child.instance]

    def _remember(self, name: ModelName, failure: PowerError) -> None:
        self._failures.pop(name, None)
        self._failures[name] = FailedLoad(model=name, error=failure, moment=datetime.now(UTC))
        for oldest in list(self._failures)[:-_FAILURES_KEPT]:
            del self._failures[oldest]

    async def _load(self, child: _Child) -> None:
        """Start a child, load the model and tell the core. Raises what `Spawn` and `Runner.load` raise."""
        need, claim, began = child.ask.need, child.ask.claim, time.perf_counter_ns()
        self._machine = await in_thread(self._look)
        fitted = placement.fitted(need, claim, self._machine, functools.partial(self._footprints.seen, need))
        options = placement.plan(need, fitted, self._machine, self._settings, self._core.instances)
        if overruled := placement.overruled(need, claim, options):
            log.warning("model is not loaded quite as asked for", model=child, **overruled)
            child.reason = ", ".join(f"{name} {change}" for name, change in overruled.items())
        runner = child.runner = await self._spawned(need.engine)
        loaded = await self._watched(child, runner, options)
        child.serving, child.load_ns = (runner, options, loaded), time.perf_counter_ns() - began
        await self._weighed(child, runner, loaded, fitted)
        self._failures.pop(need.model.name, None)
        log.info("model loaded", model=child, pid=runner.pid, seconds=child.load_ns / 1e9)
        self._do(self._core.loaded(child.instance, max(1, loaded.parallel), self._clock()))
        runner.on_exit(lambda _death: self._died(child))

    async def _weighed(self, child: _Child, runner: Runner, loaded: Loaded, claim: Claim) -> None:
        """See what a loaded child really takes, remember it, and what that leaves for others."""
        need, options = child.ask.need, claim.options
        seen = functools.partial(self._footprints.seen, need)
        taken = 0 if loaded.gpu_bytes else await in_thread(self._weigh, runner.pid)
        if taken:
            self._footprints.measured(need, options, taken)
        weighed = placement.weighed(need, options, 0, self._machine, seen).memory_bytes
        child.memory_bytes = weighed if taken else loaded.memory_bytes or weighed
        child.held_bytes = max(0, child.memory_bytes - loaded.gpu_bytes - claim.shared_bytes)
        await self._look_around()

    async def _look_around(self) -> None:
        self._machine = await in_thread(self._look)
        held = sum(child.held_bytes for child in self._children.values())
        self._do(self._core.room(placement.room(self._machine, held), self._clock()))

    async def _spawned(self, engine: str) -> Runner:  # type: ignore[return]  # a shield swallows nothing
        try:
            # A child must not be lost between its start and our hands.
            with anyio.CancelScope(shield=True):
                return await self._spawn(engine)
        except OSError as error:
            raise LoadFailed(f"error starting llama-server: {error}") from error

    async def _watched(self, child: _Child, runner: Runner, options: LoadOptions) -> Loaded:
        """The load, given up when it makes no progress for too long."""
        patience = self._settings.load_timeout if self._settings.load_timeout > 0 else math.inf
        last, clock = 0.0, asyncio.get_running_loop().time
        with anyio.move_on_after(patience) as watch:

            def progressed(fraction: float) -> None:
                nonlocal last
                if fraction != last:
                    # Called outside of any task, where anyio would not always find its own clock.
                    last, watch.deadline = fraction, clock() + patience
                    child.fraction = fraction
                    self._tell()

            return await runner.load(child.ask.need.model.files, options, progressed)
        raise LoadStalled(f"timed out waiting for llama-server to start - no progress for {patience:g}s at {last:.0%}")

    async def _watch_over(self, child: _Child) -> None:
        """Never returns. Should something in the child be stuck, it is replaced; what goes forward is only slow."""
        patience, runner = self._settings.stall_timeout, child.runner
        while runner is not None and 0 < patience < math.inf:
            await anyio.sleep(max(_LEAST_WATCH, patience - runner.stuck_seconds))
            if runner.stuck_seconds >= patience:
                log.error("model is stuck and is replaced", model=child, seconds=patience)
                self._do(self._core.retire(child.instance, self._clock()))
                runner.fail(f"model runner made no progress for {patience:g}s and was replaced")
                break
        await anyio.sleep_forever()

    def _died(self, child: _Child) -> None:
        """It ended by itself. The core hears it at once, so that nobody is given a slot of it any more."""
        log.warning("model left memory: its child died", model=child)
        self._do(self._core.gone(child.instance, self._clock()))
        child.end()

    async def _end(self, child: _Child) -> None:
        """Stop the child, at once when it is not even loaded, and keep what was learnt of its speed."""
        if child.runner is not None:
            if child.serving is None:
                child.runner.kill()
            await child.runner.stop()
            log.info("model left memory", model=child)
        child.held_bytes = 0
        await in_thread(self._save)
        await self._look_around()

    def _save(self) -> None:
        self._speeds.save()
        self._footprints.save()


def _resident(child: _Child, stays: float, now: datetime) -> Iterator[Resident]:
    if child.serving is not None:
        _, options, loaded = child.serving
        yield Resident(
            model=child.ask.need.model,
            memory_bytes=child.memory_bytes,
            gpu_bytes=loaded.gpu_bytes,
            context_length=min(options.context_length, loaded.context_length),
            expires=None if stays == math.inf else now + timedelta(seconds=stays),
            load_ns=child.load_ns,
            placement=_placement(options, loaded),
            reason=child.reason,
        )


def _placement(options: LoadOptions, loaded: Loaded) -> str:
    """Where and how a model lies, in a line."""
    where = "CPU" if not loaded.gpu_bytes else "GPU" if loaded.gpu_bytes >= loaded.memory_bytes else "CPU and GPU"
    context = min(options.context_length, loaded.context_length)
    slots = "1 slot" if loaded.parallel <= 1 else f"{loaded.parallel} slots"
    return f"{where}, {slots} of {context} tokens, {options.kv_cache_type} cache, {options.threads} threads"
