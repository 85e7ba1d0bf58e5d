"""Drafts on llama.cpp: which vocabularies go together, what guessing takes, and what a guess is found to cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.errors import LoadFailed
from a3s_power.core.model import ModelFiles
from a3s_power.engines import llamacpp_draft
from a3s_power.engines.engine import LoadOptions
from a3s_power.engines.llamacpp_params import MOST_GUESSED, Machine, Settings, settings
from a3s_power.engines.llamacpp_wire import Timings
from a3s_power.gguf.facts import facts
from a3s_power.gguf.reader import read_header
from tests.models import VOCABULARY, tiny_llama
from tests.scheduling import DRAFT, FACTS
from tests.shared import BUILTIN_MODEL


def _chosen(**said: Any) -> Settings:
    asked: dict[str, Any] = {"context_length": 512, "draft": "model", "draft_tokens": 4} | said
    return settings(LoadOptions(**asked), FACTS, Machine(x86=True))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    tiny_llama(path)
    return path


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        pytest.param({}, "", id="the same"),
        pytest.param({"tokenizer.ggml.tokens": ("?", *VOCABULARY[1:])}, "", id="one of the first, which may differ"),
        pytest.param({"tokenizer.ggml.tokens": (*VOCABULARY[:-1], "?")}, "token 353 differs", id="another token"),
        pytest.param({"tokenizer.ggml.add_bos_token": False}, "begins or ends texts", id="no first token"),
        pytest.param({"tokenizer.ggml.add_bos_token": None}, "", id="the first token that is usual"),
        pytest.param({"tokenizer.ggml.bos_token_id": 2}, "begins or ends texts", id="another first token"),
        pytest.param({"tokenizer.ggml.eos_token_id": 1}, "", id="another last token that no text gets"),
        pytest.param({"tokenizer.ggml.add_eos_token": True}, "begins or ends texts", id="a last token"),
    ],
)
def test_a_draft_has_to_have_the_vocabulary_of_its_model(
    tmp_path: Path, tiny: Path, changed: dict[str, Any], why: str
) -> None:
    draft = tmp_path / "draft.gguf"
    tiny_llama(draft, key_values=changed)
    chosen, found, note = llamacpp_draft.fitted(_chosen(), ModelFiles(weights=str(tiny), draft=str(draft)), "")
    assert why in note
    assert bool(why) is bool(note)
    assert chosen.draft == ("" if why else "model")
    assert found == (None if why else facts(read_header(draft)))


def test_a_draft_with_a_vocabulary_of_another_kind_is_not_used(tiny: Path) -> None:
    files = ModelFiles(weights=str(tiny), draft=str(BUILTIN_MODEL))
    chosen, _, note = llamacpp_draft.fitted(_chosen(), files, "")
    assert (chosen.draft, chosen.draft_tokens) == ("", 0)
    assert note == "draft model not used: its vocabulary is of another kind (gpt2, not llama)"


def test_a_vocabulary_may_be_a_little_longer(tmp_path: Path, tiny: Path) -> None:
    model, draft = (read_header(tiny, arrays=True) for _ in range(2))
    for more, fits in ((128, True), (129, False)):
        tokens = (*VOCABULARY, *(f"more{number}" for number in range(more)))
        draft.key_values["tokenizer.ggml.tokens"] = tokens
        assert (llamacpp_draft.difference(model, draft) == "") is fits


@pytest.mark.parametrize("draft", ["missing.gguf", "broken.gguf"])
def test_a_draft_that_cannot_be_read_is_not_used(tmp_path: Path, tiny: Path, draft: str) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF, or so it says")
    files = ModelFiles(weights=str(tiny), draft=str(tmp_path / draft))
    chosen, _, note = llamacpp_draft.fitted(_chosen(), files, "")
    assert (chosen.draft, "it cannot be read" in note) == ("", True)


@pytest.mark.parametrize("kind", ["model", "ngram"])
def test_nothing_is_guessed_for_a_model_that_takes_images(tiny: Path, kind: str) -> None:
    chosen, _, note = llamacpp_draft.fitted(_chosen(draft=kind), ModelFiles(weights=str(tiny)), "/projector")
    assert (chosen.draft, "images or sound" in note) == ("", True)


def test_a_batch_holds_the_guesses_of_all_slots() -> None:
    assert _chosen(batch=32, parallel=8, draft_tokens=16).batch == 8 * 17
    assert _chosen(batch=32, parallel=8, draft="", draft_tokens=0).batch == 32


@pytest.mark.parametrize("tokens", [0, -1, MOST_GUESSED + 1])
def test_a_number_of_guesses_that_cannot_be_is_refused(tokens: int) -> None:
    with pytest.raises(LoadFailed, match="number of guessed tokens"):
        _chosen(draft_tokens=tokens)


def test_nothing_is_guessed_where_texts_are_embedded() -> None:
    assert _chosen(embedding=True).draft == ""


def test_what_guessing_takes_grows_with_the_context_and_the_slots_of_the_model() -> None:
    def taken(**said: Any) -> int:
        return llamacpp_draft.memory_bytes(DRAFT, _chosen(**said), FACTS.vocabulary)

    token = sum(DRAFT.kv_heads) * (DRAFT.head_k + DRAFT.head_v) * 2
    assert taken(draft="", draft_tokens=0) == 0
    assert taken(context_length=8192) - taken(context_length=4096) >= 4096 * token
    assert taken(parallel=4) - taken() >= 3 * 512 * token
    # The model's cache may be of another type: the draft's is not.
    assert taken(kv_cache_type="q8_0", flash_attention=True) == taken(flash_attention=True)
    assert taken(draft="ngram") < 32 * 1024**2


class Model:
    """Needs `step` milliseconds for a token and `more` for each beside it; a draft model takes `guess` for each guess.

    Half of its guesses are right.
    """

    def __init__(self, step: float, more: float, guess: float = 0.0, *, forgetful: bool = False) -> None:
        self.step = step
        self.more = more
        self.guess = guess
        self.forgetful = forgetful
        self.read: list[int] = []

    def __call__(self, ids: Sequence[int], tokens: int) -> Timings:
        known = next((place for place, (one, two) in enumerate(zip(self.read, ids, strict=False)) if one != two), None)
        known = min(len(self.read), len(ids)) if known is None else known
        new = max(1, len(ids) - (0 if self.forgetful else known))
        self.read = list(ids)
        reading = Timings(prompt_n=new, prompt_ms=self.step + (new - 1) * self.more, predicted_n=tokens)
        if tokens == 1:
            return reading
        guessed, right = tokens, tokens // 2
        steps = tokens - right
        took = steps * self.step + guessed * self.more + (guessed + steps) * self.guess
        reading.predicted_ms, reading.draft_n, reading.draft_n_accepted = took, guessed, right
        return reading


@pytest.mark.parametrize(
    ("model", "size", "cost"),
    [
        pytest.param(Model(10.0, 3.0), 0.0, 0.3, id="nobody's guess"),
        pytest.param(Model(10.0, 3.0, 1.5), 0.1, 0.45, id="the draft model's time counts"),
        pytest.param(Model(10.0, 3.0, 0.5), 0.1, 0.4, id="and at least its share"),
        pytest.param(Model(10.0, 0.0), 0.1, 0.11, id="a token that is tried costs something"),
    ],
)
def test_what_a_guess_costs_is_measured(model: Model, size: float, cost: float) -> None:
    assert llamacpp_draft.cost(model, 4, size=size) == pytest.approx(cost)


def test_a_model_that_reads_everything_again_tells_nothing_of_it() -> None:
    assert llamacpp_draft.cost(Model(10.0, 3.0, forgetful=True), 4, size=0.1) == 0.0


@pytest.mark.parametrize(("slots", "refused"), [([], False), ([{"speculative": True}], False), ([{"id": 0}], True)])
def test_the_engine_says_whether_it_guesses(slots: list[dict[str, Any]], refused: bool) -> None:
    assert llamacpp_draft.refused(slots) is refused
