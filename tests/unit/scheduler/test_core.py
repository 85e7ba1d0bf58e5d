"""The scheduler's decisions, told one event at a time."""

import math
from typing import Any

import msgspec
import pytest

from a3s_power.core.durations import NEVER
from a3s_power.core.errors import Busy, LoadFailed, QueueFull
from a3s_power.scheduler.commands import Command, Grant, Load, Reject, Unload
from a3s_power.scheduler.core import Core, Limits
from a3s_power.scheduler.drafts import Drafting
from a3s_power.scheduler.line import BATCH_WAITS
from a3s_power.scheduler.need import Ask
from tests.scheduling import a_model, an_ask


def a_core(**limits: Any) -> Core:
    return Core(Limits(**{"max_loaded": 3, "keep_alive": 300.0} | limits))


def ready(core: Core, ask: Ask, instance: int, *, slots: int = 1, now: float = 0) -> None:
    """Bring a model into memory and hand the first slot to `ask`."""
    assert core.requested(ask, now) == [Load(instance, ask)]
    assert core.loaded(instance, slots, now) == [Grant(ask.ticket, instance)]


def idle(core: Core, ask: Ask, instance: int, *, now: float = 0) -> None:
    """Bring a model into memory and leave it there."""
    ready(core, ask, instance, now=now)
    assert core.left(ask.ticket, now) == []


def rejected(commands: list[Command]) -> list[tuple[int, str]]:
    return [(one.ticket, one.error.kind) for one in commands if isinstance(one, Reject)]


def test_the_first_ask_loads_its_model_and_gets_a_slot_when_it_is_there() -> None:
    core, ask = a_core(), an_ask(1)
    assert core.requested(ask, 0) == [Load(1, ask)]
    assert core.loaded(1, 1, 5) == [Grant(1, 1)]


def test_a_loaded_model_answers_at_once_and_never_more_than_its_slots() -> None:
    core = a_core()
    ready(core, an_ask(1), 1, slots=2)
    assert core.requested(an_ask(2), 1) == [Grant(2, 1)]
    assert core.requested(an_ask(3), 2) == []
    assert core.requested(an_ask(4), 3) == []
    assert core.left(2, 4) == [Grant(3, 1)]
    assert core.left(1, 5) == [Grant(4, 1)]


def test_two_names_with_the_same_weights_share_one_runner() -> None:
    core = a_core()
    ready(core, an_ask(1, "a"), 1, slots=2)
    assert core.requested(an_ask(2, "b", weights="a"), 1) == [Grant(2, 1)]


def test_embeddings_of_a_model_have_a_runner_of_their_own() -> None:
    core, embed = a_core(), an_ask(2, embedding=True)
    ready(core, an_ask(1), 1, slots=2)
    assert core.requested(embed, 1) == [Load(2, embed)]


def test_one_model_is_loaded_at_a_time_first_come_first_served() -> None:
    core, first, second, third = a_core(), an_ask(1, "a"), an_ask(2, "b"), an_ask(3, "c")
    assert core.requested(first, 0) == [Load(1, first)]
    assert core.requested(second, 1) == []
    assert core.requested(third, 2) == []
    assert core.loaded(1, 1, 3) == [Grant(1, 1), Load(2, second)]
    assert core.loaded(2, 1, 4) == [Grant(2, 2), Load(3, third)]


def test_asks_that_a_loaded_model_can_serve_skip_those_who_wait_for_a_load() -> None:
    core, other, third = a_core(), an_ask(2, "b"), an_ask(3, "c")
    ready(core, an_ask(1, "a"), 1, slots=2)
    assert core.requested(other, 1) == [Load(2, other)]
    assert core.requested(third, 2) == []
    assert core.requested(an_ask(4, "a"), 3) == [Grant(4, 1)]


def test_an_idle_model_makes_room() -> None:
    core, other = a_core(max_loaded=1), an_ask(2, "b")
    idle(core, an_ask(1, "a"), 1)
    assert core.requested(other, 1) == [Unload(1)]
    assert core.gone(1, 2) == [Load(2, other)]


