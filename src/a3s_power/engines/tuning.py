"""Tuning: how fast the settings of an engine were measured on this machine, and the choice among them; pure."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

Prefer = Literal["speed", "memory"]

PROMPT: Final = 512
ANSWER: Final = 256
"""The tokens of a typical request, by whose time settings are compared."""

_EQUAL: Final = {"speed": 1.03, "memory": 1.15}
"""Settings whose times are so close to the best are as good: among them other things decide."""


class Rates(msgspec.Struct, frozen=True):
    """A setting, and its speed in tokens a second: of prompts, and of answers at their beginning and behind a prompt.

    `repack` is a second, rearranged copy of the weights; without flash attention there is a buffer for scores.
    """

    repack: bool
    flash_attention: bool
    prompt: float
    first: float
    behind: float

    def seconds(self, prompt: int = PROMPT, answer: int = ANSWER) -> float:
        """How long a request of so many tokens takes: each token of the answer the longer the more lie before it."""
        slower = max(0.0, 1 / self.behind - 1 / self.first) / PROMPT
        return prompt / self.prompt + answer * (1 / self.first + slower * (prompt + answer / 2))


def best(
    tuning: Iterable[Rates],
    *,
    repack: bool | None = None,
    flash_attention: bool | None = None,
    prefer: Prefer = "speed",
) -> Rates | None:
    """The setting for a typical request; `None` where none was measured.

    Of about equal ones that without a copy of the weights, then the one that answers faster behind a prompt, since
    conversations grow; with `memory` the one without scores. `repack` and `flash_attention` are what is settled
    already, `None` where either will do.
    """
    fitting = [
        rates for rates in tuning if repack in (None, rates.repack) and flash_attention in (None, rates.flash_attention)
    ]
    if not fitting:
        return None
    limit = _EQUAL[prefer] * min(rates.seconds() for rates in fitting)
    good = [rates for rates in fitting if rates.seconds() <= limit]
    return min(good, key=lambda rates: (rates.repack, prefer == "memory" and not rates.flash_attention, -rates.behind))


def faster(one: Rates, other: Rates) -> Rates:
    """The best of two measurements of a setting: whatever disturbs makes it slower."""
    return msgspec.structs.replace(
        one,
        prompt=max(one.prompt, other.prompt),
        first=max(one.first, other.first),
        behind=max(one.behind, other.behind),
    )


def whole(rates: Rates, share: float, layers: float) -> Rates:
    """The speed of a model, from that of one with the `share` of its layers, which are `layers` of the work in there.

    The rest of the work, such as the scores of all tokens, is in both. Prompts are hardly anything but layers.
    """
    once = 1 / rates.first
    grown = 1 / share - 1
    behind = 1 / rates.behind - once
    first = once * (1 + grown * layers)
    return msgspec.structs.replace(
        rates, prompt=rates.prompt * share, first=1 / first, behind=1 / (first + max(0.0, behind) / share)
    )
