"""Drafts on llama.cpp: whether a draft model fits its model, the memory that guessing takes, and what a guess costs."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from a3s_power.core.errors import BadFile
from a3s_power.core.limits import MIB
from a3s_power.core.model import Facts, ModelFiles
from a3s_power.engines.engine import Draft
from a3s_power.engines.llamacpp_memory import cache_bytes, compute_bytes
from a3s_power.engines.llamacpp_params import Settings
from a3s_power.engines.llamacpp_wire import Timings
from a3s_power.gguf.facts import facts as read_facts
from a3s_power.gguf.layout import Header
from a3s_power.gguf.reader import read_header

DRAFT_CACHE: Final = "f16"
"""The type of a draft model's key-value cache, whatever the model's is."""
LEAST_CHANCE: Final = 0.5
"""A draft model's guess that it thinks less likely is not tried: of those at 0.5, 98 in 100 were right, at 0 76."""
KEY_TOKENS: Final = 12
"""So many tokens have to stand there once more before what followed them is guessed: after fewer, fewer are right."""
_TABLE_BYTES: Final = 16 * MIB
"""What the engine keeps to find such places again."""
_TOKEN_BYTES: Final = 220
"""A token of a draft model's vocabulary, in the engine's tables."""
_FIRST_COMPARED: Final = 5
_MOST_MORE: Final = 128
"""llama.cpp's own rule: the first few tokens may differ, and one vocabulary may have some more at its end."""
_BEFORE: Final = 12
_ROUNDS: Final = 3
_SAID: Final = 12
_ENOUGH_MILLISECONDS: Final = 1000
"""A model that is so slow is measured well enough in fewer rounds."""


class Guessing(NamedTuple):
    """Who guesses ahead, what one guessed token costs beside an ordinary one, and why nobody does."""

    draft: Draft = ""
    cost: float = 0.0
    note: str = ""


def difference(model: Header, draft: Header) -> str:
    """Why the engine would take no guess of `draft` for `model`, empty when it would. Both with their arrays.

    It would load such a draft all the same, and never use it.
    """
    kind, others = (header.text("tokenizer.ggml.model") for header in (model, draft))
    if kind != others:
        return f"its vocabulary is of another kind ({others or 'none'}, not {kind or 'none'})"
    if _ends(model) != _ends(draft):
        return "it begins or ends texts with other tokens"
    ours, theirs = _texts(model), _texts(draft)
    if abs(len(ours) - len(theirs)) > _MOST_MORE:
        return f"its vocabulary has {len(theirs)} tokens, not {len(ours)}"
    pairs = enumerate(zip(ours, theirs, strict=False))
    other = next((place for place, (one, two) in islice(pairs, _FIRST_COMPARED, None) if one != two), None)
    return "" if other is None else f"its vocabulary is another one: token {other} differs"


def _texts(header: Header) -> Sequence[object]:
    found = header.key_values.get("tokenizer.ggml.tokens")
    return found if isinstance(found, tuple) else ()


def _ends(header: Header) -> list[tuple[object, object]]:
    """Whether a text gets a first and a last token, and which ones where it does."""
    first = header.text("tokenizer.ggml.model") == "llama"
    return list(_added(header, {"bos": first, "eos": False}))


def _added(header: Header, usual: dict[str, bool]) -> Iterator[tuple[object, object]]:
    said = header.key_values
    for name, is_usual in usual.items():
        adds = said.get(f"tokenizer.ggml.add_{name}_token", is_usual)
        yield adds, said.get(f"tokenizer.ggml.{name}_token_id") if adds else None


def fitted(chosen: Settings, files: ModelFiles, projector: str) -> tuple[Settings, Facts | None, str]:
    """The settings with guessing only where the engine will guess, what the draft model says of itself, and why not.

    Reads both vocabularies.
    """
    if not chosen.draft:
        return chosen, None, ""
    note, facts = "", None
    if projector:
        note = "nothing is guessed ahead for a model that takes images or sound"
    elif chosen.draft == "model":
        try:
            draft = read_header(files.draft, arrays=True)
            facts = read_facts(draft)
            why = difference(read_header(files.weights, arrays=True), draft)
            note = f"draft model not used: {why}" if why else ""
        except (OSError, BadFile) as error:
            note = f"draft model not used: it cannot be read: {error}"
    if note:
        return msgspec.structs.replace(chosen, draft="", draft_tokens=0), None, note
    return chosen, facts, ""


def memory_bytes(facts: Facts | None, chosen: Settings, vocabulary: int) -> int:
    """What guessing adds to the child's memory: a draft model's weights, cache and buffers, and the scores of guesses.

    `facts` are those of the draft model, if there is one; its cache is as long as the model's, and of 16-bit floats.
    """
    if not chosen.draft:
        return 0
    scores = 4 * vocabulary * chosen.parallel * chosen.draft_tokens
    if facts is None or chosen.draft == "ngram":
        return scores + _TABLE_BYTES
    own = msgspec.structs.replace(chosen, cache_type=DRAFT_CACHE)
    own_scores = (4 * chosen.parallel + _TOKEN_BYTES) * facts.vocabulary
    return facts.weights_bytes + cache_bytes(facts, own) + compute_bytes(facts, own) + own_scores + scores


def cost(say: Callable[[Sequence[int], int], Timings], tokens: int, *, size: float) -> float:
    """What a guessed token costs beside an ordinary one, in steps: 0.3 for three tenths; 0 where it cannot be told.

    `say` has the model read a prompt and say so many tokens; of one token nothing is guessed. `size` is the draft
    model's share of the model's bytes, 0 without one: what a guess itself costs at least.
    """
    known = [*range(10, 10 + _BEFORE)]
    say(known, 1)
    one, more = list[float](), list[float]()
    for turn in range(1, _ROUNDS + 1):
        for times, new in ((one, 1), (more, tokens + 1)):
            fresh = [100 + (turn * 31 + place * 7 + new) % 90 for place in range(new)]
            told = say([*known, *fresh], 1)
            if told.prompt_n > new + 1:
                return 0.0
            times.append(told.prompt_ms)
        if sum(one) + sum(more) > _ENOUGH_MILLISECONDS:
            break
    step = min(one)
    if step <= 0:
        return 0.0
    tried = max(0.01, (min(more) - step) / (tokens * step))
    return tried + (max(size, _guess(say(known, _SAID), step, tried)) if size else 0.0)


def _guess(told: Timings, step: float, tried: float) -> float:
    """What the draft model took for a guess, in steps, by an answer's time; one of each step came to nothing."""
    steps = told.predicted_n - told.draft_n_accepted
    rest = told.predicted_ms / step - steps - told.draft_n * tried
    return rest / max(1, steps + told.draft_n)


def refused(state: Sequence[dict[str, Any]]) -> bool:
    """Whether the engine guesses nothing after all, by what it says of its slots."""
    return bool(state) and not any(slot.get("speculative") for slot in state)