@pytest.mark.parametrize(
    ("keep_alives", "victim"),
    [
        pytest.param((None, None, None), 1, id="the least recently used of equals"),
        pytest.param((60, 30, 60), 2, id="the shortest keep-alive first"),
        pytest.param((NEVER, NEVER, None), 3, id="one that stays for ever last"),
    ],
)
def test_the_fourth_model_evicts_by_keep_alive_and_then_by_use(
    keep_alives: tuple[float | None, ...], victim: int
) -> None:
    core = a_core(max_loaded=3)
    for number, (name, keep_alive) in enumerate(zip("abc", keep_alives, strict=True), 1):
        idle(core, an_ask(number, name, keep_alive=keep_alive), number, now=number)
    assert core.requested(an_ask(4, "d"), 10) == [Unload(victim)]


def test_an_idle_model_leaves_before_a_busy_one_that_ranks_lower() -> None:
    core = a_core(max_loaded=2)
    ready(core, an_ask(1, "a", keep_alive=1), 1)
    idle(core, an_ask(2, "b", keep_alive=NEVER), 2)
    assert core.requested(an_ask(3, "c"), 10) == [Unload(2)]


def test_when_all_are_busy_one_serves_who_came_before_and_then_leaves() -> None:
    core, other = a_core(max_loaded=1), an_ask(3, "b")
    ready(core, an_ask(1, "a"), 1)
    assert core.requested(an_ask(2, "a"), 1) == []
    assert core.requested(other, 2) == []
    assert core.requested(an_ask(4, "a"), 3) == []
    assert core.left(1, 4) == [Grant(2, 1)], "came before the one who needs room"
    assert core.left(2, 5) == [Unload(1)], "and this one came after"
    assert core.gone(1, 6) == [Load(2, other)]


def test_the_model_that_was_to_leave_goes_on_when_nobody_needs_its_room_any_more() -> None:
    core = a_core(max_loaded=1)
    ready(core, an_ask(1, "a"), 1, slots=2)
    assert core.requested(an_ask(2, "b"), 1) == []
    assert core.requested(an_ask(3, "a"), 2) == []
    assert core.left(2, 3) == [Grant(3, 1)]


def test_another_model_that_comes_free_first_leaves_instead() -> None:
    core = a_core(max_loaded=2)
    ready(core, an_ask(1, "a", keep_alive=10), 1, slots=2)
    ready(core, an_ask(2, "b", keep_alive=20), 2)
    assert core.requested(an_ask(3, "c"), 1) == []
    assert core.requested(an_ask(4, "a"), 2) == [], "a is to leave"
    assert core.left(2, 3) == [Unload(2), Grant(4, 1)]


def test_nobody_is_held_up_for_room_that_another_is_making() -> None:
    core = a_core(max_loaded=2)
    ready(core, an_ask(1, "a", keep_alive=10), 1, slots=2)
    ready(core, an_ask(2, "b", keep_alive=20), 2)
    core.requested(an_ask(3, "c"), 1)
    assert core.requested(an_ask(4, "a"), 2) == [], "a is to leave"
    core.retire(2, 3)
    assert core.left(2, 4) == [Unload(2), Grant(4, 1)]


def test_room_by_a_death_lets_everybody_on() -> None:
    core, third = a_core(max_loaded=2), an_ask(3, "c")
    ready(core, an_ask(1, "a", keep_alive=10), 1, slots=2)
    ready(core, an_ask(2, "b", keep_alive=20), 2)
    assert core.requested(third, 1) == []
    assert core.requested(an_ask(4, "a"), 2) == []
    assert core.gone(2, 3) == [Load(3, third), Grant(4, 1)]


def test_a_model_that_does_not_fit_beside_the_others_waits_for_room() -> None:
    core, big = a_core(memory_bytes=100), an_ask(3, "c", memory_bytes=80)
    idle(core, an_ask(1, "a", memory_bytes=30), 1)
    idle(core, an_ask(2, "b", memory_bytes=30), 2, now=1)
    assert core.requested(big, 2) == [Unload(1)]
    assert core.gone(1, 3) == [Unload(2)]
    assert core.gone(2, 4) == [Load(3, big)]


