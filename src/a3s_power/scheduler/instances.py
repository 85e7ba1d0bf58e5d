"""Instances: the children as the scheduler's core knows them, at most one of a key."""

import enum
from collections.abc import Iterator, Mapping

from a3s_power.scheduler.line import Waiter
from a3s_power.scheduler.need import Ask, RunnerKey


class State(enum.Enum):
    """Where a child is in its life."""

    LOADING = enum.auto()
    READY = enum.auto()
    LEAVING = enum.auto()


class Instance:
    """One child. `retired` ones take no more asks; `used` is when the last ask came or went.

    `lies` are the bytes that it takes of each graphics processor.
    """

    def __init__(self, number: int, ask: Ask, keep_alive: float, now: float) -> None:
        self.number = number
        self.ask = ask
        self.state = State.LOADING
        self.slots = 0
        self.running: set[int] = set()
        self.keep_alive = keep_alive
        self.used = now
        self.retired = False
        self.pinned = ask.need.pinned
        self.lies: Mapping[str, int] = {}

    @property
    def idle(self) -> bool:
        """Whether it could leave now."""
        return self.state is State.READY and not self.running

    @property
    def rank(self) -> tuple[float, float]:
        """Who has to make room first is smallest."""
        return (self.keep_alive, self.used)

    @property
    def expires(self) -> float:
        """When it has been kept long enough, should nobody ask."""
        return self.used + self.keep_alive

    @property
    def takes_asks(self) -> bool:
        """Whether it serves anybody else, now or when it is loaded or has a slot."""
        return self.state is not State.LEAVING and not self.retired

    def serves(self, waiter: Waiter) -> bool:
        """Whether it can serve this ask, now or when it is loaded or has a slot."""
        return self.takes_asks and waiter.fits(self.number, self.ask)

    def prolong(self, ask: Ask) -> None:
        """What an ask says of the keep-alive holds for those after it, too; but nobody shortens that of a pin."""
        pinned, self.pinned = self.pinned, self.pinned or ask.need.pinned
        if ask.need.keep_alive is not None and (ask.need.pinned or not pinned):
            self.keep_alive = ask.need.keep_alive


class Instances:
    """All children, coming and going ones too."""

    def __init__(self) -> None:
        self._present: dict[RunnerKey, Instance] = {}
        self._started = 0

    def __len__(self) -> int:
        return len(self._present)

    def __iter__(self) -> Iterator[Instance]:
        return iter(self._present.values())

    def begin(self, ask: Ask, keep_alive: float, now: float) -> Instance:
        """A new one, to be loaded for this ask. There must be none of its key."""
        self._started += 1
        instance = self._present[ask.need.key] = Instance(self._started, ask, keep_alive, now)
        return instance

    def end(self, instance: Instance) -> None:
        """It is no more."""
        del self._present[instance.ask.need.key]

    def get(self, key: RunnerKey) -> Instance | None:
        """The one of this key."""
        return self._present.get(key)

    def numbered(self, number: int) -> Instance | None:
        """The one with this number; `None` when it is no more."""
        return next((one for one in self if one.number == number), None)

    def serving(self, waiter: Waiter) -> Instance | None:
        """The one that can serve this ask, now or when it is loaded or has a slot."""
        instance = self._present.get(waiter.key)
        return instance if instance is not None and instance.serves(waiter) else None

    def any_is(self, state: State) -> bool:
        """Whether one of them is there in its life."""
        return any(one.state is state for one in self)

    def bytes_with(self, ask: Ask) -> int:
        """What they take together with one for this ask; weights that several children share count once."""
        asks = [*(one.ask for one in self), ask]
        shared = {one.need.model.weights: one.claim.shared_bytes for one in asks}
        return sum(one.claim.memory_bytes - one.claim.shared_bytes for one in asks) + sum(shared.values())
