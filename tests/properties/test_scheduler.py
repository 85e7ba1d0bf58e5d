"""Laws of the scheduler, whatever happens in whatever order."""

import math
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from a3s_power.core.errors import LoadFailed
from a3s_power.scheduler.commands import Command, Grant, Load, Reject, Unload
from a3s_power.scheduler.core import Core, Limits
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

    in_order = True
    """Whether whoever came first is served first: there is one client, and nobody in a hurry."""

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
            ask = self.waiting[self.tickets] = self.ask(self.tickets, one)
            self.do(self.core.requested(ask, self.now))

    def ask(self, ticket: int, said: dict[str, Any]) -> Ask:
        return an_ask(ticket, **said)

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
                    earlier = [one for one in self.waiting if one < ticket and fits(loaded, self.waiting[one])]
                    assert not earlier or not self.in_order
                    if (
                        self.in_order
                        and self.held is not None
                        and self.held[1] == instance
                        and self.held[0] in self.waiting
                    ):
                        assert ticket < self.held[0], "overtaken by one who came later"
                    self.granted[ticket] = instance
                    assert self.running(instance) <= self.slots[instance], "beyond the slots"
                case Reject(ticket):
                    del self.waiting[ticket]
                case Load(instance, ask):
                    assert not self.loading, "one at a time"
                    assert ask.need.key not in {one.need.key for one in self.present().values()}
                    self.loading[instance] = ask
                    unserved = [one for one in self.waiting if not self.servable(one, but=instance)]
                    assert ask.ticket == min(unserved) or (ask.ticket in unserved and not self.in_order)
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
        assert len(beside) == 1, "only one model makes room"
        assert not self.loading
        if not self.in_order:
            return
        head = min(ticket for ticket in self.waiting if not self.servable(ticket))
        assert head < min(ticket for ticket in self.waiting if self.free_for(ticket)), "who came before waits for room"
        own = {one for one, ask in self.present().items() if ask.need.key == self.waiting[head].need.key}
        assert own == beside if own else not self.leaving, "and only if no other does"

    @invariant()
    def no_load_waits_where_there_is_room(self) -> None:
        unserved = [ticket for ticket in self.waiting if not self.servable(ticket)]
        if not unserved or self.loading or not self.in_order:
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


class Crowd(World):
    """The same with several clients, some of whose work gives way or has a deadline: nobody is forgotten."""

    in_order = False

    def ask(self, ticket: int, said: dict[str, Any]) -> Ask:
        deadline = self.now + 3.0 if ticket % 5 == 0 else math.inf
        return an_ask(ticket, client="xyz"[ticket % 3], batch=ticket % 4 == 0, deadline=deadline, **said)


@given(
    slots=st.integers(1, 4),
    weights=st.tuples(*[st.integers(1, 4)] * 3),
    events=st.lists(st.one_of(st.sampled_from("xyz"), st.sampled_from("xyz"), st.integers(0, 3)), max_size=150),
)
def test_nobody_is_passed_by_a_client_for_more_than_one_turn(
    slots: int, weights: tuple[int, int, int], events: list[str | int]
) -> None:
    """From when an ask is its client's first, every other client is served at most as often as its weight before it."""
    core, clients, running = Core(Limits(max_queue=1000)), dict[int, str](), list[int]()
    weight = dict(zip("xyz", weights, strict=True))
    waiting = {client: list[int]() for client in "xyz"}
    passed: dict[str, Counter[str]] = {client: Counter() for client in "xyz"}
    core.requested(an_ask(0), 0)
    core.loaded(1, slots, 0)
    core.left(0, 0)

    def done(commands: list[Command]) -> None:
        for command in commands:
            assert isinstance(command, Grant)
            client = clients[command.ticket]
            assert waiting[client].pop(0) == command.ticket, "a client's own come in their order"
            running.append(command.ticket)
            passed[client].clear()
            for other, theirs in waiting.items():
                if other != client and theirs:
                    passed[other][client] += 1
                    assert passed[other][client] <= weight[client]

    for ticket, event in enumerate(events, 1):
        if isinstance(event, str):
            clients[ticket] = event
            if not waiting[event]:
                passed[event].clear()
            waiting[event].append(ticket)
            done(core.requested(an_ask(ticket, client=event, weight=weight[event]), ticket))
        elif running:
            done(core.left(running.pop(event % len(running)), ticket))


@given(weights=st.lists(st.integers(1, 9), min_size=2, max_size=5), served=st.integers(1, 100))
def test_clients_who_always_wait_are_served_by_their_weights(weights: list[int], served: int) -> None:
    core, clients, shares, running = Core(Limits(max_queue=1000)), [*range(len(weights))] * 2, Counter[int](), 0
    core.requested(an_ask(0), 0)
    core.loaded(1, 1, 0)
    for ticket, client in enumerate(clients, 1):
        core.requested(an_ask(ticket, client=str(client), weight=weights[client]), 0)
    for _ in range(served):
        [granted] = core.left(running, 0)
        assert isinstance(granted, Grant)
        running, client = granted.ticket, clients[granted.ticket - 1]
        shares[client] += 1
        clients.append(client)
        core.requested(an_ask(len(clients), client=str(client), weight=weights[client]), 0)
    for client, weight in enumerate(weights):
        assert abs(shares[client] - served * weight / sum(weights)) < weight


@given(queued=st.integers(1, 200), slots=st.integers(1, 4), name=st.sampled_from("ab"))
def test_a_long_queue_delays_another_client_by_one_request_at_most(queued: int, slots: int, name: str) -> None:
    core = Core(Limits(max_loaded=1))
    core.requested(an_ask(1, client="many"), 0)
    core.loaded(1, slots, 0)
    for ticket in range(2, queued + slots):
        core.requested(an_ask(ticket, client="many"), 0)
    commands = core.requested(an_ask(1000, name, client="other"), 1)
    for ticket in range(1, slots + 1):
        if not commands:
            commands = core.left(ticket, 2)
    assert commands == [Grant(1000, 1)] if name == "a" else commands == [Unload(1)]


TestWorld = World.TestCase
TestCrowd = Crowd.TestCase
TestCrowd.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestWorld.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