def test_weights_that_two_children_map_are_counted_once() -> None:
    core, embed = a_core(memory_bytes=100), an_ask(2, embedding=True, memory_bytes=70, shared_bytes=60)
    idle(core, an_ask(1, memory_bytes=80, shared_bytes=60), 1)
    assert core.requested(embed, 2) == [Load(2, embed)]


def test_memory_that_others_have_taken_makes_room_scarce_and_back_again() -> None:
    core, second, third = a_core(memory_bytes=100), an_ask(2, "b", memory_bytes=30), an_ask(3, "c", memory_bytes=30)
    idle(core, an_ask(1, "a", memory_bytes=30), 1)
    assert core.room(50, 1) == []
    assert core.requested(second, 2) == [Unload(1)]
    assert core.gone(1, 3) == [Load(2, second)]
    assert core.loaded(2, 1, 4) == [Grant(2, 2)]
    assert core.requested(third, 5) == []
    assert core.room(60, 6) == [Load(3, third)]


def test_a_model_alone_is_always_tried() -> None:
    core, huge = a_core(memory_bytes=100), an_ask(1, memory_bytes=101)
    assert core.requested(huge, 0) == [Load(1, huge)]


def test_other_load_options_reload_the_model_after_its_asks() -> None:
    core, longer = a_core(), an_ask(2, num_ctx=8192)
    ready(core, an_ask(1), 1)
    assert core.requested(longer, 1) == []
    assert core.left(1, 2) == [Unload(1, reload="num_ctx")]
    assert core.gone(1, 3) == [Load(2, longer)]


def test_nobody_is_given_a_model_that_waits_to_be_reloaded() -> None:
    core, longer = a_core(), an_ask(2, num_ctx=8192)
    ready(core, an_ask(1), 1, slots=4)
    assert core.requested(longer, 1) == []
    assert core.requested(an_ask(3), 2) == []
    assert core.left(1, 3) == [Unload(1, reload="num_ctx")]
    assert core.gone(1, 4) == [Load(2, longer)]
    assert core.loaded(2, 4, 5) == [Grant(2, 2), Grant(3, 2)], "and the longer one serves both"


def test_two_clients_with_contexts_of_their_own_cause_one_reload() -> None:
    core, started = a_core(), 0
    for ticket in range(1, 20):
        commands = core.requested(an_ask(ticket, num_ctx=4096 if ticket % 2 else 8192), ticket)
        while commands and not isinstance(commands[-1], Grant):
            match commands[-1]:
                case Unload(instance):
                    commands = core.gone(instance, ticket)
                case Load(instance):
                    started += 1
                    commands = core.loaded(instance, 1, ticket)
        assert commands == [Grant(ticket, started)]
        assert core.left(ticket, ticket) == []
    assert started == 2


def test_a_reload_takes_no_room_from_others() -> None:
    core = a_core(max_loaded=2)
    idle(core, an_ask(1, "b", keep_alive=1), 1)
    ready(core, an_ask(2, "a"), 2)
    assert core.requested(an_ask(3, "a", num_ctx=8192), 0.5) == []
    assert core.left(2, 0.6) == [Unload(2, reload="num_ctx")]


def test_the_next_who_needs_room_asks_it_of_another_model() -> None:
    core = a_core(max_loaded=2)
    ready(core, an_ask(1, "a", keep_alive=10), 1, slots=2)
    ready(core, an_ask(2, "b", keep_alive=20), 2, slots=2)
    assert core.requested(an_ask(3, "c"), 1) == [], "a is to leave for c"
    assert core.requested(an_ask(4, "b", num_ctx=8192), 2) == []
    assert core.left(3, 3) == [], "b is to leave for its own reload"
    assert core.requested(an_ask(5, "a"), 4) == [Grant(5, 1)]
    assert core.requested(an_ask(6, "b"), 5) == []


def test_the_queue_is_bounded_for_loads() -> None:
    core = a_core(max_queue=1)
    core.requested(an_ask(1, "a"), 0)
    assert core.requested(an_ask(2, "b"), 1) == []
    assert rejected(core.requested(an_ask(3, "c"), 2)) == [(3, "QueueFull")]
    assert core.left(3, 3) == []


