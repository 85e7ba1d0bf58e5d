"""Prompt speeds are learnt, kept, and never in the way."""

import json
import logging
from pathlib import Path

import pytest

from a3s_power.core.digests import Digest
from a3s_power.scheduler.speeds import Speeds

A, B = Digest.of(b"a"), Digest.of(b"b")


def test_a_speed_is_known_after_the_first_long_prompt() -> None:
    speeds = Speeds()
    assert speeds.rate(A) is None
    speeds.measured(A, 500, 2.0)
    assert speeds.rate(A) == 250
    assert speeds.rate(B) is None


@pytest.mark.parametrize(("tokens", "seconds"), [(63, 0.001), (0, 0.0), (500, 0.0), (-1, 1.0)])
def test_what_says_nothing_is_passed_over(tokens: int, seconds: float) -> None:
    speeds = Speeds()
    speeds.measured(A, tokens, seconds)
    assert speeds.rate(A) is None


def test_one_odd_measurement_does_not_turn_everything() -> None:
    speeds = Speeds()
    speeds.measured(A, 1000, 1.0)
    speeds.measured(A, 2000, 1.0)
    assert speeds.rate(A) == pytest.approx(1300)


def test_speeds_outlive_the_process(tmp_path: Path) -> None:
    file = tmp_path / "cache" / "speeds.json"
    speeds = Speeds(file)
    speeds.measured(A, 500, 1.0)
    speeds.save()
    assert Speeds(file).rate(A) == 500
    assert [one.name for one in file.parent.iterdir()] == ["speeds.json"]


def test_nothing_learnt_is_nothing_written(tmp_path: Path) -> None:
    file = tmp_path / "speeds.json"
    Speeds(file).save()
    assert not file.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"x": "fast"}', b"\xff"])
def test_a_file_that_cannot_be_read_is_started_anew_with_a_warning(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "speeds.json"
    file.write_bytes(content)
    speeds = Speeds(file)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    speeds.measured(A, 500, 1.0)
    speeds.save()
    assert json.loads(file.read_bytes()) == {A.hex: 500}


def test_a_disk_that_refuses_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "speeds.json").mkdir()
    speeds = Speeds(tmp_path / "speeds.json")
    caplog.clear()
    speeds.measured(A, 500, 1.0)
    speeds.save()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert [one.name for one in tmp_path.iterdir()] == ["speeds.json"]


def test_the_file_does_not_grow_for_ever() -> None:
    speeds = Speeds()
    digests = [Digest.of(str(number).encode()) for number in range(1100)]
    for digest in digests:
        speeds.measured(digest, 100, 1.0)
    known = [digest for digest in digests if speeds.rate(digest)]
    assert known == digests[-1024:]
