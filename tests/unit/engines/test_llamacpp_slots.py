"""Which slot a prompt goes to: the one with the longest common beginning, else the one that rested longest."""

import pytest

from a3s_power.engines.engine import Piece
from a3s_power.engines.llamacpp_slots import ANY, Prompt, Slots, common, similarity


@pytest.mark.parametrize(
    ("one", "other", "length"),
    [
        ("", "", 0),
        ("abc", "abc", 3),
        ("abc", "abd", 2),
        ("abc", "xbc", 0),
        ("abc", "abcdef", 3),
        ([1, 2, 3], [1, 2, 4], 2),
        ("12", [1, 2], 0),
    ],
)
def test_a_common_beginning_is_counted(one: Prompt, other: Prompt, length: int) -> None:
    assert common(one, other) == common(other, one) == length


def _given(slots: Slots, prompt: Prompt, answer: str = "") -> int:
    with slots.taken(prompt) as slot:
        slot.hearing(lambda _piece: None)(Piece(answer))
        return slot.number


def test_a_prompt_that_goes_on_gets_the_slot_it_had() -> None:
    slots = Slots(3)
    first, second = _given(slots, "a" * 50, "b" * 50), _given(slots, "c" * 50, "d" * 50)
    assert first != second
    assert _given(slots, "a" * 50 + "b" * 50 + "e") == first
    assert _given(slots, "c" * 50 + "d" * 50 + "e") == second


def test_one_with_nothing_in_common_gets_the_slot_that_rested_longest() -> None:
    slots = Slots(2)
    first, second = _given(slots, "aaaa"), _given(slots, "bbbb")
    assert [_given(slots, "cccc"), _given(slots, "dddd")] == [first, second]


def test_a_slot_is_given_to_one_at_a_time_and_then_the_engine_chooses() -> None:
    slots = Slots(2)
    with slots.taken("abc") as first, slots.taken("abc") as second, slots.taken("abc") as third:
        assert {first.number, second.number} == {0, 1}
        assert third.number == ANY
    assert _given(slots, "abc") != ANY


def test_of_one_slot_there_is_no_choice() -> None:
    assert _given(Slots(1), "abc") == ANY


def test_prompts_that_were_kept_are_found_again() -> None:
    slots = Slots(2)
    slots.hold({1: "once upon a time"})
    unused = slots.used
    assert _given(slots, "once upon a time there was") == 1
    assert (unused, slots.used) == (False, True)
    assert slots.held[1] == "once upon a time there was"


def test_a_gpu_keeps_no_copies() -> None:
    assert similarity(on_gpu=True) < 1.0 <= similarity(on_gpu=False)