def test_the_queue_is_bounded_for_slots_too() -> None:
    core = a_core(max_queue=2)
    ready(core, an_ask(1), 1)
    assert core.requested(an_ask(2), 1) == core.requested(an_ask(3), 2) == []
    [refusal] = core.requested(an_ask(4), 3)
    assert isinstance(refusal, Reject)
    assert isinstance(refusal.error, QueueFull)
    assert str(refusal.error) == "server busy, please try again.  maximum pending requests exceeded"


def test_one_who_is_refused_changes_no_keep_alive() -> None:
    core = a_core(max_queue=0)
    ready(core, an_ask(1, keep_alive=100), 1)
    assert rejected(core.requested(an_ask(2, keep_alive=0), 1)) == [(2, "QueueFull")]
    assert core.left(1, 2) == []
    assert core.deadline == 102


def test_one_who_gives_up_leaves_the_queue() -> None:
    core, second, third = a_core(), an_ask(2, "b"), an_ask(3, "c")
    core.requested(an_ask(1, "a"), 0)
    core.requested(second, 1)
    core.requested(third, 2)
    assert core.left(2, 3) == []
    assert core.loaded(1, 1, 4) == [Grant(1, 1), Load(2, third)]


def test_a_load_is_given_up_when_the_last_who_waits_for_it_leaves() -> None:
    core, other = a_core(), an_ask(3, "b")
    core.requested(an_ask(1, "a"), 0)
    core.requested(an_ask(2, "a"), 1)
    core.requested(other, 2)
    assert core.left(1, 3) == []
    assert core.left(2, 4) == [Unload(1), Load(2, other)]
    assert core.loaded(1, 1, 5) == [], "the child was faster than the order"
    assert core.gone(1, 6) == []


def test_the_same_model_waits_until_its_old_child_is_gone() -> None:
    core, again = a_core(), an_ask(2)
    core.requested(an_ask(1), 0)
    assert core.left(1, 1) == [Unload(1)]
    assert core.requested(again, 2) == []
    assert core.gone(1, 3) == [Load(2, again)]


def test_a_load_that_fails_is_told_to_those_who_wait_for_it_and_to_nobody_else() -> None:
    core, other, error = a_core(), an_ask(3, "b"), LoadFailed("no")
    core.requested(an_ask(1, "a"), 0)
    core.requested(an_ask(2, "a"), 1)
    core.requested(other, 2)
    core.requested(an_ask(4, "a", num_ctx=8192), 3)
    assert core.load_failed(1, error, 4) == [Reject(1, error), Reject(2, error), Load(2, other)]


def test_after_a_death_the_next_ask_loads_anew() -> None:
    core, waiting = a_core(), an_ask(2)
    ready(core, an_ask(1), 1)
    assert core.requested(waiting, 1) == []
    assert core.gone(1, 2) == [Load(2, waiting)]
    assert core.left(1, 3) == [], "the one that was running leaves a child that is no more"
    assert core.loaded(2, 1, 4) == [Grant(2, 2)]


def test_a_child_to_be_replaced_finishes_its_asks_and_takes_no_more() -> None:
    core, late = a_core(), an_ask(3)
    ready(core, an_ask(1), 1, slots=4)
    core.requested(an_ask(2), 1)
    assert core.retire(1, 2) == []
    assert core.left(1, 3) == []
    assert core.requested(late, 4) == []
    assert core.left(2, 5) == [Unload(1)]
    assert core.gone(1, 6) == [Load(2, late)]


def test_an_idle_child_to_be_replaced_leaves_at_once() -> None:
    core = a_core()
    idle(core, an_ask(1), 1)
    assert core.retire(1, 1) == [Unload(1)]


