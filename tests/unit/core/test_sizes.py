"""Numbers as people read them: the samples of Ollama's tables."""

from datetime import UTC, datetime, timedelta

import pytest

from a3s_power.core.sizes import go_number, human_bytes, human_count, human_time

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (1024, "1.0 KB"),
        (1500, "1.5 KB"),
        (999_999, "999 KB"),
        (1_234_567_890, "1.2 GB"),
        (2_019_377_376, "2.0 GB"),
        (2_000_000_000, "2 GB"),
        (9_960_000_000, "10.0 GB"),
        (13_999_999_999, "13 GB"),
        (1_999_999_999_999, "2.0 TB"),
    ],
)
def test_bytes_are_shown_in_decimal_units(size: int, text: str) -> None:
    assert human_bytes(size) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (27, "27"),
        (999, "999"),
        (1000, "1K"),
        (125_000_000, "125M"),
        (494_032_768, "494.03M"),
        (7_000_000_000, "7B"),
        (8_030_261_312, "8.0B"),
        (2_850_000_000, "2.9B"),
        (1_000_000_000_000, "1000B"),
    ],
)
def test_parameters_are_counted_in_short(count: int, text: str) -> None:
    assert human_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"),
        (0.9, "Less than a second"),
        (1, "1 second"),
        (1.9, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5399, "About an hour"),
        (5400, "2 hours"),
        (24 * 3600, "24 hours"),
        (48 * 3600, "2 days"),
        (335 * 3600, "13 days"),
        (336 * 3600, "2 weeks"),
        (1440 * 3600, "2 months"),
        (17520 * 3600, "2 years"),
    ],
)
def test_a_span_is_told_roughly(seconds: float, text: str) -> None:
    span = timedelta(seconds=seconds)
    assert human_time(NOW - span, NOW) == f"{text} ago"
    if seconds:
        assert human_time(NOW + span, NOW) == f"{text} from now"


def test_no_time_is_never_and_a_far_one_for_ever() -> None:
    assert human_time(None, NOW) == "Never"
    assert human_time(datetime(1, 1, 1, tzinfo=UTC), NOW) == "Never"
    assert human_time(NOW + timedelta(days=20 * 365 + 1), NOW) == "Forever"
    assert human_time(NOW - timedelta(days=50 * 365), NOW) == "50 years ago"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (4096, "4096"), (10**7, "10000000"), (0.0, "0"), (-0.0, "-0"), (0.7, "0.7"), (-1.5, "-1.5")),
        *(
            (500000.0, "500000"),
            (128256.0, "128256"),
            (1e6, "1e+06"),
            (8e9, "8e+09"),
            (1e-5, "1e-05"),
            (1e-4, "0.0001"),
        ),
        *((3212749888.0, "3.212749888e+09"), (123.456, "123.456"), (1e100, "1e+100"), (1048576.0, "1.048576e+06")),
        *((float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN")),
    ],
)
def test_numbers_are_printed_as_go_prints_them(value: float, text: str) -> None:
    assert go_number(value) == text
