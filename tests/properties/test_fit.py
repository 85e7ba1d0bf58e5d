"""Laws of fitting: what stays is what stays when messages go one by one, and the middle is cut as it should be."""

from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_power.core.errors import BadTemplate
from a3s_power.core.messages import Message
from a3s_power.prompt.fit import cut_middle, fit
from a3s_power.prompt.render import Prompt

ROLES: Final = ("system", "user", "assistant", "tool")
messages = st.lists(
    st.builds(
        Message,
        role=st.sampled_from(ROLES),
        content=st.lists(st.sampled_from(["a", "bb", "ccc"]), min_size=1, max_size=5).map(" ".join),
        images=st.lists(st.just(b"png"), max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=20,
)


def render(turns: Sequence[Message]) -> Prompt:
    return Prompt(text=" ".join(turn.content for turn in turns))


def words(text: str) -> int:
    return len(text.split())


def one_by_one(turns: Sequence[Message], limit: int, image_tokens: int) -> list[Message]:
    """As the wire facts tell it: drop the oldest, look again."""
    for start in range(len(turns)):
        kept = [*(turn for turn in turns[:start] if turn.role == "system"), *turns[start:]]
        images = image_tokens * sum(len(turn.images) for turn in turns[start:])
        if words(render(kept).text) + images <= limit or start == len(turns) - 1:
            return kept
    raise AssertionError("the last message always stays")


@given(messages, st.integers(1, 60), st.sampled_from([0, 7]))
def test_the_same_messages_stay_as_when_they_go_one_by_one(turns: list[Message], limit: int, image_tokens: int) -> None:
    fitted = fit(turns, limit, render, words, image_tokens=image_tokens)
    kept = one_by_one(turns, limit, image_tokens)
    assert list(fitted.messages) == kept
    assert fitted.prompt == render(kept)
    assert fitted.dropped == len(turns) - len(kept)


@given(messages, st.integers(1, 60))
def test_system_messages_and_the_last_one_always_stay(turns: list[Message], limit: int) -> None:
    kept = fit(turns, limit, render, words).messages
    assert [turn for turn in kept if turn.role == "system"] == [turn for turn in turns if turn.role == "system"]
    assert kept[-1] == turns[-1]


@pytest.mark.parametrize("size", [2, 100, 5000])
def test_few_prompts_are_tried_and_fewer_counted(size: int) -> None:
    tried, counted = [], []

    def watched(turns: Sequence[Message]) -> Prompt:
        tried.append(len(turns))
        return render(turns)

    def count(text: str) -> int:
        counted.append(text)
        return words(text)

    fit([Message(role="user", content="word")] * size, size // 2 + 1, watched, count)
    assert len(counted) <= len(tried) <= size.bit_length() + 3


def test_a_short_conversation_is_rendered_once_and_not_counted() -> None:
    def never(text: str) -> int:
        raise AssertionError(f"counted: {text}")

    assert fit([Message(role="user", content="é" * 40)], 82, render, never).dropped == 0


def test_a_start_that_the_template_refuses_is_passed_over() -> None:
    def strict(turns: Sequence[Message]) -> Prompt:
        if turns[0].role != "user":
            raise BadTemplate("user first")
        return render(turns)

    turns = [Message(role=("user", "assistant")[at % 2], content="four words in here") for at in range(9)]
    fitted = fit(turns, 16, strict, words)
    assert (fitted.dropped, fitted.messages[0].role) == (6, "user")


def test_a_conversation_that_the_template_refuses_as_it_is_stays_refused() -> None:
    def refuse(turns: Sequence[Message]) -> Prompt:
        raise BadTemplate(f"{len(turns)} are too many")

    with pytest.raises(BadTemplate, match="3 are too many"):
        fit([Message(role="user", content="a")] * 3, 100, refuse, words)


@pytest.mark.parametrize(("context", "keep", "size"), [(8, 3, 6), (4096, 4, 2050), (4096, 5, 2051), (8, 99, 7)])
def test_how_much_of_a_cut_prompt_is_left(context: int, keep: int, size: int) -> None:
    assert len(cut_middle(range(5000), context, keep)) == size
    assert len(cut_middle(range(5000), context, keep - 1, adds_bos=True)) == size


@given(st.integers(0, 200), st.integers(2, 100), st.integers(-1, 120), st.booleans())
def test_a_cut_prompt_is_its_head_and_its_tail(length: int, context: int, keep: int, adds_bos: bool) -> None:
    tokens = list(range(length))
    left = list(cut_middle(tokens, context, keep, adds_bos=adds_bos))
    assert len(left) < context
    if length < context:
        assert left == tokens
        return
    head = next((at for at, token in enumerate(left) if token != at), len(left))
    assert head >= min(context - 1 if keep < 0 else keep + adds_bos, context - 1)
    assert left[head:] == tokens[length - len(left) + head :]
