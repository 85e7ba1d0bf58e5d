"""Answers are written as Go writes them."""

import json
import re
import struct
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_power.api.ollama.goform import Clock, float32s, float64, local_time, quoted, with_go_floats
from a3s_power.core.manifest import go_json

_FLOATS32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(_FLOATS32))
def test_a_list_of_32_bit_numbers_reads_back(values: list[float]) -> None:
    text = float32s(values).decode()
    assert json.loads(text) == values or all(map(_same, map(float, json.loads(text)), values))


@given(_FLOATS32)
def test_a_32_bit_number_is_as_short_as_can_be(value: float) -> None:
    digits = _digits(float32s([value])[1:-1].decode())
    shortest = next(count for count in range(1, 10) if _same(float(f"{value:.{count}g}"), value))
    assert len(digits) <= shortest


def _digits(text: str) -> str:
    return text.partition("e")[0].lstrip("-").replace(".", "").strip("0") or "0"


def _same(written: float, value: float) -> bool:
    try:
        return bool(struct.unpack("f", struct.pack("f", written))[0] == value)
    except OverflowError:
        return False


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_64_bit_number_reads_back(value: float) -> None:
    assert float(float64(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, b"0"),
        (-0.0, b"-0"),
        (1.0, b"1"),
        (-2.5, b"-2.5"),
        (1e-5, b"0.00001"),
        (1.5e-6, b"0.0000015"),
        (1e-6, b"0.000001"),
        (9.5e-7, b"9.5e-7"),
        (-1e-7, b"-1e-7"),
        (1e20, b"100000000000000000000"),
        (1.5e20, b"150000000000000000000"),
        (1e21, b"1e+21"),
        (123456789012345680.0, b"123456789012345680"),
        (1.25e300, b"1.25e+300"),
    ],
)
def test_a_number_has_gos_form(value: float, text: bytes) -> None:
    assert float64(value) == text


def test_numbers_of_model_files_are_of_32_bits() -> None:
    (narrow,) = struct.unpack("f", struct.pack("f", 1e-5))
    value = {"a": narrow, "b": [10000.0, 0.1], "c": float("inf"), "d": 1, "e": "x", "f": True}
    assert go_json(with_go_floats(value)) == b'{"a":0.00001,"b":[10000,0.1],"c":null,"d":1,"e":"x","f":true}'


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
