"""Long lists of texts are cut into pieces of bounded work, in order and without a loss."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from a3s_power.runner.pieces import pieces


@given(st.lists(st.integers(0, 10_000), max_size=300))
def test_all_texts_come_in_order_and_a_long_one_alone(sizes: Sequence[int]) -> None:
    texts = ["é" * (size // 2) + "a" * (size % 2) for size in sizes]
    found = list(pieces(texts))
    assert [text for _, piece in found for text in piece] == texts
    assert [start for start, _ in found] == [sum(len(piece) for _, piece in found[:n]) for n in range(len(found))]
    assert all(len(piece) <= 32 for _, piece in found)
    assert all(len(piece) == 1 or sum(len(text.encode()) for text in piece) <= 8192 for _, piece in found)


def test_many_short_texts_are_few_pieces() -> None:
    assert [len(piece) for _, piece in pieces(["short"] * 66)] == [32, 32, 2]


def test_half_a_character_is_no_stumbling_block() -> None:
    assert list(pieces(["\ud83d", "a"])) == [(0, ["\ud83d", "a"])]
