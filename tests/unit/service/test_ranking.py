"""Scores become a ranking: best first, the earlier of equals first, between 0 and 1 however large a logit is."""

import pytest

from a3s_power.engines.engine import Scores
from a3s_power.service.ranking import best, sigmoid


def _scores(*logits: float) -> Scores:
    return Scores(logits=logits, truncated=tuple(logit > 2 for logit in logits), prompt_tokens=1)


@pytest.mark.parametrize(("top", "order"), [(0, [1, 0, 2, 3]), (2, [1, 0]), (9, [1, 0, 2, 3]), (-1, [1, 0, 2, 3])])
def test_the_best_come_first_and_as_many_as_were_asked_for(top: int, order: list[int]) -> None:
    found = best(_scores(0.5, 3.0, 0.5, -1.0), top)
    assert [each.index for each in found] == order
    assert (found[0].logit, found[0].truncated, found[1].truncated) == (3.0, True, False)


@pytest.mark.parametrize(
    ("logit", "chance"), [(0, 0.5), (1000, 1.0), (-1000, 0.0), (1, 0.7310585786300049), (-1, 0.2689414213699951)]
)
def test_a_logit_is_a_chance(logit: float, chance: float) -> None:
    assert sigmoid(logit) == pytest.approx(chance, abs=1e-12)
