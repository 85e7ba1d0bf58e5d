"""ThinkingParser: the table of the wire facts, and what is held back at the end."""

import pytest

from a3s_power.output.thinking import ThinkingParser, overlap


def fed(*pieces: str, opened: bool = False) -> list[tuple[str, str]]:
    parser = ThinkingParser("<think>", "</think>", opened=opened)
    return [*(parser.feed(piece) for piece in pieces), parser.close()]


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        (["<think>one</think>two"], [("one", "two")]),
        ([" \n<think>\n one \n</think>\n\n two "], [("one \n", "two ")]),
        (
            ["<thi", "nk>a", "b</th", "ink>", "\n", "c"],
            [("", ""), ("a", ""), ("b", ""), ("", ""), ("", ""), ("", "c")],
        ),
        (["hello <think>x</think>"], [("", "hello <think>x</think>")]),
        (["hello", " <think>x"], [("", "hello"), ("", " <think>x")]),
        (["   ", "x"], [("", ""), ("", "   x")]),
        (["<think>a<", "b"], [("a", ""), ("<b", "")]),
        (["<think>a</think>b</think>c"], [("a", "b</think>c")]),
        (["<think><think>a</think>b"], [("<think>a", "b")]),
        (["<thinker>x</thinker>"], [("", "<thinker>x</thinker>")]),
        (["<think></think>x"], [("", "x")]),
        (["", "<think>", "", "a"], [("", ""), ("", ""), ("", ""), ("a", "")]),
    ],
)
def test_pieces_and_what_each_says(pieces: list[str], said: list[tuple[str, str]]) -> None:
    assert fed(*pieces) == [*said, ("", "")]


@pytest.mark.parametrize(
    ("pieces", "held"),
    [
        (["  ", "<thi"], ("", "  <thi")),
        ([" \n"], ("", " \n")),
        (["<think>a</thin"], ("</thin", "")),
        (["<think>a</think>\n\n"], ("", "")),
        (["<think>  "], ("", "")),
    ],
)
def test_what_was_held_comes_out_at_the_end(pieces: list[str], held: tuple[str, str]) -> None:
    assert fed(*pieces)[-1] == held


def test_an_answer_to_a_prompt_that_opened_the_tag_begins_inside() -> None:
    assert fed("\n so", " it is </think> yes", opened=True) == [("so", ""), (" it is ", "yes"), ("", "")]


@pytest.mark.parametrize(
    ("text", "size"), [("", 0), ("a<", 1), ("a</thi", 5), ("a</think", 7), ("<</", 2), ("</think>", 0), ("x", 0)]
)
def test_how_much_of_a_text_may_begin_a_tag(text: str, size: int) -> None:
    assert overlap(text, "</think>") == size
