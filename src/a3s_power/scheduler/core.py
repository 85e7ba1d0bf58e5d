"""The scheduler as a pure state machine: events in, commands out; no clock, no task, no I/O.

    requested ─▶ waiting ─▶ granted ─▶ left            an ask
                    └─▶ rejected

    Load ─▶ LOADING ─▶ READY ─▶ LEAVING ─▶ gone        an instance: one child with one model
               └──────────────────▲

Every event takes the time and returns what is to be done about it, in order. DESIGN.md has the rules in prose.
"""

import enum
import math
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from a3s_power.core.digests import Digest
from a3s_power.core.errors import Busy, Overdue, PowerError, QueueFull
from a3s_power.scheduler.need import Ask, RunnerKey, difference

BATCH_WAITS: Final = 60.0
"""Seconds after which work that gives way to all other does so no longer."""
_MOST_CLIENTS: Final = 1024
"""Of so many clients it is known when their last turn was."""


class Load(msgspec.Struct, frozen=True):
    """Start a child for `ask` and tell `loaded` or `load_failed`."""

    instance: int
    ask: Ask


class Unload(msgspec.Struct, frozen=True):
    """End this child, loading or idle, and tell `gone` when its memory is free."""

    instance: int


class Grant(msgspec.Struct, frozen=True):
    """The ask with this ticket has a slot of this instance until it has `left`."""

    ticket: int
    instance: int


class Reject(msgspec.Struct, frozen=True):
    """The ask with this ticket is over; it need not leave."""

    ticket: int
    error: PowerError


Command = Load | Unload | Grant | Reject


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules stand on: instances at once, asks that may wait, seconds a model stays, bytes for all models.

    `memory_bytes` 0 means that nobody knows.
    """

    max_loaded: int = 3
    max_queue: int = 512
    keep_alive: float = 300.0
    memory_bytes: int = 0


class _State(enum.Enum):
    LOADING = enum.auto()
    READY = enum.auto()
    LEAVING = enum.auto()


class _Instance:
    """One child. `retired` ones take no more asks; `used` is when the last ask came or went."""

    def __init__(self, number: int, ask: Ask, keep_alive: float, now: float) -> None:
        self.number = number
        self.ask = ask
        self.state = _State.LOADING
        self.slots = 0
        self.running: set[int] = set()
        self.keep_alive = keep_alive
        self.used = now
        self.retired = False

    @property
    def idle(self) -> bool:
        return self.state is _State.READY and not self.running

    @property
    def rank(self) -> tuple[float, float]:
        """Who has to make room first is smallest."""
        return (self.keep_alive, self.used)

    def serves(self, waiter: "_Waiter") -> bool:
        return self.state is not _State.LEAVING and not self.retired and waiter.fits(self)


_Flow = tuple[str, bool]
"""Whose turn an ask takes: its client's, apart for work that gives way."""


class _Waiter:
    """An ask that waits, and what its last comparison with an instance said: the queue is walked at every event."""

    __slots__ = ("_compared", "_fits", "ask", "flow", "key", "since")

    def __init__(self, ask: Ask, now: float) -> None:
        self.ask = ask
        self.key = ask.need.key
        self.flow: _Flow = (ask.need.client, ask.need.batch)
        self.since = now
        self._compared = 0
        self._fits = False

    def fits(self, instance: _Instance) -> bool:
        if self._compared != instance.number:
            self._compared, self._fits = instance.number, difference(instance.ask, self.ask) is None
        return self._fits


