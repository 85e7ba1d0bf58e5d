"""Answers are written as Go writes them."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from a3s_power.api.ollama.goform import Clock, local_time, quoted


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("xml", '"xml"'),
        ('a"\\', '"a\\"\\\\"'),
        ("\n\x01\x7f", '"\\n\\x01\\x7f"'),
        ("é\u00a0\U000e0001", '"é\\u00a0\\U000e0001"'),
    ],
)
def test_a_text_is_quoted_like_go_quotes(text: str, written: str) -> None:
    assert quoted(text) == written


def test_a_clock_says_the_time_without_trailing_zeros() -> None:
    clock = Clock()
    before = datetime.now(UTC)
    said = [clock.now().decode() for _ in range(1000)]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z", text) for text in said)
    assert abs(datetime.fromisoformat(said[0]) - before) < timedelta(seconds=5)
    assert said == sorted(said, key=datetime.fromisoformat)


@pytest.mark.parametrize("microseconds", [0, 120, 100_000, 999_999])
def test_a_local_time_reads_back(microseconds: int) -> None:
    moment = datetime(2026, 3, 4, 5, 6, 7, microseconds, tzinfo=timezone(timedelta(hours=2)))
    text = local_time(moment)
    assert datetime.fromisoformat(text) == moment
    assert not re.search(r"0(?=[Z+-]\S*$)", text.partition(".")[2])