@pytest.mark.parametrize(
    ("said", "stays"),
    [
        pytest.param([None], 300, id="the setting"),
        pytest.param([60.0], 60, id="the ask's own"),
        pytest.param([60.0, None], 60, id="kept for asks that say nothing"),
        pytest.param([60.0, 5.0], 5, id="the last word"),
        pytest.param([60.0, NEVER, None], math.inf, id="for ever"),
        pytest.param([0.25], 0.25, id="a fraction"),
    ],
)
def test_a_model_stays_as_long_as_was_last_said(said: list[float | None], stays: float) -> None:
    core = a_core(keep_alive=300)
    for ticket, keep_alive in enumerate(said, 1):
        core.requested(an_ask(ticket, keep_alive=keep_alive), 0)
        core.loaded(1, 1, 0)
        assert core.left(ticket, 1000) == []
    assert core.deadline == 1000 + stays
    if stays < math.inf:
        assert core.passed(1000 + stays - 0.01) == []
        assert core.passed(1000 + stays) == [Unload(1)]


def test_the_timer_starts_when_the_last_ask_ends_and_not_before() -> None:
    core = a_core(keep_alive=10)
    ready(core, an_ask(1), 1, slots=2)
    core.requested(an_ask(2), 5)
    core.left(1, 8)
    assert core.deadline == math.inf
    assert core.passed(100) == []
    core.left(2, 100)
    assert core.deadline == 110


def test_a_keep_alive_of_nothing_unloads_when_the_last_ask_ends() -> None:
    core = a_core()
    ready(core, an_ask(1), 1, slots=1)
    assert core.requested(an_ask(2, keep_alive=0), 1) == []
    assert core.left(1, 2) == [Grant(2, 1)], "whoever waits is served first"
    assert core.left(2, 3) == [Unload(1)]


def test_what_others_said_while_the_load_waited_counts() -> None:
    core = a_core()
    core.requested(an_ask(1, "b"), 0)
    core.requested(an_ask(2, keep_alive=7), 1)
    core.requested(an_ask(3), 2)
    core.loaded(1, 1, 3)
    core.loaded(2, 2, 4)
    core.left(2, 5)
    core.left(3, 6)
    assert core.deadline == 13


def test_a_pinned_model_stays_whatever_a_client_says_and_leaves_for_no_other() -> None:
    core = a_core(max_loaded=2)
    idle(core, an_ask(1, "a", keep_alive=NEVER, pinned=True), 1)
    idle(core, an_ask(2, "b"), 2)
    assert core.requested(an_ask(3, "alias", weights="a", keep_alive=0.0), 1) == [Grant(3, 1)]
    assert core.left(3, 2) == []
    assert core.requested(an_ask(4, "c", keep_alive=NEVER, pinned=True), 3) == [Unload(2)], "though used later"
    assert core.gone(2, 4) == [Load(3, an_ask(4, "c", keep_alive=NEVER, pinned=True))]
    assert core.loaded(3, 1, 5) == [Grant(4, 3)]
    assert rejected(core.requested(an_ask(5, "b"), 6)) == [(5, "NoRoom")]


def test_a_pinned_model_is_reloaded_for_its_own_sake_and_leaves_when_its_name_means_another() -> None:
    core = a_core(max_loaded=1)
    idle(core, an_ask(1, "a", keep_alive=NEVER, pinned=True), 1)
    longer = an_ask(2, "a", num_ctx=8192, keep_alive=NEVER, pinned=True)
    assert core.requested(longer, 1) == [Unload(1, reload="num_ctx")]
    assert core.gone(1, 2) == [Load(2, longer)]
    assert core.loaded(2, 1, 3) == [Grant(2, 2)]
    assert core.left(2, 4) == []
    assert core.expire(a_model("a").weights, 5) == [Unload(2)]


def test_an_unwanted_model_leaves_at_once_when_idle() -> None:
    core = a_core()
    idle(core, an_ask(1), 1)
    assert core.expire(a_model().weights, 1) == [Unload(1)]


def test_an_unwanted_model_finishes_its_asks() -> None:
    core = a_core()
    ready(core, an_ask(1, keep_alive=NEVER), 1)
    core.requested(an_ask(2, keep_alive=NEVER), 1)
    assert core.expire(a_model().weights, 2) == []
    assert core.left(1, 3) == [Grant(2, 1)]
    assert core.left(2, 4) == [Unload(1)]


def test_both_runners_of_unwanted_weights_leave_and_no_other() -> None:
    core = a_core()
    idle(core, an_ask(1), 1)
    idle(core, an_ask(2, embedding=True), 2)
    idle(core, an_ask(3, "b"), 3)
    assert core.expire(a_model().weights, 1) == [Unload(1), Unload(2)]


