"""Line: those who wait, and in which order they are served."""

import math
from collections.abc import Iterator
from operator import attrgetter
from typing import Final, NamedTuple

from a3s_power.scheduler.need import Ask, difference

BATCH_WAITS: Final = 60.0
"""Seconds after which work that gives way to all other does so no longer."""
_MOST_CLIENTS: Final = 1024
"""Of so many clients it is known when their last turn was."""

Flow = tuple[str, bool]
"""Whose turn an ask takes: its client's, apart for work that gives way."""


class _Turn(NamedTuple):
    """The last turn that a client has had in whole, and how many of its asks the next one has served already."""

    number: int
    served: int


_RANK: Final = attrgetter("rank")
_NO_TURN: Final = _Turn(0, 0)


class Waiter:
    """An ask that waits, and what its last comparison with an instance said: the line is walked at every event.

    `rank` is its place among all as a value that sorts, `gives_way` whether it is behind all who are not batch work.
    """

    __slots__ = ("_compared", "_fits", "ask", "flow", "gives_way", "key", "rank", "since")

    def __init__(self, ask: Ask, now: float) -> None:
        self.ask = ask
        self.key = ask.need.key
        self.flow: Flow = (ask.need.client, ask.need.batch)
        self.since = now
        self.gives_way = ask.need.batch
        self.rank = (self.gives_way, 0, 0, ask.ticket)
        self._compared = 0
        self._fits = False

    def fits(self, instance: int, loaded: Ask) -> bool:
        """Whether the instance of this number, loaded for that ask, can serve it."""
        if self._compared != instance:
            self._compared, self._fits = instance, difference(loaded, self.ask) is None
        return self._fits


class Line:
    """Those who wait, by ticket. Iterating gives them as they came; `ordered` as they are served.

    An event changes the ranks of one client's asks only, so the order is kept, and sorted again when somebody looks.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, Waiter] = {}
        self._flows: dict[Flow, dict[int, Waiter]] = {}
        self._order: list[Waiter] = []
        self._stale: set[Flow] = set()
        """Those whose ranks are no longer right."""
        self._hurried: dict[int, float] = {}
        """The deadlines of those who have one."""
        self._aging = math.inf
        """When the first of those who give way does so no longer."""
        self._turns: dict[Flow, _Turn] = {}
        """Of each client of late, the one served longest ago first."""
        self._turn = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiter]:
        return iter(self._waiting.values())

    def get(self, ticket: int) -> Waiter | None:
        """Who waits with this ticket."""
        return self._waiting.get(ticket)

    def join(self, ask: Ask, now: float) -> Waiter:
        """One more waits."""
        waiter = self._waiting[ask.ticket] = Waiter(ask, now)
        self._flows.setdefault(waiter.flow, {})[ask.ticket] = waiter
        self._order.append(waiter)
        self._stale.add(waiter.flow)
        if ask.deadline < math.inf:
            self._hurried[ask.ticket] = ask.deadline
        if waiter.gives_way:
            self._aging = min(self._aging, now + BATCH_WAITS)
        return waiter

    def leave(self, ticket: int) -> None:
        """This one waits no longer, if it did."""
        waiter = self._waiting.pop(ticket, None)
        if waiter is None:
            return
        self._hurried.pop(ticket, None)
        self._order.remove(waiter)
        flow = self._flows[waiter.flow]
        del flow[ticket]
        self._stale.add(waiter.flow)
        if not flow:
            del self._flows[waiter.flow]

    def clear(self) -> None:
        """Nobody waits any more."""
        for ticket in [*self._waiting]:
            self.leave(ticket)

    def serve(self, waiter: Waiter) -> None:
        """This one is served, which was a turn of its client."""
        self.leave(waiter.ask.ticket)
        turn, served = self._turns.pop(waiter.flow, _NO_TURN)
        served += 1
        if served >= waiter.ask.need.weight:
            self._turn, served = self._turn + 1, 0
            turn = self._turn
        self._turns[waiter.flow] = _Turn(turn, served)
        if len(self._turns) > _MOST_CLIENTS:
            forgotten = next(iter(self._turns))
            del self._turns[forgotten]
            self._stale.add(forgotten)

    @property
    def deadline(self) -> float:
        """When the first of them has waited long enough; infinity when none ever has."""
        return min(self._hurried.values(), default=math.inf)

    def overdue(self, now: float) -> list[int]:
        """The tickets of those whose deadline has come."""
        return [ticket for ticket, deadline in self._hurried.items() if deadline <= now]

    def ordered(self, now: float) -> list[Waiter]:
        """Those who wait, in the order in which they are served.

        Clients take turns: the first asks of all go before the second ones, and of clients with equally many turns
        before them that one's whose last turn is longest ago. In a turn as many asks are served as its client has
        weight. Batch work comes behind all other, until it has waited long.
        """
        if len(self._flows) < 2:
            return list(self)
        if now >= self._aging:
            self._age(now)
        if self._stale:
            for flow in self._stale:
                self._rank(flow)
            self._stale.clear()
            self._order.sort(key=_RANK)
        return list(self._order)

    def _age(self, now: float) -> None:
        """Those who have given way for long do so no longer."""
        giving = [waiter for waiter in self if waiter.gives_way]
        for waiter in giving:
            if now >= waiter.since + BATCH_WAITS:
                waiter.gives_way = False
                self._stale.add(waiter.flow)
        self._aging = min((one.since + BATCH_WAITS for one in giving if one.gives_way), default=math.inf)

    def _rank(self, flow: Flow) -> None:
        """Reckon the ranks of one client's asks."""
        turn, served = self._turns.get(flow, _NO_TURN)
        for place, (ticket, waiter) in enumerate(self._flows.get(flow, {}).items(), served):
            waiter.rank = (waiter.gives_way, place // waiter.ask.need.weight, turn, ticket)
