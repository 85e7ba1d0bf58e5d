"""Progress: lines for people on a terminal, plain lines elsewhere."""

import io

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
