"""Durations: Go's syntax, Go's complaints, Go's printing, and keep-alive."""

import pytest

from a3s_power.core.durations import NEVER, format_duration, keep_alive, keep_alive_setting, parse_duration
from a3s_power.core.errors import BadRequest, InvalidDuration

SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("+0", 0),
        ("0s", 0),
        ("5m", 5 * MINUTE),
        ("1h30m", HOUR + 30 * MINUTE),
        ("-1.5s", -SECOND * 3 // 2),
        ("+5s", 5 * SECOND),
        ("1.5h", HOUR * 3 // 2),
        (".5s", SECOND // 2),
        ("5.s", 5 * SECOND),
        ("300ms", 300 * 10**6),
        ("1us", 1000),
        ("1µs", 1000),
        ("1μs", 1000),
        ("12ns", 12),
        ("1h1m1s1ms1us1ns", HOUR + MINUTE + SECOND + 1_001_001),
        ("1m1h", HOUR + MINUTE),
        ("0.3333333333333333333333h", HOUR // 3),
        ("9223372036854775807ns", 2**63 - 1),
        ("-9223372036854775808ns", -(2**63)),
        ("000000000000000000000000000001s", SECOND),
    ],
)
def test_go_durations_are_read(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("--1s", 'time: invalid duration "--1s"'),
        ("s", 'time: invalid duration "s"'),
        (".s", 'time: invalid duration ".s"'),
        ("-1", 'time: missing unit in duration "-1"'),
        ("5", 'time: missing unit in duration "5"'),
        ("1.5.5s", 'time: missing unit in duration "1.5.5s"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("1h d", 'time: unknown unit "h d" in duration "1h d"'),
        ("1S", 'time: unknown unit "S" in duration "1S"'),
        ("1ſ", 'time: unknown unit "\\xc5\\xbf" in duration "1\\xc5\\xbf"'),
        ('1"', 'time: unknown unit "\\"" in duration "1\\""'),
        ("9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"'),
        ("2562048h", 'time: invalid duration "2562048h"'),
        ("9" * 5000 + "s", f'time: invalid duration "{"9" * 5000}s"'),
    ],
)
def test_what_is_none_is_told_in_go_s_words(text: str, complaint: str) -> None:
    with pytest.raises(InvalidDuration) as caught:
        parse_duration(text)
    assert caught.value.message == complaint


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (999, "999ns"),
        (1500, "1.5µs"),
        (12_345_678, "12.345678ms"),
        (1_234_567_890, "1.23456789s"),
        (MINUTE, "1m0s"),
        (MINUTE + 1_234_567_890, "1m1.23456789s"),
        (HOUR + 2 * MINUTE + 3_004_005_006, "1h2m3.004005006s"),
        (100 * HOUR, "100h0m0s"),
        (-1500, "-1.5µs"),
    ],
)
def test_durations_are_printed_as_go_prints_them(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0.0),
        (300, 300.0),
        (0.5, 0.5),
        (-1, NEVER),
        (-0.1, NEVER),
        ("5m", 300.0),
        ("0", 0.0),
        ("-1s", NEVER),
        (10**10, NEVER),
        (10**400, NEVER),
        (-(10**400), NEVER),
        (1e300, NEVER),
    ],
)
def test_keep_alive_is_seconds_or_never(value: object, seconds: float) -> None:
    assert keep_alive(value) == seconds


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (True, "Unsupported type: 'bool'"),
        ([1], "Unsupported type: '[]interface {}'"),
        ({}, "Unsupported type: 'map[string]interface {}'"),
        ("-1", 'time: missing unit in duration "-1"'),
        ("", 'time: invalid duration ""'),
    ],
)
def test_a_keep_alive_of_another_kind_is_refused(value: object, complaint: str) -> None:
    with pytest.raises(BadRequest) as caught:
        keep_alive(value)
    assert caught.value.message == complaint


@pytest.mark.parametrize(
    ("text", "seconds"), [("-1", NEVER), ("0", 0.0), ("300", 300.0), ("+7", 7.0), ("24h", 86400.0)]
)
def test_the_setting_also_takes_bare_seconds(text: str, seconds: float) -> None:
    assert keep_alive_setting(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1.5", "9" * 5000, "1_000", "１"])
def test_a_setting_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(InvalidDuration):
        keep_alive_setting(text)
