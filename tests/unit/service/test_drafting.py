"""Who guesses ahead for which model, by its Modelfile and by the operator; and what of it is remembered."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from a3s_power.core.errors import BadConfig, InvalidName, ModelNotFound
from a3s_power.core.model import Facts, Model
from a3s_power.core.names import ModelName
from a3s_power.core.usage import Usage
from a3s_power.engines.llamacpp_params import MOST_GUESSED
from a3s_power.gguf.facts import facts
from a3s_power.gguf.reader import read_header
from a3s_power.scheduler.drafts import DRAFT_TOKENS, NGRAM_TOKENS, NO_DRAFT, TRIAL_TOKENS, Drafting
from a3s_power.scheduler.need import Need
from a3s_power.service.drafting import Drafts, said
from tests.models import tiny_llama
from tests.scheduling import FACTS, a_model


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drafts") / "small.gguf"
    tiny_llama(path)
    return path


def _drafts(*words: str, small: Path | None = None, file: Path | None = None) -> Drafts:
    def read(name: ModelName) -> Model:
        if name.model != "small" or small is None:
            raise ModelNotFound(name.short)
        model = a_model("small")
        return msgspec.structs.replace(model, files=msgspec.structs.replace(model.files, weights=str(small)))

    return Drafts(said(words), read, file)


def _found(
    drafts: Drafts, name: str = "a", *, tokens: int | None = None, facts: Facts = FACTS, **more: Any
) -> Drafting:
    embedding = more.pop("embedding", False)
    model = drafts.equipped(a_model(name, facts=facts, **more))
    need = Need(model=model, embedding=embedding)
    return drafts.of(
        msgspec.structs.replace(need, options=msgspec.structs.replace(need.options, draft_num_predict=tokens))
    )


def test_nobody_guesses_where_nobody_asked() -> None:
    assert _found(_drafts()) is NO_DRAFT
    assert _found(_drafts("b=ngram")) is NO_DRAFT


@pytest.mark.parametrize("words", [["ngram"], ["a=ngram"], ["ngram", "b=none"], ["none", "a=ngram"]])
def test_the_operator_has_text_guessed_for_one_model_or_for_all(words: list[str]) -> None:
    found = _found(_drafts(*words))
    assert (found.kind, found.tokens, found.note) == ("ngram", NGRAM_TOKENS, "")


@pytest.mark.parametrize(("asked", "tokens"), [(None, DRAFT_TOKENS), (7, 7), (-1, DRAFT_TOKENS), (10**9, MOST_GUESSED)])
def test_the_modelfiles_draft_guesses_as_many_as_are_asked_for(small: Path, asked: int | None, tokens: int) -> None:
    found = _found(_drafts(), draft=str(small), tokens=asked)
    assert (found.kind, found.tokens, found.facts) == ("model", tokens, facts(read_header(small)))


@pytest.mark.parametrize("words", [["a=none"], ["none"], []])
def test_a_draft_can_be_left_out_by_the_operator_or_a_request(small: Path, words: list[str]) -> None:
    assert _found(_drafts(*words), draft=str(small), tokens=None if words else 0) is NO_DRAFT


def test_nothing_is_guessed_for_embeddings(small: Path) -> None:
    assert _found(_drafts("ngram"), draft=str(small), embedding=True) is NO_DRAFT


def test_the_operators_draft_model_stands_in_for_the_modelfiles(small: Path, tmp_path: Path) -> None:
    drafts = _drafts("a=small", small=small)
    model = drafts.equipped(a_model("a", draft=str(tmp_path / "own.gguf")))
    assert model.files.draft == str(small)
    assert drafts.of(Need(model=model)).kind == "model"


@pytest.mark.parametrize(
    ("words", "draft", "reads"),
    [
        ([], "", False),
        (["ngram"], "", False),
        (["none"], "", False),
        ([], "d", True),
        (["none"], "d", True),
        (["a=b"], "", True),
    ],
)
def test_files_are_read_only_where_there_may_be_a_draft_model(words: list[str], draft: str, reads: bool) -> None:
    drafts, model = _drafts(*words), a_model("a", draft=draft)
    assert drafts.reads(model) is reads
    assert reads or drafts.equipped(model) is model


def test_a_draft_model_that_is_not_there_is_told_and_found_once_it_is(tmp_path: Path) -> None:
    path = tmp_path / "late.gguf"
    drafts = _drafts()
    assert _found(drafts, draft=str(path)).note == f"draft model not used: there is no {path}"
    assert _found(_drafts("a=small")).note == "draft model not used: there is no small"
    tiny_llama(path)
    assert _found(drafts, draft=str(path)).kind == "model"


def test_what_is_too_large_is_told_and_what_repeats_is_guessed_instead_where_that_is_asked_for(small: Path) -> None:
    light = msgspec.structs.replace(FACTS, weights_bytes=small.stat().st_size)
    assert "5 times smaller" in _found(_drafts(), draft=str(small), facts=light).note
    assert _found(_drafts("ngram"), draft=str(small), facts=light).kind == "ngram"


def _by(found: Drafting) -> Need:
    return Need(model=a_model("a"), drafting=found)


def _answers(drafts: Drafts, found: Drafting, *, right: int, of: int, cost: float) -> None:
    """Answers until they are judged."""
    for _ in range(0, TRIAL_TOKENS + of, of):
        drafts.measured(_by(found), cost, Usage(output_tokens=2 * of, draft_tokens=of, accepted_tokens=right))


def test_guessing_that_does_not_pay_ends_and_stays_ended(tmp_path: Path) -> None:
    file = tmp_path / "drafts.json"
    drafts = _drafts("ngram", file=file)
    found = _found(drafts)
    drafts.measured(_by(found), 0.5, Usage(output_tokens=500, draft_tokens=TRIAL_TOKENS - 1, accepted_tokens=0))
    assert _found(drafts).kind == "ngram"
    drafts.measured(_by(found), 0.5, Usage(output_tokens=1, draft_tokens=1, accepted_tokens=0))
    for again in (drafts, _drafts("ngram", file=file)):
        assert (_found(again).kind, "of its speed" in _found(again).note) == ("", True)
        # Another number of tokens is another thing, and so is another model.
        assert _found(again, tokens=3).kind == "ngram"
        assert _found(again, "b").kind == "ngram"


@pytest.mark.parametrize(
    ("right", "cost", "kind"), [(60, 0.5, "ngram"), (40, 0.5, ""), (60, 0.7, ""), (40, 0.3, "ngram")]
)
def test_it_pays_while_more_guesses_are_right_than_one_costs(right: int, cost: float, kind: str) -> None:
    drafts = _drafts("ngram")
    _answers(drafts, _found(drafts), right=right, of=100, cost=cost)
    assert _found(drafts).kind == kind


@pytest.mark.parametrize("word", ["draft", "a=", "=", "=b"])
def test_a_word_that_says_nothing_is_refused(word: str) -> None:
    with pytest.raises(BadConfig, match="drafts: "):
        said([word])


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidName):
        said(["a=b c"])
