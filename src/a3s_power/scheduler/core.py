"""The scheduler as a pure state machine: events in, commands out; no clock, no task, no I/O.

    requested ─▶ waiting ─▶ granted ─▶ left            an ask
                    └─▶ rejected

    Load ─▶ LOADING ─▶ READY ─▶ LEAVING ─▶ gone        an instance: one child with one model
               └──────────────────▲

Every event takes the time and returns what is to be done about it, in order. DESIGN.md has the rules in prose.
"""

import math
from collections.abc import Iterator, Mapping

import msgspec

from a3s_power.core.digests import Digest
from a3s_power.core.errors import Busy, NoRoom, Overdue, PowerError, QueueFull
from a3s_power.scheduler import devices
from a3s_power.scheduler.commands import Command, Grant, Load, Reject, Unload
from a3s_power.scheduler.instances import Instance, Instances, State
from a3s_power.scheduler.line import Line, Waiter
from a3s_power.scheduler.need import Ask, Claim, Need, alike, difference


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules stand on: instances at once, asks that may wait, seconds a model stays, bytes for all models.

    `memory_bytes` 0 means that nobody knows.
    """

    max_loaded: int = 3
    max_queue: int = 512
    keep_alive: float = 300.0
    memory_bytes: int = 0


class Core:
    """Who is in memory, who waits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._room = limits.memory_bytes
        self._cards: Mapping[str, int] = {}
        self._line = Line()
        self._instances = Instances()
        self._granted: dict[int, Instance] = {}
        self._yielding: tuple[int, Instance] | None = None
        """The ticket that waits for room, and the busy instance that takes no later asks until it is free to leave."""
        self._all_served = True
        """Whether there is an instance for everybody who waits; then nobody needs to look for one who has none."""
        self._closed = False

    def claimed(self, need: Need) -> Claim | None:
        """What a need like this one came to when the instance was loaded that can serve it.

        `None` without one, and where it got less context than it wants: by now there may be memory for that.
        """
        instance = self._instances.get(need.key)
        if instance is None or not instance.takes_asks or not alike(instance.ask.need, need):
            return None
        claim = instance.ask.claim
        return claim if claim.asked_context <= claim.options.context_length else None

    def requested(self, ask: Ask, now: float) -> list[Command]:
        """An ask comes: it is granted, waits, or is rejected."""
        if self._closed:
            return [Reject(ask.ticket, _closing())]
        waiter = self._line.join(ask, now)
        self._all_served = self._all_served and self._instances.serving(waiter) is not None
        commands = self._advance(now)
        full = len(self._line) > self._limits.max_queue and self._queue() > self._limits.max_queue
        if full and self._line.get(ask.ticket):
            last = self._line.ordered(now)[-1].ask.ticket
            self._line.leave(last)
            commands += [Reject(last, QueueFull()), *self._advance(now)]
            if last == ask.ticket:
                return commands
        holder = self._granted.get(ask.ticket) or self._instances.serving(waiter)
        if holder is not None:
            holder.prolong(ask)
        return commands

    def left(self, ticket: int, now: float) -> list[Command]:
        """An ask ends, waiting or granted. One that is neither any more changes nothing."""
        self._line.leave(ticket)
        instance = self._granted.pop(ticket, None)
        if instance is not None:
            instance.running.discard(ticket)
            instance.used = now
        return self._advance(now)

    def loaded(self, number: int, slots: int, now: float, lies: Mapping[str, int] | None = None) -> list[Command]:
        """The instance is there, has this many slots, and takes so many bytes of graphics processors."""
        instance = self._instances.numbered(number)
        if instance is not None and instance.state is State.LOADING:
            instance.state, instance.slots, instance.used = State.READY, slots, now
            instance.lies = lies or {}
        return self._advance(now)

    def load_failed(self, number: int, error: PowerError, now: float) -> list[Command]:
        """The instance could not be loaded and its child is gone: exactly those who waited for it hear why."""
        instance = self._instances.numbered(number)
        failed = [one.ask.ticket for one in self._line if instance and self._instances.serving(one) is instance]
        for ticket in failed:
            self._line.leave(ticket)
        return [*(Reject(ticket, error) for ticket in failed), *self.gone(number, now)]

    def gone(self, number: int, now: float) -> list[Command]:
        """The instance's child has ended, asked to or not. Asks it was running still leave, which changes nothing."""
        instance = self._instances.numbered(number)
        if instance is not None:
            self._instances.end(instance)
            self._all_served = False
        return self._advance(now)

    def room(self, memory_bytes: int, now: float, cards: Mapping[str, int] | None = None) -> list[Command]:
        """All models together may take so many bytes from now on, 0 when nobody knows, and so many of each card."""
        self._room, self._cards = memory_bytes, cards or {}
        return self._advance(now)

    def retire(self, number: int, now: float) -> list[Command]:
        """The instance must be replaced once nobody uses it; it takes no more asks."""
        instance = self._instances.numbered(number)
        if instance is not None:
            instance.retired = True
            self._all_served = False
        return self._advance(now)

    def expire(self, weights: Digest, now: float) -> list[Command]:
        """Somebody wants these weights out of memory: they leave as soon as nobody uses them."""
        for instance in self._instances:
            if instance.ask.need.key.weights == weights:
                instance.keep_alive, instance.pinned = 0.0, False
        return self._advance(now)

    def passed(self, now: float) -> list[Command]:
        """Time has passed."""
        return self._advance(now)

    def close(self, now: float) -> list[Command]:
        """The end: all who wait are rejected, all children end, nothing is taken in any more."""
        self._closed = True
        rejected = [Reject(waiter.ask.ticket, _closing()) for waiter in self._line]
        self._line.clear()
        present = [instance for instance in self._instances if instance.state is not State.LEAVING]
        return [*rejected, *(self._unload(instance) for instance in present), *self._advance(now)]

    @property
    def deadline(self) -> float:
        """When `passed` should be told next; infinity when time changes nothing."""
        expires = (instance.expires for instance in self._instances if instance.idle)
        return min(min(expires, default=math.inf), self._line.deadline)

    @property
    def busy(self) -> bool:
        """Whether anybody is being answered."""
        return bool(self._granted)

    @property
    def computing(self) -> int:
        """How many instances are answering somebody."""
        return sum(bool(instance.running) for instance in self._instances)

    def places(self, now: float) -> dict[int, int]:
        """How many are served before each ask that waits, by ticket: 0 for the first in line."""
        return {waiter.ask.ticket: place for place, waiter in enumerate(self._line.ordered(now))}

    def awaited(self, ticket: int) -> int | None:
        """The instance that is being loaded for an ask; `None` for one that waits for its turn, or not at all."""
        waiter = self._line.get(ticket)
        instance = None if waiter is None else self._instances.serving(waiter)
        return instance.number if instance is not None and instance.state is State.LOADING else None

    @property
    def idle(self) -> bool:
        """Whether an instance could leave now."""
        return any(instance.idle for instance in self._instances)

    @property
    def waiting(self) -> int:
        """How many wait, for a load or a slot."""
        return len(self._line)

    @property
    def instances(self) -> int:
        """How many children there are, coming and going ones too."""
        return len(self._instances)

    def residents(self, now: float) -> list[tuple[int, float]]:
        """The instances that are ready, and the seconds each stays if nobody asks, the longest first."""
        stays = [
            (instance.number, instance.keep_alive if instance.running else instance.expires - now)
            for instance in self._instances
            if instance.state is State.READY
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
        line = self._line.ordered(now)
        head = None if self._all_served else next((one for one in line if self._instances.serving(one) is None), None)
        self._all_served = head is None
        if self._yielding is not None and (head is None or head.ask.ticket != self._yielding[0]):
            self._yielding = None
        commands += self._grant(line, head, now)
        commands += self._overdue(now)
        commands += self._expire(now)
        if head is not None and self._line.get(head.ask.ticket) and not self._instances.any_is(State.LOADING):
            commands += self._make_room(head, now)
        return commands

    def _abandon(self) -> Iterator[Command]:
        """A load that nobody waits for any more is given up."""
        for instance in self._instances:
            if instance.state is State.LOADING:
                waited_for = any(self._instances.serving(waiter) is instance for waiter in self._line)
                if not waited_for:
                    yield self._unload(instance)

    def _overdue(self, now: float) -> Iterator[Command]:
        """Those whose deadline has come wait no longer."""
        for ticket in self._line.overdue(now):
            self._line.leave(ticket)
            yield Reject(ticket, Overdue())

    def _grant(self, line: list[Waiter], head: Waiter | None, now: float) -> Iterator[Command]:
        """Slots for those who can have one, in their order; a load that waits holds up nobody but loads."""
        free = sum(max(0, one.slots - len(one.running)) for one in self._instances)
        closed_to_later = None
        for waiter in line if free else ():
            if waiter is head and self._yielding is not None:
                closed_to_later = self._yielding[1]
            instance = self._instances.serving(waiter)
            if instance is None or instance is closed_to_later or len(instance.running) >= instance.slots:
                continue
            yield self._given(waiter, instance, now)
            free -= 1
            if not free:
                return

    def _given(self, waiter: Waiter, instance: Instance, now: float) -> Grant:
        ticket = waiter.ask.ticket
        self._line.serve(waiter)
        instance.running.add(ticket)
        instance.used = now
        self._granted[ticket] = instance
        return Grant(ticket, instance.number)

    def _expire(self, now: float) -> Iterator[Command]:
        for instance in self._instances:
            if instance.idle and (instance.retired or instance.expires <= now):
                yield self._unload(instance)

    def _make_room(self, head: Waiter, now: float) -> Iterator[Command]:
        """Load for `head`, or see to it that an instance leaves: an idle one now, else a busy one after its asks."""
        own = self._instances.get(head.key)
        if own is None and self._has_room(head.ask):
            yield self._load(head, now)
            return
        going = [own] if own is not None else [one for one in self._in_the_way(head.ask) if not one.pinned]
        if not going:
            self._line.leave(head.ask.ticket)
            yield Reject(head.ask.ticket, NoRoom())
            return
        idle = min((instance for instance in going if instance.idle), key=lambda one: one.rank, default=None)
        if any(instance.state is State.LEAVING for instance in going):
            self._yielding = None
        elif idle is not None:
            self._yielding = None
            yield self._unload(idle, "" if own is None else difference(own.ask, head.ask) or "replaced")
        elif self._yielding is None:
            self._yielding = (head.ask.ticket, min(going, key=lambda one: one.rank))

    def _has_room(self, ask: Ask) -> bool:
        """The first model is always tried; the next ones have to fit beside it."""
        lying = [one.lies for one in self._instances]
        return not lying or (self._has_memory(ask) and devices.fits(self._cards, lying, ask.claim.wish))

    def _has_memory(self, ask: Ask) -> bool:
        """Whether there may be another instance, and main memory for it."""
        if len(self._instances) >= self._limits.max_loaded:
            return False
        return not self._room or self._instances.bytes_with(ask) <= self._room

    def _in_the_way(self, ask: Ask) -> list[Instance]:
        """Those of whom one has to leave: where only graphics processors are full, those that lie on them."""
        everybody = list(self._instances)
        on_cards = [one for one in everybody if not one.lies.keys().isdisjoint(ask.claim.wish.cards)]
        return on_cards if on_cards and self._has_memory(ask) else everybody

    def _load(self, head: Waiter, now: float) -> Load:
        instance = self._instances.begin(head.ask, self._limits.keep_alive, now)
        for waiter in self._line:
            if self._instances.serving(waiter) is instance:
                instance.prolong(waiter.ask)
        return Load(instance.number, head.ask)

    def _unload(self, instance: Instance, reload: str = "") -> Unload:
        instance.state = State.LEAVING
        self._all_served = False
        return Unload(instance.number, reload)

    def _queue(self) -> int:
        """How many wait. The one who is loaded for, or made room for, is being served and does not count."""
        holders = map(self._instances.serving, self._line)
        return len(self._line) - any(one is None or one.state is State.LOADING for one in holders)


def _closing() -> PowerError:
    return Busy("the server is shutting down")
