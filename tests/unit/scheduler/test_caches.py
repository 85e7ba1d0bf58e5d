"""How much memory prompts of late may fill."""

import pytest

from a3s_power.core.limits import MIB
from a3s_power.scheduler.caches import prompt_cache_mib, unfilled_bytes


@pytest.mark.parametrize(
    ("asked", "free", "taken", "mib"),
    [
        pytest.param(-1, 4096, 0, 409, id="a tenth of what is free"),
        pytest.param(-1, 4096, 2048, 204, id="when the model is there"),
        pytest.param(-1, 100_000, 0, 1024, id="and never more than a gibibyte"),
        pytest.param(-1, 100, 200, 0, id="none where none is left"),
        pytest.param(-1, 0, 0, 0, id="or nobody can tell"),
        pytest.param(0, 4096, 0, 0, id="the operator may want none"),
        pytest.param(9000, 4096, 0, 9000, id="or more"),
    ],
)
def test_a_child_may_fill_a_tenth_of_what_its_load_leaves(asked: int, free: int, taken: int, mib: int) -> None:
    assert prompt_cache_mib(asked, free * MIB, taken * MIB) == mib


@pytest.mark.parametrize(("cache", "before", "now", "left"), [(100, 50, 50, 100), (100, 50, 80, 70), (100, 50, 200, 0)])
def test_what_is_not_filled_yet_is_promised(cache: int, before: int, now: int, left: int) -> None:
    assert unfilled_bytes(cache, before * MIB, now * MIB) == left * MIB


def test_a_child_that_the_system_took_memory_of_may_fill_no_more_than_all() -> None:
    assert unfilled_bytes(100, 50 * MIB, 10 * MIB) == 100 * MIB