class Core:
    """Who is in memory, who waits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._room = limits.memory_bytes
        self._waiting: dict[int, _Waiter] = {}
        self._instances: dict[RunnerKey, _Instance] = {}
        self._granted: dict[int, _Instance] = {}
        self._turns: dict[_Flow, int] = {}
        """The last turn of each client of late, the one whose turn is longest ago first."""
        self._turn = 0
        self._yielding: tuple[int, _Instance] | None = None
        """The ticket that waits for room, and the busy instance that takes no later asks until it is free to leave."""
        self._started = 0
        self._closed = False

    def requested(self, ask: Ask, now: float) -> list[Command]:
        """An ask comes: it is granted, waits, or is rejected."""
        if self._closed:
            return [Reject(ask.ticket, _closing())]
        waiter = self._waiting[ask.ticket] = _Waiter(ask, now)
        commands = self._advance(now)
        if ask.ticket in self._waiting and self._queue() > self._limits.max_queue:
            last = self._line(now)[-1].ask.ticket
            del self._waiting[last]
            commands += [Reject(last, QueueFull()), *self._advance(now)]
            if last == ask.ticket:
                return commands
        holder = self._granted.get(ask.ticket) or self._serving(waiter)
        if holder is not None:
            _prolong(holder, ask)
        return commands

    def left(self, ticket: int, now: float) -> list[Command]:
        """An ask ends, waiting or granted. One that is neither any more changes nothing."""
        self._waiting.pop(ticket, None)
        instance = self._granted.pop(ticket, None)
        if instance is not None:
            instance.running.discard(ticket)
            instance.used = now
        return self._advance(now)

    def loaded(self, number: int, slots: int, now: float) -> list[Command]:
        """The instance is there and has this many slots."""
        instance = self._instance(number)
        if instance is not None and instance.state is _State.LOADING:
            instance.state, instance.slots, instance.used = _State.READY, slots, now
        return self._advance(now)

    def load_failed(self, number: int, error: PowerError, now: float) -> list[Command]:
        """The instance could not be loaded and its child is gone: exactly those who waited for it hear why."""
        instance = self._instance(number)
        failed = [ticket for ticket, waiter in self._waiting.items() if instance and self._serving(waiter) is instance]
        for ticket in failed:
            del self._waiting[ticket]
        return [*(Reject(ticket, error) for ticket in failed), *self.gone(number, now)]

    def gone(self, number: int, now: float) -> list[Command]:
        """The instance's child has ended, asked to or not. Asks it was running still leave, which changes nothing."""
        instance = self._instance(number)
        if instance is not None:
            del self._instances[instance.ask.need.key]
        return self._advance(now)

    def room(self, memory_bytes: int, now: float) -> list[Command]:
        """All models together may take so many bytes from now on; 0 when nobody knows."""
        self._room = memory_bytes
        return self._advance(now)

    def retire(self, number: int, now: float) -> list[Command]:
        """The instance must be replaced once nobody uses it; it takes no more asks."""
        instance = self._instance(number)
        if instance is not None:
            instance.retired = True
        return self._advance(now)

    def expire(self, weights: Digest, now: float) -> list[Command]:
        """Somebody wants these weights out of memory: they leave as soon as nobody uses them."""
        for key, instance in self._instances.items():
            if key.weights == weights:
                instance.keep_alive = 0.0
        return self._advance(now)

    def passed(self, now: float) -> list[Command]:
        """Time has passed."""
        return self._advance(now)

    def close(self, now: float) -> list[Command]:
        """The end: all who wait are rejected, all children end, nothing is taken in any more."""
        self._closed = True
        rejected = [Reject(ticket, _closing()) for ticket in self._waiting]
        self._waiting.clear()
        present = [instance for instance in self._instances.values() if instance.state is not _State.LEAVING]
        return [*rejected, *(self._unload(instance) for instance in present), *self._advance(now)]

    @property
    def deadline(self) -> float:
        """When `passed` should be told next; infinity when time changes nothing."""
        idle = (instance.used + instance.keep_alive for instance in self._instances.values() if instance.idle)
        patience = (waiter.ask.deadline for waiter in self._waiting.values())
        return min(min(idle, default=math.inf), min(patience, default=math.inf))

    @property
    def busy(self) -> bool:
        """Whether anybody is being answered."""
        return bool(self._granted)

    def place(self, ticket: int, now: float) -> int:
        """How many are served before this ask: 0 for the first in line, and for one that does not wait."""
        line = self._line(now)
        return next((place for place, waiter in enumerate(line) if waiter.ask.ticket == ticket), 0)

    def awaited(self, ticket: int) -> int | None:
        """The instance that is being loaded for an ask; `None` for one that waits for its turn, or not at all."""
        waiter = self._waiting.get(ticket)
        instance = None if waiter is None else self._serving(waiter)
        return instance.number if instance is not None and instance.state is _State.LOADING else None

    @property
    def instances(self) -> int:
        """How many children there are, coming and going ones too."""
        return len(self._instances)

    def residents(self, now: float) -> list[tuple[int, float]]:
        """The instances that are ready, and the seconds each stays if nobody asks, the longest first."""
        stays = [
            (instance.number, instance.keep_alive - (0.0 if instance.running else now - instance.used))
            for instance in self._instances.values()
            if instance.state is _State.READY
        ]
        return sorted(stays, key=lambda stay: (-stay[1], stay[0]))

    def _advance(self, now: float) -> list[Command]:
        """Do what can be done until nothing more can."""
        commands: list[Command] = []
        while step := self._step(now):
            commands += step
        return commands

    def _step(self, now: float) -> list[Command]:
        """Give up what nobody waits for, grant, give up whose time is over, expire, make room, load: in this order."""
        commands: list[Command] = [*self._abandon()]
        line = self._line(now)
        head = next((waiter for waiter in line if self._serving(waiter) is None), None)
        if self._yielding is not None and (head is None or head.ask.ticket != self._yielding[0]):
            self._yielding = None
        commands += self._grant(line, head, now)
        commands += self._overdue(now)
        commands += self._expire(now)
        if (
            head is not None
            and head.ask.ticket in self._waiting
            and not any(one.state is _State.LOADING for one in self._instances.values())
        ):
            commands += self._make_room(head, now)
        return commands

    def _abandon(self) -> Iterator[Command]:
        """A load that nobody waits for any more is given up."""
        for instance in self._instances.values():
            if instance.state is _State.LOADING:
                waited_for = any(self._serving(waiter) is instance for waiter in self._waiting.values())
                if not waited_for:
                    yield self._unload(instance)

    def _overdue(self, now: float) -> Iterator[Command]:
        """Those whose deadline has come wait no longer."""
        for ticket in [one for one, waiter in self._waiting.items() if waiter.ask.deadline <= now]:
            del self._waiting[ticket]
            yield Reject(ticket, Overdue())

    def _line(self, now: float) -> list[_Waiter]:
        """Those who wait, in the order in which they are served.

        Clients take turns: the first asks of all go before the second ones, and of clients with equally many before
        them that one's whose last turn is longest ago. Batch work comes behind all other, until it has waited long.
        """
        waiting = self._waiting.values()
        if len({waiter.flow for waiter in waiting}) < 2:
            return list(waiting)
        before: Counter[_Flow] = Counter()
        line = []
        for ticket, waiter in self._waiting.items():
            gives_way = waiter.ask.need.batch and now - waiter.since < BATCH_WAITS
            line.append((gives_way, before[waiter.flow], self._turns.get(waiter.flow, 0), ticket))
            before[waiter.flow] += 1
        return [self._waiting[ticket] for *_, ticket in sorted(line)]

    def _grant(self, line: list[_Waiter], head: _Waiter | None, now: float) -> Iterator[Command]:
        """Slots for those who can have one, in their order; a load that waits holds up nobody but loads."""
        free = sum(max(0, one.slots - len(one.running)) for one in self._instances.values())
        closed_to_later = None
        for waiter in line if free else ():
            if waiter is head and self._yielding is not None:
                closed_to_later = self._yielding[1]
            instance = self._serving(waiter)
            if instance is None or instance is closed_to_later or len(instance.running) >= instance.slots:
                continue
            yield self._given(waiter, instance, now)
            free -= 1
            if not free:
                return

    def _given(self, waiter: _Waiter, instance: _Instance, now: float) -> Grant:
        ticket = waiter.ask.ticket
        del self._waiting[ticket]
        instance.running.add(ticket)
        self._turn += 1
        self._turns.pop(waiter.flow, None)
        self._turns[waiter.flow] = self._turn
        if len(self._turns) > _MOST_CLIENTS:
            del self._turns[next(iter(self._turns))]
        instance.used = now
        self._granted[ticket] = instance
        return Grant(ticket, instance.number)

    def _expire(self, now: float) -> Iterator[Command]:
        for instance in self._instances.values():
            if instance.idle and (instance.retired or instance.used + instance.keep_alive <= now):
                yield self._unload(instance)

    def _make_room(self, head: _Waiter, now: float) -> Iterator[Command]:
        """Load for `head`, or see to it that an instance leaves: an idle one now, else a busy one after its asks."""
        own = self._instances.get(head.key)
        if own is None and self._has_room(head.ask):
            yield self._load(head, now)
            return
        going = [own] if own is not None else list(self._instances.values())
        idle = min((instance for instance in going if instance.idle), key=lambda one: one.rank, default=None)
        if any(instance.state is _State.LEAVING for instance in going):
            self._yielding = None
        elif idle is not None:
            self._yielding = None
            yield self._unload(idle)
        elif self._yielding is None:
            self._yielding = (head.ask.ticket, min(going, key=lambda one: one.rank))

    def _has_room(self, ask: Ask) -> bool:
        """The first model is always tried; the next ones have to fit beside it."""
        present = self._instances.values()
        if len(present) >= self._limits.max_loaded:
            return False
        return not present or not self._room or _taken([*(one.ask for one in present), ask]) <= self._room

    def _load(self, head: _Waiter, now: float) -> Load:
        self._started += 1
        instance = self._instances[head.key] = _Instance(self._started, head.ask, self._limits.keep_alive, now)
        for waiter in self._waiting.values():
            if self._serving(waiter) is instance:
                _prolong(instance, waiter.ask)
        return Load(instance.number, head.ask)

    def _unload(self, instance: _Instance) -> Unload:
        instance.state = _State.LEAVING
        return Unload(instance.number)

    def _serving(self, waiter: _Waiter) -> _Instance | None:
        """The instance that can serve it, now or when it is loaded or has a slot."""
        instance = self._instances.get(waiter.key)
        return instance if instance is not None and instance.serves(waiter) else None

    def _instance(self, number: int) -> _Instance | None:
        return next((one for one in self._instances.values() if one.number == number), None)

    def _queue(self) -> int:
        """How many wait. The one who is loaded for, or made room for, is being served and does not count."""
        holders = map(self._serving, self._waiting.values())
        return len(self._waiting) - any(one is None or one.state is _State.LOADING for one in holders)


def _taken(asks: list[Ask]) -> int:
    """The bytes of all of them; weights that several children share count once."""
    shared = {ask.need.model.weights: ask.claim.shared_bytes for ask in asks}
    return sum(ask.claim.memory_bytes - ask.claim.shared_bytes for ask in asks) + sum(shared.values())


def _prolong(instance: _Instance, ask: Ask) -> None:
    """What an ask says of the keep-alive holds for those after it, too."""
    if ask.need.keep_alive is not None:
        instance.keep_alive = ask.need.keep_alive


def _closing() -> PowerError:
    return Busy("the server is shutting down")
