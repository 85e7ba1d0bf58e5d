"""Text for a terminal: harmless however it was cut, measured in columns, broken between words."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_power.cli.terminal import Wrapper, harmless, one_line, width

_ATTACKS = [
    "\x1b]52;c;QkFTRTY0\x07",
    "\x1b]0;title\x07",
    "\x1b[2J",
    "\x1b[6n",
    "\x1b]8;;http://evil\x07",
    "\x1bPq#0\x1b\\",
    "\x9b31m",
    "\x9d0;t\x9c",
    "a\rb",
    "\b" * 100,
    "\x07",
    "\x1b[201~",
    "\x00\x7f\x0b\x0c\x0e",
]


@pytest.mark.parametrize("attack", _ATTACKS)
def test_nothing_that_drives_a_terminal_is_left(attack: str) -> None:
    assert not [char for char in harmless(attack) if not char.isprintable()]


def test_control_characters_become_visible_and_line_ends_stay() -> None:
    assert harmless("a\x1b[31mb\x9bc\x07\r\n\td\x7f é 你") == "a\\x1b[31mb\\x9bc\\x07\n\td\\x7f é 你"


@given(st.text(), st.integers(0, 20))
def test_it_does_not_matter_how_a_text_was_cut(text: str, at: int) -> None:
    assert harmless(text[:at]) + harmless(text[at:]) == harmless(text)


def test_a_name_stays_on_its_line_and_in_its_direction() -> None:
    assert one_line("a\nb\u202ec\u2066d\x1b\u2028") == "a\\x0ab\\u202ec\\u2066d\\x1b\\u2028"


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("你好", 4), ("e\u0301", 1), ("", 0), ("a\u200db", 2)])
def test_width_is_in_columns(text: str, columns: int) -> None:
    assert width(text) == columns


def _shown(columns: int, pieces: list[str]) -> list[str]:
    """The lines a terminal shows of a Wrapper's output: moves of the cursor are carried out."""
    wrapper = Wrapper(columns)
    written = "".join(wrapper.feed(piece) for piece in pieces)
    lines, line = [], ""
    for token in re.findall(r"\x1b\[\d*[DK]|.|\n", written):
        if token == "\n":
            lines.append(line)
            line = ""
        elif token.endswith("D") and token != "D":
            line = line[: -int(token[2:-1])]
        elif not token.startswith("\x1b"):
            line += token
    return [*lines, line]


def test_a_word_that_does_not_fit_begins_the_next_line() -> None:
    text = "The quick brown fox jumps over the lazy dog."
    assert _shown(20, [text]) == ["The quick brown", "fox jumps over ", "the lazy dog."]
    assert _shown(20, list(text)) == _shown(20, [text])


def test_a_word_is_taken_back_with_the_sequences_of_the_sheet() -> None:
    assert Wrapper(15).feed("one two thr") == "one two th\x1b[2D\x1b[K\nthr"


def test_line_ends_of_the_text_stay() -> None:
    assert _shown(20, ["a\n\nb c\n"]) == ["a", "", "b c", ""]


def test_a_word_as_long_as_a_line_is_not_moved_and_shown_once() -> None:
    assert "".join(_shown(20, ["x" * 40])) == "x" * 40


def test_a_narrow_terminal_breaks_nothing() -> None:
    assert Wrapper(9).feed("one two three four") == "one two three four"


@given(st.lists(st.text(alphabet="ab 你\n\t", max_size=10), max_size=12), st.integers(10, 30))
def test_wrapping_loses_and_adds_nothing_but_line_ends(pieces: list[str], columns: int) -> None:
    text = "".join(pieces)
    lines = _shown(columns, pieces)
    assert [char for char in "".join(lines) if char not in " \t"] == [char for char in text if char not in " \t\n"]
    assert all(width(line) <= columns for line in lines)
