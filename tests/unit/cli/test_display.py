"""Tables and answers: columns, re-flowed cells, statistics, and what goes to a pipe."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_power.cli.display import Answer, statistics, table
from a3s_power.cli.terminal import width


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table([("a", "b"), ("long", "x")], ("ONE", "TWO")) == (
        "ONE     TWO \n"  # the last cell of the header has one blank behind it
        "a       b      \n"
        "long    x      \n"
    )


def test_without_rows_there_is_the_header_alone() -> None:
    assert table([], ("NAME", "ID", "SIZE", "MODIFIED")) == "NAME    ID    SIZE    MODIFIED \n"


def test_rows_may_have_fewer_cells() -> None:
    assert table([("a",), ("b", "c")]) == "a    \nb    c    \n"


def test_wide_characters_take_two_columns() -> None:
    assert table([("你好", "x"), ("abc", "y")]) == "你好    x    \nabc     y    \n"


def test_a_wide_cell_is_broken_at_blanks_and_its_other_lines_stand_two_columns_further_right() -> None:
    assert table([("", "key", "Tiny chat model for tests, trained on synthetic dialogues only"), ("", "k", "v")]) == (
        "    key    Tiny chat model for tests,        \n"
        "             trained on synthetic dialogues    \n"
        "             only                              \n"
        "    k      v                                 \n"
    )


def test_lines_of_a_cell_are_as_even_as_can_be() -> None:
    text = table([("aaa bb cc ddddd",)], wrap_at=6)
    assert [line.strip() for line in text.splitlines()] == ["aaa", "bb cc", "ddddd"]


def test_a_broken_cell_takes_the_whole_limit() -> None:
    assert table([("aaaa bbbb",)], wrap_at=6) == "aaaa      \nbbbb      \n"


def test_a_word_longer_than_the_limit_widens_the_column() -> None:
    assert table([("a bbbbbbbb c",)], wrap_at=4) == "a           \nbbbbbbbb    \nc           \n"


def test_a_cell_with_line_ends_is_one_paragraph() -> None:
    assert table([("a\nb\r\nc",)]) == "a b c    \n"


def test_a_cell_is_harmless_and_not_endless() -> None:
    text = table([("\x1b]0;x\x07\u202e", "y" * 10_000)])
    assert text.startswith("\\x1b]0;x\\x07\\u202e    y")
    assert width(text) < 1100


@given(st.lists(st.text(max_size=80), min_size=1, max_size=5))
def test_every_line_of_a_column_is_equally_wide(cells: list[str]) -> None:
    assert len({width(line) for line in table([(cell,) for cell in cells]).split("\n")[:-1]}) == 1


def test_statistics_are_those_of_the_last_line() -> None:
    answer = {
        "total_duration": 4935886791,
        "load_duration": 534986708,
        "prompt_eval_count": 26,
        "prompt_eval_duration": 107345000,
        "eval_count": 237,
        "eval_duration": 4289432000,
    }
    assert statistics(answer) == (
        "total duration:       4.935886791s\n"
        "load duration:        534.986708ms\n"
        "prompt eval count:    26 token(s)\n"
        "prompt eval duration: 107.345ms\n"
        "prompt eval rate:     242.21 tokens/s\n"
        "eval count:           237 token(s)\n"
        "eval duration:        4.289432s\n"
        "eval rate:            55.25 tokens/s\n"
    )


@pytest.mark.parametrize("answer", [{}, {"eval_count": 0, "eval_duration": 0, "total_duration": 0}])
def test_what_is_nothing_is_not_printed(answer: dict[str, Any]) -> None:
    assert statistics(answer) == ""


def test_a_pipe_gets_the_bare_text(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer()
    for piece in ("a\x1b[31m ", "b" * 200, "\r\n"):
        answer.text(piece)
    answer.end()
    assert capsys.readouterr().out == "a\x1b[31m " + "b" * 200 + "\r\n"


@pytest.mark.parametrize("thought", ["so", "so\n"])
def test_thinking_stands_between_its_marks(capsys: pytest.CaptureFixture[str], thought: str) -> None:
    answer = Answer()
    answer.thought("I think ")
    answer.thought(thought)
    answer.text("7")
    answer.end()
    assert capsys.readouterr().out == "Thinking...\nI think so\n...done thinking.\n\n7"


def test_thinking_may_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer(thinking=False)
    answer.thought("hm")
    answer.text("7")
    assert capsys.readouterr().out == "7"


def test_a_call_of_a_tool_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer()
    answer.thought("hm\n")
    answer.call({"name": "weather", "arguments": {"city": "Rome"}})
    assert capsys.readouterr().out == (
        "Thinking...\nhm\n...done thinking.\n\n"
        '  Model called a non-existent function \'weather()\' with arguments: {"city":"Rome"}\n'
    )


def test_thinking_is_grey_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    answer = Answer()
    answer.thought("hm\x07")
    answer.text("7\x1b[2J")
    assert capsys.readouterr().out == (
        "\x1b[38;5;245m\x1b[1mThinking...\n\x1b[0m\x1b[38;5;245mhm\\x07\n"
        "\x1b[38;5;245m\x1b[1m...done thinking.\n\n\x1b[0m7\\x1b[2J"
    )
