"""What a request may say of the choice of tokens, and what it hears of it, on the real engine in a real child."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from a3s_power.core.errors import EngineRefused
from a3s_power.core.events import Done, Event, Text, TokenLogprob
from a3s_power.runner.frames import Run
from a3s_power.runner.process import RunnerProcess
from tests.bare import bare
from tests.runners import answer, events, loaded, raw
from tests.shared import BUILTIN_MODEL

pytestmark = pytest.mark.anyio

COUNT = "<|im_start|>user\nCount to 5.<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    async with loaded("llamacpp", tmp_path, parallel=1) as child:
        yield child


def _biased(*bias: tuple[int, float], **options: Any) -> Run:
    return msgspec.structs.replace(raw(COUNT, **options), logit_bias=bias)


async def test_the_stop_text_that_ended_it_is_told_and_no_other(runner: RunnerProcess) -> None:
    text, stopped = await answer(runner, raw(COUNT, stop=("zzz", "3")))
    assert (text, stopped.reason, stopped.stop_text) == ("1, 2, ", "stop", "3")
    _, ended = await answer(runner, raw(COUNT, stop=("zzz",)))
    assert (ended.reason, ended.stop_text) == ("stop", "")
    _, limited = await answer(runner, raw(COUNT, stop=("3",), num_predict=2))
    assert (limited.reason, limited.stop_text) == ("length", "")


async def test_a_token_can_be_forbidden_or_forced(runner: RunnerProcess) -> None:
    one, two = (await runner.tokenize("1"))[0], (await runner.tokenize("2"))[0]
    plain, _ = await answer(runner, raw(COUNT, num_predict=1))
    assert plain == "1"
    assert (await answer(runner, _biased((one, float("-inf")), num_predict=1)))[0] != "1"
    assert (await answer(runner, _biased((two, 1000.0), num_predict=3)))[0] == "222"
    with pytest.raises(EngineRefused, match="vocabulary"):
        await answer(runner, _biased((10**6, 1.0)))


async def test_a_context_is_the_ids_that_the_engine_read_and_said(runner: RunnerProcess) -> None:
    def wanting(**options: Any) -> Run:
        return msgspec.structs.replace(raw(COUNT, **options), want_context=True)

    async def context(request: Run) -> tuple[int, ...]:
        _, done = await answer(runner, request)
        assert isinstance(done, Done)
        assert done.context is not None
        return done.context

    prompt = await runner.tokenize(COUNT)
    # Forced apart, as no text is ever read: two tokens that are one where a tokenizer sees them together.
    whole = await runner.tokenize("count")
    letters = [(await runner.tokenize(letter))[0] for letter in "count"]
    assert len(whole) < len(letters)
    forced = msgspec.structs.replace(wanting(num_predict=2), logit_bias=((letters[0], 1000.0),))
    assert await context(forced) == (*prompt, letters[0], letters[0])
    text, _ = await answer(runner, raw(COUNT))
    assert await context(wanting()) == (*prompt, *(await runner.tokenize(text)))
    assert await context(wanting(stop=("3",))) == (*prompt, *(await runner.tokenize("1, 2, ")))


async def test_an_answer_can_be_made_to_go_on(runner: RunnerProcess) -> None:
    _, ended = await answer(runner, raw(COUNT, num_predict=60))
    _, forever = await answer(runner, raw(COUNT, num_predict=60, ignore_eos=True))
    assert (ended.reason, forever.reason, forever.usage.output_tokens) == ("stop", "length", 60)


def _entries(said: Sequence[Event]) -> list[TokenLogprob]:
    return [entry for event in said if isinstance(event, Text) for entry in event.logprobs]


@pytest.mark.parametrize(("word", "limit"), [("é", 7), ("\U0001f600", 12), ("\U0001f600", 11)])
async def test_each_part_of_a_split_character_has_its_own_log_probability(
    tmp_path: Path, word: str, limit: int
) -> None:
    """Those of one that the limit cuts off, too: its text is never said, but its tokens were."""
    prompt = f"<|im_start|>user\nRepeat {word} forever.<|im_end|>\n<|im_start|>assistant\n"
    async with loaded("llamacpp", tmp_path, parallel=1, flash_attention=False) as child:
        *said, done = await events(child, raw(prompt, num_predict=limit, top_logprobs=3))
        before, whole = await child.tokenize(prompt), await child.tokenize(f"{word} " * 9)
    entries, ids = _entries(said), whole[:limit]
    assert isinstance(done, Done)
    assert done.usage.output_tokens == len(entries) == limit
    text = "".join(event.text for event in said if isinstance(event, Text))
    assert b"".join(entry.said.bytes for entry in entries).startswith(text.encode())
    # What the bare engine gives for each token behind those before it, all of them in its list.
    fixed = {"n_predict": 1, "temperature": 0, "n_probs": 1536, "logit_bias": [[64, 1e6]]}
    calls = [("completions", {"prompt": [*before, *ids[:place]]} | fixed) for place in range(limit)]
    answers = bare(tmp_path, BUILTIN_MODEL, calls, n_ctx=512, n_batch=128, n_ubatch=128, cache_ram_mib=0)
    for token, entry, told in zip(ids, entries, answers, strict=True):
        likely = told["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        (own,) = [each for each in likely if each["id"] == token]
        assert list(entry.said.bytes) == own["bytes"]
        assert entry.said.logprob == pytest.approx(own["logprob"], abs=0.01)
        assert [list(other.bytes) for other in entry.top] == [each["bytes"] for each in likely[:3]]


async def test_text_held_back_for_a_stop_text_keeps_its_tokens_apart(runner: RunnerProcess) -> None:
    plain = _entries(await events(runner, raw(COUNT, top_logprobs=0)))
    held = _entries(await events(runner, raw(COUNT, top_logprobs=0, stop=("2, 3, 4, 6",))))
    stopped = _entries(await events(runner, raw(COUNT, top_logprobs=0, stop=("3",))))
    assert [entry.said.token for entry in held] == [entry.said.token for entry in plain]
    assert "".join(entry.said.token for entry in stopped) == "1, 2, "
