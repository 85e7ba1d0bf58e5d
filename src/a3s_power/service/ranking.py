"""Scores of documents made into a ranking. Pure."""

import math

from a3s_power.core.requests import Ranked
from a3s_power.engines.engine import Scores


def best(scores: Scores, top: int) -> tuple[Ranked, ...]:
    """The `top` best documents (0 for all of them), best first; of equals the earlier one."""
    order = sorted(range(len(scores.logits)), key=lambda index: -scores.logits[index])
    return tuple(_ranked(scores, index) for index in (order[:top] if top > 0 else order))


def _ranked(scores: Scores, index: int) -> Ranked:
    logit = scores.logits[index]
    return Ranked(index=index, score=sigmoid(logit), logit=logit, truncated=scores.truncated[index])


def sigmoid(logit: float) -> float:
    """The chance that a logit stands for, between 0 and 1."""
    # The exponent is never positive: it could be larger than a float holds.
    chance = 1 / (1 + math.exp(-abs(logit)))
    return chance if logit >= 0 else 1 - chance
