"""Drafts: who guesses ahead for a model, whether that can pay, and whether it did; pure.

A guessed token costs its share of a step, right or wrong; one that is right saves a whole step. A draft model's last
guess of a step, of which it was not sure, costs what the draft model takes. So guessing pays while more of the guesses
are right than all that costs. What a guess costs is measured by the engine when it loads.
"""

from typing import Final

import msgspec

from a3s_power.core.digests import Digest
from a3s_power.core.limits import MIB
from a3s_power.core.model import Facts
from a3s_power.engines.engine import Draft, Loaded, LoadOptions

DRAFT_TOKENS: Final = 4
"""What a draft model says at a time when nobody asks for a number (Ollama's)."""
NGRAM_TOKENS: Final = 6
"""And what is copied from earlier text at a time: of more, hardly more were right."""
CHEAPER: Final = 5
"""So many times smaller than its model a draft model has to be: on a CPU a larger one never paid."""
TRIAL_TOKENS: Final = 512
"""After so many guessed tokens it is known what they are worth,"""
TRIAL_OUTPUT: Final = 4096
"""and after so many said ones what it is worth to guess at all."""
_COST: Final = 0.4
"""What a guessed token costs at least on CPUs, in steps, where nobody has measured it."""
NO_GAIN: Final = 1.0
"""The speed beside that without guesses below which they do not pay."""


class Drafting(msgspec.Struct, frozen=True, kw_only=True):
    """How text is guessed ahead: not at all, by a draft model, or by what was said before; so many `tokens` at a time.

    `facts` are the draft model's, `size` its share of the model's bytes. `key` stands for the model, the guesser and
    the number. `note` says why nothing is guessed although somebody asked for it.
    """

    kind: Draft = ""
    tokens: int = 0
    facts: Facts | None = None
    size: float = 0.0
    key: str = ""
    note: str = ""


NO_DRAFT: Final = Drafting()


def by_model(facts: Facts, draft: Facts, *, key: str, tokens: int, seen: float | None) -> Drafting:
    """Guessing by a draft model where that can pay. `seen` is the speed that it was seen to give, 1 for none gained."""
    if note := _unfit(facts, draft) or _slow(seen):
        return Drafting(note=note)
    size = draft.weights_bytes / max(1, facts.weights_bytes)
    return Drafting(kind="model", tokens=tokens, facts=draft, size=size, key=key)


def by_ngram(*, key: str, tokens: int, seen: float | None) -> Drafting:
    """Guessing by what was said before. `seen` as above."""
    note = _slow(seen)
    return Drafting(note=note) if note else Drafting(kind="ngram", tokens=tokens, key=key)


def key_of(weights: Digest, guesser: str, tokens: int, engine: str) -> str:
    """What a measured speed is remembered under: another number, draft or engine is tried anew."""
    return f"{weights.hex} {guesser} {tokens} {engine}"


def is_known(output: int, drafted: int) -> bool:
    """Whether so many tokens said, and guessed, tell what guessing is worth."""
    return drafted >= TRIAL_TOKENS or output >= TRIAL_OUTPUT


def speed(output: int, drafted: int, accepted: int, *, cost: float, size: float) -> float:
    """How many times as fast as without guesses so many tokens were said. A guess costs `cost` steps, 0 for unknown.

    Every token that was not guessed right took a step of its own. `size` is the draft model's share of the model.
    """
    steps = max(0, output - accepted) * (1 + size) + drafted * (cost or _COST)
    return output / steps if steps else NO_GAIN


def reasons(drafting: Drafting, options: LoadOptions, loaded: Loaded) -> str:
    """Why nobody guesses ahead, although somebody asked for it; empty where that is as it was asked for."""
    if drafting.kind and not options.draft:
        return "no memory to guess ahead"
    return drafting.note or loaded.note


def _unfit(facts: Facts, draft: Facts) -> str:
    if facts.weights_bytes < CHEAPER * draft.weights_bytes:
        sizes = f"{draft.weights_bytes / MIB:.1f} of {facts.weights_bytes / MIB:.1f} MiB"
        return f"draft model not used: it is not {CHEAPER} times smaller than the model ({sizes})"
    return ""


def _slow(seen: float | None) -> str:
    if seen is None or seen >= NO_GAIN:
        return ""
    return f"no guesses: with them it was seen to run at {seen:.2f} of its speed"
