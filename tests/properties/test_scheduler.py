"""Laws of the scheduler, whatever happens in whatever order."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from a3s_power.core.errors import LoadFailed
from a3s_power.scheduler.core import Command, Core, Grant, Limits, Load, Reject, Unload
from a3s_power.scheduler.need import Ask, difference
from tests.scheduling import a_model, an_ask

NAMES = "abcd"
asks = st.fixed_dictionaries(
    {"name": st.sampled_from(NAMES)},
    optional={
        "memory_bytes": st.integers(0, 60),
        "num_ctx": st.sampled_from([64, 8192]),
        "embedding": st.just(True),
        "keep_alive": st.sampled_from([0.0, 3.0, float("inf")]),
    },
)
picks = st.integers(0, 1000)


class World(RuleBasedStateMachine):
    """Children and clients as the core is told of them. Every command is checked as it is carried out."""

    @initialize(
        max_loaded=st.integers(1, 3),
        max_queue=st.integers(0, 6),
        keep_alive=st.sampled_from([5.0, float("inf")]),
        memory_bytes=st.sampled_from([0, 100]),
    )
    def begin(self, max_loaded: int, max_queue: int, keep_alive: float, memory_bytes: int) -> None:
        self.limits = Limits(
            max_loaded=max_loaded, max_queue=max_queue, keep_alive=keep_alive, memory_bytes=memory_bytes
        )
        self.core = Core(self.limits)
        self.now = 0.0
        self.tickets = 0
        self.waiting: dict[int, Ask] = {}
        self.granted: dict[int, int] = {}
        self.loading: dict[int, Ask] = {}
        self.ready: dict[int, Ask] = {}
        self.leaving: dict[int, Ask] = {}
        self.slots: dict[int, int] = {}
        self.retired: set[int] = set()
        self.held: tuple[int, int] | None = None

    # What happens.

    @rule(said=st.lists(asks, min_size=1, max_size=5))
    def request(self, said: list[dict[str, Any]]) -> None:
        for one in said:
            self.tickets += 1
            ask = self.waiting[self.tickets] = an_ask(self.tickets, **one)
            self.do(self.core.requested(ask, self.now))

    @precondition(lambda self: self.waiting or self.granted)
    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        tickets = sorted([*self.waiting, *self.granted])
        self.leave_now(tickets[pick % len(tickets)])

    @rule(ticket=st.integers(1, 30))
    def leave_twice(self, ticket: int) -> None:
        if ticket <= self.tickets and ticket not in self.waiting and ticket not in self.granted:
            self.do(self.core.left(ticket, self.now))

    @precondition(lambda self: self.loading)
    @rule(slots=st.sampled_from([1, 2, 3]))
    def load(self, slots: int) -> None:
        [(instance, ask)] = self.loading.items()
        self.loading.clear()
        self.ready[instance], self.slots[instance] = ask, slots
        self.do(self.core.loaded(instance, slots, self.now))

    @precondition(lambda self: self.loading)
    @rule()
    def fail(self) -> None:
        [(instance, ask)] = self.loading.items()
        self.loading.clear()
        doomed = {ticket for ticket, one in self.waiting.items() if fits(ask, one)}
        commands = self.core.load_failed(instance, LoadFailed("no"), self.now)
        assert {one.ticket for one in commands if isinstance(one, Reject)} == doomed
        self.do(commands)

    @precondition(lambda self: self.ready)
    @rule(pick=picks)
    def die(self, pick: int) -> None:
        instance = sorted(self.ready)[pick % len(self.ready)]
        del self.ready[instance]
        self.granted = {ticket: on for ticket, on in self.granted.items() if on != instance}
        self.do(self.core.gone(instance, self.now))

    @precondition(lambda self: self.leaving)
    @rule(pick=picks)
    def end(self, pick: int) -> None:
        instance = sorted(self.leaving)[pick % len(self.leaving)]
        del self.leaving[instance]
        self.do(self.core.gone(instance, self.now))

    @precondition(lambda self: self.leaving)
    @rule(pick=picks)
    def load_although_unwanted(self, pick: int) -> None:
        self.do(self.core.loaded(sorted(self.leaving)[pick % len(self.leaving)], 1, self.now))

    @precondition(lambda self: self.ready)
    @rule(pick=picks)
    def retire(self, pick: int) -> None:
        instance = sorted(self.ready)[pick % len(self.ready)]
        self.retired.add(instance)
        self.do(self.core.retire(instance, self.now))

    @rule(name=st.sampled_from(NAMES))
    def expire(self, name: str) -> None:
        self.do(self.core.expire(a_model(name).weights, self.now))

    @rule(seconds=st.sampled_from([0.5, 2.0, 10.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.do(self.core.passed(self.now))

    # What the core wants done, and what it may want.

    def leave_now(self, ticket: int) -> None:
        self.waiting.pop(ticket, None)
        self.granted.pop(ticket, None)
        self.do(self.core.left(ticket, self.now))

    def do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Grant(ticket, instance):
                    ask = self.waiting.pop(ticket)
                    assert fits(self.ready[instance], ask), "of another model, or loaded otherwise"
                    assert instance not in self.retired
                    loaded = self.ready[instance]
                    assert not [one for one in self.waiting if one < ticket and fits(loaded, self.waiting[one])]
                    if self.held is not None and self.held[1] == instance and self.held[0] in self.waiting:
                        assert ticket < self.held[0], "overtaken by one who came later"
                    self.granted[ticket] = instance
                    assert self.running(instance) <= self.slots[instance], "beyond the slots"
                case Reject(ticket):
                    del self.waiting[ticket]
                case Load(instance, ask):
                    assert not self.loading, "one at a time"
                    assert ask.need.key not in {one.need.key for one in self.present().values()}
                    self.loading[instance] = ask
                    assert ask.ticket == min(one for one in self.waiting if not self.servable(one, but=instance))
                case Unload(instance):
                    assert self.running(instance) == 0, "still in use"
                    known = self.loading if instance in self.loading else self.ready
                    self.leaving[instance] = known.pop(instance)

        self.held = self.held_for_reload()

    def held_for_reload(self) -> tuple[int, int] | None:
        """The first ticket that needs a load, and its own model if that is in the way and loaded otherwise."""
        unserved = [ticket for ticket in self.waiting if not self.servable(ticket)]
        if not unserved or self.loading:
            return None
        key = self.waiting[min(unserved)].need.key
        return next(((min(unserved), one) for one, ask in self.ready.items() if ask.need.key == key), None)

    def present(self) -> dict[int, Ask]:
        return {**self.loading, **self.ready, **self.leaving}

    def running(self, instance: int) -> int:
        return sum(on == instance for on in self.granted.values())

    def servable(self, ticket: int, *, but: int = 0) -> bool:
        """Whether a model that is there, or is being loaded, can serve it some time."""
        there = {**self.loading, **self.ready}
        usable = [ask for number, ask in there.items() if number != but and number not in self.retired]
        return any(fits(ask, self.waiting[ticket]) for ask in usable)

    def free_for(self, ticket: int) -> list[int]:
        """The models that could serve it now."""
        usable = [one for one, ask in self.ready.items() if fits(ask, self.waiting[ticket]) and one not in self.retired]
        return [one for one in usable if self.running(one) < self.slots[one]]

    def fits_beside(self, ask: Ask) -> bool:
        taken = sum(one.claim.memory_bytes for one in self.present().values()) + ask.claim.memory_bytes
        return not self.limits.memory_bytes or taken <= self.limits.memory_bytes

    # Laws.

    @invariant()
    def there_are_never_too_many_models(self) -> None:
        assert len(self.present()) <= self.limits.max_loaded
        assert self.core.instances == len(self.present())
        taken = sum(one.claim.memory_bytes for one in self.present().values())
        assert len(self.present()) <= 1 or not self.limits.memory_bytes or taken <= self.limits.memory_bytes

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert len(self.waiting) <= self.limits.max_queue + 1

    @invariant()
    def nobody_waits_beside_a_free_slot_but_of_the_one_model_that_makes_room(self) -> None:
        beside = {number for ticket in self.waiting for number in self.free_for(ticket)}
        if not beside:
            return
        head = min(ticket for ticket in self.waiting if not self.servable(ticket))
        assert head < min(ticket for ticket in self.waiting if self.free_for(ticket)), "who came before waits for room"
        assert len(beside) == 1, "only one model makes room"
        assert not self.loading
        own = {one for one, ask in self.present().items() if ask.need.key == self.waiting[head].need.key}
        assert own == beside if own else not self.leaving, "and only if no other does"

    @invariant()
    def no_load_waits_where_there_is_room(self) -> None:
        unserved = [ticket for ticket in self.waiting if not self.servable(ticket)]
        if not unserved or self.loading:
            return
        first = self.waiting[min(unserved)]
        own = [one for one, ask in self.present().items() if ask.need.key == first.need.key]
        if not own and len(self.present()) < self.limits.max_loaded and (not self.present() or self.fits_beside(first)):
            raise AssertionError("there is room for it")
        assert self.leaving or any(self.running(one) for one in own or self.ready), "nothing idle may be in its way"

    @invariant()
    def what_is_loaded_is_waited_for(self) -> None:
        for ask in self.loading.values():
            assert any(fits(ask, one) for one in self.waiting.values())

    @invariant()
    def nothing_stays_beyond_its_time(self) -> None:
        assert self.core.deadline > self.now
        assert not [one for one in self.retired if one in self.ready and not self.running(one)]

    @invariant()
    def only_ready_models_are_residents(self) -> None:
        assert {number for number, _ in self.core.residents(self.now)} == set(self.ready)

    def teardown(self) -> None:
        """Nobody is forgotten: when every child does its duty and every client leaves, all are served."""
        if not hasattr(self, "core"):
            return
        for _ in range(10 * (self.tickets + 1)):
            if self.loading:
                self.load(1)
            elif self.leaving:
                self.end(0)
            elif self.granted:
                self.leave_now(min(self.granted))
        assert not self.waiting
        assert not self.granted


def fits(loaded: Ask, asked: Ask) -> bool:
    return loaded.need.key == asked.need.key and difference(loaded, asked) is None


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