def test_unloading_what_is_not_loaded_does_nothing() -> None:
    assert a_core().expire(a_model().weights, 0) == []


def test_residents_are_listed_with_the_longest_stay_first_and_without_those_that_come_or_go() -> None:
    core = a_core(max_loaded=5)
    idle(core, an_ask(1, "a", keep_alive=10), 1)
    idle(core, an_ask(2, "b", keep_alive=NEVER), 2)
    ready(core, an_ask(3, "c", keep_alive=8), 3)
    idle(core, an_ask(4, "d", keep_alive=2), 4)
    assert core.passed(4) == [Unload(4)]
    core.requested(an_ask(5, "e"), 4)
    assert core.residents(4) == [(2, math.inf), (3, 8.0), (1, 6.0)]


def test_the_end_rejects_who_waits_and_ends_every_child_once() -> None:
    core = a_core()
    idle(core, an_ask(1, "a"), 1)
    ready(core, an_ask(2, "b"), 2)
    core.requested(an_ask(3, "b"), 1)
    core.requested(an_ask(4, "c"), 1)
    commands = core.close(2)
    assert rejected(commands) == [(3, "Busy"), (4, "Busy")]
    assert [one for one in commands if isinstance(one, Unload)] == [Unload(1), Unload(2), Unload(3)]
    assert [core.gone(number, 3) for number in (1, 2, 3)] == [[], [], []]
    [refusal] = core.requested(an_ask(5), 4)
    assert isinstance(refusal, Reject)
    assert isinstance(refusal.error, Busy)


def granted(commands: list[Command]) -> list[int]:
    return [one.ticket for one in commands if isinstance(one, Grant)]


def served(core: Core, *running: int) -> list[int]:
    """Let those who are served leave one after the other, and tell who was served in which order."""
    order = list(running)
    for ticket in order:
        order += granted(core.left(ticket, ticket))
    return order


def test_clients_take_turns() -> None:
    core = a_core()
    ready(core, an_ask(1, client="many"), 1)
    for ticket in range(2, 7):
        core.requested(an_ask(ticket, client="many"), ticket)
    core.requested(an_ask(7, client="few"), 7)
    core.requested(an_ask(8, client="few"), 8)
    core.requested(an_ask(9, client="one"), 9)
    places = core.places(9)
    assert [places[ticket] for ticket in range(2, 10)] == [2, 4, 5, 6, 7, 0, 3, 1]
    assert served(core, 1) == [1, 7, 9, 2, 8, 3, 4, 5, 6]


def test_a_client_of_more_weight_has_as_many_asks_to_a_turn() -> None:
    core = a_core()
    ready(core, an_ask(1), 1)
    for ticket in range(2, 7):
        core.requested(an_ask(ticket, client="heavy", weight=2), ticket)
    for ticket in range(7, 10):
        core.requested(an_ask(ticket, client="light"), ticket)
    places = core.places(9)
    assert [places[ticket] for ticket in range(2, 10)] == [0, 1, 3, 4, 6, 2, 5, 7]
    assert served(core, 1) == [1, 2, 3, 7, 4, 5, 8, 6, 9]


def test_a_client_with_a_long_queue_for_one_model_does_not_keep_another_from_loading_its_own() -> None:
    core, other = a_core(max_loaded=1), an_ask(9, "b", client="other")
    ready(core, an_ask(1, client="many"), 1)
    for ticket in range(2, 9):
        core.requested(an_ask(ticket, client="many"), ticket)
    assert core.requested(other, 9) == []
    assert core.left(1, 10) == [Unload(1)]
    assert core.gone(1, 11) == [Load(2, other)]


def test_batch_work_gives_way_until_it_has_waited_long() -> None:
    core = a_core()
    ready(core, an_ask(1), 1)
    core.requested(an_ask(2, batch=True), 0)
    core.requested(an_ask(3), 1)
    core.requested(an_ask(4), 2)
    assert granted(core.left(1, 3)) == [3]
    assert granted(core.left(3, BATCH_WAITS)) == [2]


