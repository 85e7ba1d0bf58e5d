"""The shortest engine keeps the promises of the port."""

import json
from typing import Any

import pytest

from a3s_power.core.errors import EngineRefused, PromptTooLong
from a3s_power.core.model import ModelFiles
from a3s_power.core.options import DEFAULTS
from a3s_power.engines.echo import Echo
from a3s_power.engines.engine import Engine, Job, LoadOptions, Outcome


def _echo(context_length: int = 10) -> Echo:
    echo = Echo()
    echo.load(ModelFiles(weights=""), LoadOptions(context_length=context_length), lambda _: None)
    return echo


def _run(prompt: Any, **job: Any) -> tuple[str, Outcome]:
    said = list[str]()
    outcome = _echo().generate(Job(prompt, DEFAULTS, **job), lambda piece: said.append(piece.text))
    return "|".join(said), outcome


def test_it_is_an_engine() -> None:
    engine: Engine = _echo()
    engine.close()


def test_a_load_is_reported_done() -> None:
    seen = list[float]()
    loaded = Echo().load(ModelFiles(weights=""), LoadOptions(context_length=7, parallel=3), seen.append)
    assert (loaded.context_length, loaded.parallel, seen) == (7, 3, [1.0])


def test_it_counts_words() -> None:
    assert _echo().count(Job("one two  three", DEFAULTS)) == 3
    assert _echo().count(Job([1, 2], DEFAULTS)) == 2


def test_it_says_its_prompt_word_by_word() -> None:
    assert _run("a  b\nc ") == ("a|  b|\nc| ", Outcome(reason="stop", prompt_tokens=4, output_tokens=4))


@pytest.mark.parametrize(("limit", "said"), [(0, ""), (1, "a"), (2, "a| b")])
def test_a_limit_ends_it(limit: int, said: str) -> None:
    text, outcome = _run("a b c", max_tokens=limit)
    assert (text, outcome.reason, outcome.output_tokens) == (said, "length", limit)


def test_an_exact_limit_is_no_limit() -> None:
    assert _run("a b", max_tokens=2)[1].reason == "stop"


@pytest.mark.parametrize(("stop", "said"), [(["b"], "a| "), (["c", "b"], "a| "), ([""], "a| b| c"), (["x"], "a| b| c")])
def test_a_stop_text_ends_it_and_is_not_said(stop: list[str], said: str) -> None:
    text, outcome = _run("a b c", stop=stop)
    assert (text, outcome.reason) == (said, "stop")


def test_a_cancelled_job_says_no_more() -> None:
    job, said = Job("a b c", DEFAULTS), list[str]()

    def emit(piece: Any) -> None:
        said.append(piece.text)
        job.cancelled = True

    assert _echo().generate(job, emit).output_tokens == 1
    assert said == ["a"]


def test_a_prompt_that_fills_the_context_is_refused_before_a_word() -> None:
    with pytest.raises(PromptTooLong) as caught:
        _run(" a" * 10)
    error = json.loads(caught.value.message)["error"]
    assert (error["type"], error["n_prompt_tokens"], error["n_ctx"]) == ("exceed_context_size_error", 10, 10)


def test_tokens_are_words_and_a_prompt_may_be_tokens() -> None:
    echo, said = _echo(), list[str]()
    tokens = echo.tokenize("a b a")
    assert (tokens, echo.detokenize(tokens)) == ([0, 1, 2], "a b a")
    echo.generate(Job(tokens, DEFAULTS), lambda piece: said.append(piece.text))
    assert "".join(said) == "a b a"
    with pytest.raises(EngineRefused):
        echo.detokenize([3])


def test_equal_texts_have_equal_vectors_and_others_others() -> None:
    vectors = _echo().embed(["a b", "c", "a b"], truncate=True, normalize=True)
    assert vectors.rows[0] == vectors.rows[2] != vectors.rows[1]
    assert vectors.prompt_tokens == 5
    assert sum(value**2 for value in vectors.rows[0]) == pytest.approx(1)
    assert sum(value**2 for value in _echo().embed(["c"], truncate=True, normalize=False).rows[0]) > 1.1


def test_a_text_over_the_context_is_cut_or_refused() -> None:
    short = _echo(2).embed(["a b"], truncate=True, normalize=True)
    long = _echo(2).embed(["a b c d"], truncate=True, normalize=True)
    assert (long.rows, long.prompt_tokens, short.cut, long.cut) == (short.rows, short.prompt_tokens, (), (0,))
    with pytest.raises(PromptTooLong):
        _echo(2).embed(["a", "a b c"], truncate=False, normalize=True)


def test_documents_are_scored_by_the_words_they_share_with_the_query() -> None:
    scores = _echo(5).rerank("red cat", ["a red cat", "a red car that is a cat", "dog"], truncate=True)
    assert (scores.logits, scores.truncated) == ((2.0, 0.0, -2.0), (False, True, False))
    with pytest.raises(PromptTooLong):
        _echo(5).rerank("red cat", ["a red car that is a cat"], truncate=False)


@pytest.mark.parametrize(("stop", "told"), [(["c", "b"], "b"), (["x"], ""), ([], "")])
def test_the_stop_text_that_ended_it_is_told(stop: list[str], told: str) -> None:
    outcome = _echo(9).generate(Job("a b c", DEFAULTS, stop=stop), lambda _: None)
    assert outcome.stop_text == told


def test_a_grammar_is_refused_and_not_ignored() -> None:
    with pytest.raises(EngineRefused):
        _echo(9).generate(Job("a b c", DEFAULTS, grammar='root ::= "a"'), lambda _: None)
