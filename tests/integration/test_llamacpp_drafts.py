"""Guessing ahead in a real child: the same text as without it, counted; and drafts that the engine would not use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from a3s_power.core.events import Done, Text
from a3s_power.core.model import ModelFiles
from a3s_power.runner.frames import Embed
from a3s_power.runner.process import RunnerProcess
from tests.models import tiny_llama
from tests.runners import answer, events, load_options, loaded, raw, spawned
from tests.shared import shared_file

pytestmark = pytest.mark.anyio

STORY = "Once upon a time, there was a little girl"
ENDLESS = "<|im_start|>user\nRepeat la forever.<|im_end|>\n<|im_start|>assistant\n"
NGRAM: Final[dict[str, Any]] = {"draft": "ngram", "draft_tokens": 8}


@asynccontextmanager
async def drafted(scratch: Path, weights: Path, draft: Path, **options: Any) -> AsyncIterator[RunnerProcess]:
    """A child in which `draft` guesses for `weights`."""
    async with spawned("llamacpp", scratch) as runner:
        files = ModelFiles(weights=str(weights), draft=str(draft))
        await runner.load(files, load_options(**{"parallel": 1, "draft": "model", "draft_tokens": 4} | options))
        yield runner


def stories(kind: str) -> Path:
    return shared_file(f"models/stories260K/stories260K-{kind}.gguf")


async def _with_everything(runner: RunnerProcess) -> dict[str, Any]:
    """An answer's text, token ids and log-probabilities; one that a text stops; and one longer than the context."""
    asked = raw(STORY, num_predict=80, top_logprobs=2)
    said = [event for event in await events(runner, asked) if isinstance(event, Text)]
    *_, done = await events(runner, msgspec.structs.replace(raw(STORY, num_predict=40), want_context=True))
    assert isinstance(done, Done)
    stopped, _ = await answer(runner, raw(STORY, num_predict=80, stop=(" park",)))
    long, _ = await answer(runner, raw(STORY, num_predict=300))
    entries = [entry for event in said for entry in event.logprobs]
    return {
        "text": "".join(event.text for event in said),
        "tokens": [(entry.said.bytes, round(entry.said.logprob, 1)) for entry in entries],
        "top": [len(entry.top) for entry in entries],
        "context": done.context,
        "stopped": stopped,
        "long": long,
    }


async def test_a_draft_model_changes_nothing_but_the_steps(tmp_path: Path) -> None:
    options: dict[str, Any] = {"context_length": 256, "parallel": 1, "flash_attention": True}
    async with loaded("llamacpp", tmp_path, stories("F32"), **options) as runner:
        alone = await _with_everything(runner)
    async with drafted(tmp_path, stories("F32"), stories("Q8_0"), **options) as runner:
        assert await _with_everything(runner) == alone
        _, done = await answer(runner, raw(STORY, num_predict=80))
        told = runner.loaded
    assert 0 < done.usage.accepted_tokens <= done.usage.draft_tokens
    assert done.usage.output_tokens == 80
    assert told is not None
    assert (told.draft, told.note) == ("model", "")
    assert 0 < told.draft_cost < 100


async def test_guesses_from_earlier_text_change_nothing_but_the_steps(tmp_path: Path) -> None:
    async with loaded("llamacpp", tmp_path) as runner:
        alone, done = await answer(runner, raw(ENDLESS, num_predict=120))
        assert (done.usage.draft_tokens, done.usage.accepted_tokens) == (0, 0)
    async with loaded("llamacpp", tmp_path, batch=2, **NGRAM) as runner:
        (one, done), (two, _) = await asyncio.gather(*[answer(runner, raw(ENDLESS, num_predict=120)) for _ in range(2)])
    assert one == two == alone
    assert 60 < done.usage.accepted_tokens <= done.usage.draft_tokens
    assert done.usage.output_tokens == 120


async def test_a_draft_with_another_vocabulary_is_not_loaded_and_it_is_said(tmp_path: Path) -> None:
    tiny = tmp_path / "tiny.gguf"
    tiny_llama(tiny)
    async with loaded("llamacpp", tmp_path, tiny, parallel=1) as runner:
        alone = await answer(runner, raw("x", num_predict=8))
        without = runner.loaded
    async with drafted(tmp_path, tiny, stories("Q8_0")) as runner:
        text, done = await answer(runner, raw("x", num_predict=8))
        told = runner.loaded
    assert (text, done.usage.draft_tokens) == (alone[0], 0)
    assert told is not None
    assert without is not None
    assert (told.draft, told.memory_bytes) == ("", without.memory_bytes)
    assert told.note.startswith("draft model not used: its vocabulary ")


async def test_nothing_is_guessed_where_texts_are_embedded(tmp_path: Path) -> None:
    async with loaded("llamacpp", tmp_path, embedding=True, **NGRAM) as runner:
        assert len((await runner.embed(Embed(texts=("a",)))).rows) == 1
        assert runner.loaded is not None
        assert runner.loaded.draft == ""