def test_who_stands_last_is_turned_away_when_the_queue_is_full() -> None:
    core = a_core(max_queue=2)
    ready(core, an_ask(1, client="many"), 1)
    for ticket in (2, 3):
        assert core.requested(an_ask(ticket, client="many"), 1) == []
    assert rejected(core.requested(an_ask(4, client="other"), 2)) == [(3, "QueueFull")]
    assert rejected(core.requested(an_ask(5, client="many"), 3)) == [(5, "QueueFull")]
    assert served(core, 1) == [1, 4, 2]


def test_nobody_waits_beyond_a_deadline() -> None:
    core = a_core()
    ready(core, an_ask(1), 1)
    assert core.requested(an_ask(2, deadline=5.0), 1) == []
    assert core.deadline == 5.0
    assert core.passed(4.9) == []
    assert rejected(core.passed(5.0)) == [(2, "Overdue")]
    assert core.left(2, 6) == []
    assert core.deadline == math.inf


def test_a_deadline_of_now_takes_what_is_free() -> None:
    core = a_core()
    ready(core, an_ask(1), 1, slots=2)
    assert core.requested(an_ask(2, deadline=1.0), 1.0) == [Grant(2, 1)]
    assert rejected(core.requested(an_ask(3, deadline=1.0), 1.0)) == [(3, "Overdue")]


def test_a_load_that_was_only_for_one_whose_time_is_over_is_given_up() -> None:
    core = a_core()
    core.requested(an_ask(1, deadline=5.0), 0)
    commands = core.passed(5.0)
    assert rejected(commands) == [(1, "Overdue")]
    assert commands[1:] == [Unload(1)]


def test_news_of_a_child_that_is_no_more_changes_nothing() -> None:
    core = a_core()
    idle(core, an_ask(1), 1)
    core.gone(1, 1)
    assert core.gone(1, 2) == core.loaded(1, 1, 2) == core.retire(1, 2) == core.left(1, 2) == []
    assert core.load_failed(1, LoadFailed("late"), 2) == []
    assert core.instances == 0


def test_a_need_like_the_one_that_was_loaded_for_comes_to_the_same() -> None:
    core, ask = a_core(), an_ask(1, num_ctx=8192)
    assert core.claimed(ask.need) is None
    core.requested(ask, 0)
    assert core.claimed(ask.need) is ask.claim
    core.loaded(1, 1, 1)
    again = msgspec.structs.replace(ask.need, client="other", keep_alive=5.0)
    assert core.claimed(again) is ask.claim
    copy = msgspec.structs.replace(again, model=msgspec.structs.replace(again.model, name=a_model("b").name))
    assert core.claimed(copy) is ask.claim


@pytest.mark.parametrize(
    "other",
    [
        {"num_ctx": 4096},
        {"num_ctx": 8192, "num_thread": 3},
        {"num_ctx": 8192, "shift": False},
        {"num_ctx": 8192, "engine": "llamaserver"},
        {"num_ctx": 8192, "embedding": True},
        {"num_ctx": 8192, "projectors": ("/p",)},
        {"num_ctx": 8192, "drafting": Drafting(kind="ngram", tokens=6)},
        {"num_ctx": 8192, "name": "b"},
    ],
)
def test_any_other_need_is_reckoned_anew(other: dict[str, Any]) -> None:
    core = a_core()
    ready(core, an_ask(1, num_ctx=8192), 1)
    assert core.claimed(an_ask(2, **other).need) is None


def test_a_context_that_memory_had_no_room_for_is_reckoned_anew() -> None:
    ask = an_ask(1)
    cut = msgspec.structs.replace(ask, claim=msgspec.structs.replace(ask.claim, asked_context=8192))
    core = a_core()
    ready(core, cut, 1)
    assert core.claimed(cut.need) is None


def test_what_is_about_to_leave_stands_for_nothing() -> None:
    core, ask = a_core(), an_ask(1)
    ready(core, ask, 1)
    core.retire(1, 1)
    assert core.claimed(ask.need) is None
    other = a_core()
    ready(other, ask, 1)
    other.close(1)
    assert other.claimed(ask.need) is None
