"""Progress: lines for people on a terminal, plain lines elsewhere."""

import fcntl
import io
import os
import pty
import select
import struct
import termios
from collections.abc import Iterator

import pyte
import pytest

from a3s_power.cli import progress
from a3s_power.cli.progress import Bar, Progress, Spinner


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_elsewhere_each_state_is_a_line_once() -> None:
    stream = io.StringIO()
    with Progress(stream) as shown:
        shown.status("one")
        shown.status("one")
        shown.bar("two", 10).set(5)
        shown.percent("three", iter([0.1, 0.5, 1.0]))
        shown.status("one")
    assert stream.getvalue() == "one\ntwo\nthree 100%\none\n"


def test_a_spinner_turns_until_it_stops() -> None:
    spinner = Spinner("busy\x1b")
    assert (spinner.line(80), spinner.line(80)) == ("busy\\x1b ⠙ ", "busy\\x1b ⠹ ")
    spinner.say("other")
    spinner.stop()
    assert spinner.line(80) == "other "


def test_a_bar_fills_the_line() -> None:
    bar = Bar("pulling", 2_000_000_000)
    bar.set(500_000_000)
    line = bar.line(80)
    assert line.startswith("pulling  25% ▕████")
    assert line.endswith("▏ 500 MB/  2 GB" + " " * 20)
    assert len(line) == 78
    bar.set(2_000_000_000)
    assert bar.line(80).startswith("pulling 100% ▕███")
    assert bar.line(80).endswith("█▏   2 GB" + " " * 25)


def test_a_bar_tells_rate_and_time_left() -> None:
    bar = Bar("pulling", 100_000_000)
    for now, completed in ((0.0, 0), (1.0, 1_000_000), (1.5, 1_500_000), (2.0, 2_000_000)):
        bar.set(completed, now)
    assert bar.line(100).endswith("  2 MB/100 MB    1 MB/s   1m38s")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59, "59s"), (60, "1m0s"), (3600, "1h0m"), (359999, "99h59m"), (360000, "99h+")]
)
def test_time_left_is_short(seconds: float, text: str) -> None:
    assert progress._left(seconds) == text


def test_an_empty_file_is_all_there() -> None:
    bar = Bar("x", 0)
    bar.set(0)
    assert bar.line(60).startswith("x 100% ▕")


def test_on_a_terminal_the_lines_stay_when_it_ends() -> None:
    stream = _Terminal()
    with Progress(stream) as shown:
        shown.status("one")
        shown.status("two")
    assert stream.getvalue().endswith("one \x1b[K\ntwo \x1b[K\x1b[?25h\x1b[?2026l\n")


def test_lines_that_are_not_kept_are_erased() -> None:
    stream = _Terminal()
    shown = Progress(stream, keep=False)
    with shown:
        shown.spin()
        shown._draw()
    shown.stop()
    assert stream.getvalue().endswith("\x1b[2K\x1b[1G")


def test_what_never_showed_leaves_nothing() -> None:
    stream = _Terminal()
    with Progress(stream, keep=False):
        pass
    assert stream.getvalue() == ""


class _Window:
    """A terminal of so many columns: what is drawn on it, piece by piece, and how that looks."""

    def __init__(self, columns: int, rows: int = 10) -> None:
        self._ours, theirs = pty.openpty()
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.stream = os.fdopen(theirs, "w", encoding="utf-8")
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int = 10) -> None:
        fcntl.ioctl(self.stream, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(rows, columns)

    def taken(self) -> str:
        """What was written since the last time; it is drawn."""
        written = b""
        while select.select([self._ours], [], [], 0)[0]:
            written += os.read(self._ours, 65536)
        self._stream.feed(written)
        return written.decode()

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display if line.strip()]


@pytest.fixture
def window() -> Iterator[_Window]:
    """One of 60 columns."""
    found = _Window(60)
    yield found
    found.stream.close()
    os.close(found._ours)


def _pulling(window: _Window) -> tuple[Progress, list[Bar]]:
    shown = Progress(window.stream)
    shown.status("pulling manifest")
    bars = [shown.bar(f"pulling {name * 12}:", 2_000_000_000) for name in "abc"]
    for bar in bars:
        bar.set(500_000_000, 0.0)
    shown._draw()
    window.taken()
    return shown, bars


def test_only_what_has_moved_is_written_again(window: _Window) -> None:
    shown, bars = _pulling(window)
    shown._draw()
    assert window.taken() == ""
    bars[1].set(1_000_000_000, 0.5)
    shown._draw()
    written = window.taken()
    assert written.count("pulling") == 1
    assert written.startswith("\x1b[?2026h\x1b[?25l\x1b[3A\x1b[1G\r\n\r\npulling bbbbbbbbbbbb:  50% ")
    assert [line[:26] for line in window.lines] == [
        *("pulling manifest", "pulling aaaaaaaaaaaa:  25%", "pulling bbbbbbbbbbbb:  50%", "pulling cccccccccccc:  25%"),
    ]


@pytest.mark.parametrize("columns", [61, 59, 40, 27, 20, 10, 200])
def test_another_width_draws_each_line_once(window: _Window, columns: int) -> None:
    shown, bars = _pulling(window)
    window.resize(columns)
    for completed in (1_000_000_000, 2_000_000_000):
        for bar in bars:
            bar.set(completed, completed / 1e9)
        shown._draw()
        window.taken()
    percents = [line for line in window.lines if "100%" in line]
    assert len(percents) == 3
    assert len(window.lines) == 4
    assert not [line for line in window.lines if "25%" in line or "50%" in line]


def test_more_lines_than_the_window_has_rows_scroll(window: _Window) -> None:
    shown, _ = _pulling(window)
    window.resize(60, 3)
    for number in range(5):
        shown.status(f"step {number}")
        shown._draw()
        window.taken()
    assert [line[:6] for line in window.lines] == ["step 2", "step 3", "step 4"]


def test_a_wide_message_is_cut_by_its_columns() -> None:
    assert Spinner("日本語" * 10).line(20) == "日本語日本語日本 ⠙ "
    bar = Bar("日本語" * 10, 100)
    bar.set(50)
    assert bar.line(20) == "日本語日本語日  50%"


@pytest.mark.parametrize(
    ("room", "line"),
    [
        (60, "pulling x:  25% ▕█     ▏ 500 MB/  2 GB" + " " * 20),
        (40, "pulling x:  25% 500 MB/  2 GB"),
        (20, "pulling x:  25%"),
        (12, "pullin  25%"),
    ],
)
def test_a_narrow_bar_leaves_out_parts_and_cuts_no_number(room: int, line: str) -> None:
    bar = Bar("pulling x:", 2_000_000_000)
    bar.set(500_000_000)
    assert bar.line(room) == line
