"""What a request says of its urgency."""

import math

import pytest

from a3s_power.core.caller import Caller
from a3s_power.core.errors import BadRequest


@pytest.mark.parametrize(("word", "batch"), [("", False), ("normal", False), ("batch", True)])
def test_work_gives_way_when_it_says_so(word: str, batch: bool) -> None:
    assert Caller(priority=word).batch is batch


@pytest.mark.parametrize(
    ("text", "seconds"), [("", math.inf), ("5", 5.0), ("1m30s", 90.0), ("0", 0.0), ("-1", math.inf)]
)
def test_a_deadline_is_seconds_or_a_duration(text: str, seconds: float) -> None:
    assert Caller(deadline=text).patience == seconds


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(BadRequest, match='X-Power-Priority must be "normal" or "batch", not "urgent"'):
        _ = Caller(priority="urgent").batch
    with pytest.raises(BadRequest, match="X-Power-Deadline: "):
        _ = Caller(deadline="soon").patience
