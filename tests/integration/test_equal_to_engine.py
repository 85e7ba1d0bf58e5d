"""What a client gets is what the bare engine says: token for token, vector for vector, on real small models."""

import json
import struct
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.events import Text
from a3s_power.runner.frames import Embed
from tests import llama_server
from tests.bare import bare
from tests.runners import answer, events, loaded, raw
from tests.shared import BUILTIN_MODEL, shared_file

pytestmark = pytest.mark.anyio

_CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
QUESTIONS = [
    *("Hello", "What is 3+4?", "Count to 5.", "Repeat la forever.", "Spell the word apple.", "Who are you?"),
    *("What is the capital of France?", "Say hi.", "Copy: xyzzy", "What colour is the sky?", "12+12", "é 👍 ü"),
    *("My name is Anna.", "Is 4 more than 9?", "", "Tell me a joke.", "{", "<think>", "a" * 200, "What is JSON?"),
]
STORIES = [
    *("Once upon a time", "Lily had a", "The dog", "One day,", "", " ", "Tom and", "It was", "He said", "Mom"),
    *("She was very", "The sun", "In the", "A big", "They", '"Hello"', "The little girl", "12 34", "é👍", "Ben"),
]


def _greedy(prompts: list[str], limit: int) -> list[tuple[str, dict[str, Any]]]:
    fixed = {"temperature": 0, "top_k": 40, "top_p": 0.9, "min_p": 0, "repeat_penalty": 1.0, "n_predict": limit}
    return [("completions", {"prompt": prompt} | fixed) for prompt in prompts]


@pytest.mark.parametrize("name", ["power-tiny", "stories260K"])
async def test_greedy_answers_are_the_engines_own(tmp_path: Path, name: str) -> None:
    if name == "power-tiny":
        weights, prompts = BUILTIN_MODEL, [_CHAT.format(question) for question in QUESTIONS]
    else:
        weights, prompts = shared_file("models/stories260K/stories260K-F16.gguf"), STORIES
    # One after another, in one slot, with the same settings: another shape may tip the scale between near equals.
    expected = bare(tmp_path, weights, _greedy(prompts, 60), n_ctx=512, n_batch=128, n_ubatch=128, cache_ram_mib=0)
    async with loaded("llamacpp", tmp_path, weights, parallel=1, flash_attention=False) as runner:
        for prompt, said in zip(prompts, expected, strict=True):
            text, done = await answer(runner, raw(prompt, num_predict=60))
            assert text == said["choices"][0]["text"], prompt
            assert done.usage.output_tokens == said["usage"]["completion_tokens"], prompt
            assert done.usage.prompt_tokens == said["usage"]["prompt_tokens"], prompt


SAMPLED: list[dict[str, Any]] = [
    {},
    {"typical_p": 0.3},
    {"mirostat": 2, "mirostat_tau": 1.0, "mirostat_eta": 0.3},
    {"dry_multiplier": 2.0, "dry_base": 1.2, "dry_allowed_length": 1, "dry_sequence_breakers": ("x",)},
    {"xtc_probability": 1.0, "xtc_threshold": 0.01},
    {"top_n_sigma": 0.5},
    {"dynatemp_range": 1.0, "dynatemp_exponent": 2.0},
    {"adaptive_target": 0.3, "adaptive_decay": 0.5, "samplers": ("top_k", "adaptive_p")},
    {"min_keep": 5, "top_p": 0.01},
    {"samplers": ("temperature",), "temperature": 1.0},
    {"repeat_penalty": 1.8, "repeat_last_n": 32},
    {"presence_penalty": 1.5, "frequency_penalty": 1.5},
    {"min_p": 0.4, "top_k": 3},
]


async def test_every_sampler_chooses_as_the_engines_own(tmp_path: Path) -> None:
    prompt = _CHAT.format("Repeat la forever.")
    fixed = {"top_k": 40, "top_p": 0.9, "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0, "repeat_last_n": 64}
    fixed |= {"temperature": 1.8, "seed": 7, "ignore_eos": True}
    calls = [("completions", {"prompt": prompt, "n_predict": 24} | fixed | options) for options in SAMPLED]
    said = bare(tmp_path, BUILTIN_MODEL, calls, n_ctx=512, n_batch=128, n_ubatch=128, cache_ram_mib=0)
    async with loaded("llamacpp", tmp_path, parallel=1, flash_attention=False) as runner:
        ours = [
            (await answer(runner, raw(prompt, **({"num_predict": 24} | fixed | options))))[0] for options in SAMPLED
        ]
    assert ours == [each["choices"][0]["text"] for each in said]
    assert all(text != ours[0] for text in ours[1:])


async def test_log_probabilities_are_the_engines_own(tmp_path: Path) -> None:
    prompts = [_CHAT.format(question) for question in QUESTIONS[:6]]
    calls = [(method, body | {"n_probs": 5}) for method, body in _greedy(prompts, 12)]
    expected = bare(tmp_path, BUILTIN_MODEL, calls, n_ctx=512, n_batch=128, n_ubatch=128, cache_ram_mib=0)
    async with loaded("llamacpp", tmp_path, parallel=1, flash_attention=False) as runner:
        for prompt, said in zip(prompts, expected, strict=True):
            told = await events(runner, raw(prompt, num_predict=12, top_logprobs=5))
            entries = [entry for event in told if isinstance(event, Text) for entry in event.logprobs]
            wanted = said["choices"][0]["logprobs"]["content"]
            assert [list(entry.said.bytes) for entry in entries] == [each["bytes"] for each in wanted]
            assert [entry.said.logprob for entry in entries] == pytest.approx(
                [min(each["logprob"], 0.0) for each in wanted], abs=1e-4
            )
            assert all(len(entry.top) == 5 for entry in entries)


async def test_vectors_are_the_engines_own_together_or_alone(tmp_path: Path) -> None:
    weights = shared_file("models/minilm/all-MiniLM-L6-v2-F16.gguf")
    texts = json.loads(shared_file("models/minilm/expected.json").read_text())["texts"]
    calls = [("embeddings", {"input": texts, "encoding_format": "base64", "embd_normalize": 2})]
    (said,) = bare(tmp_path, weights, calls, embedding=True, n_ctx=512, n_batch=512, n_ubatch=512)
    expected = [struct.unpack("<384f", b64decode(each["embedding"])) for each in said["data"]]
    async with loaded(
        "llamacpp", tmp_path, weights, parallel=1, embedding=True, batch=None, flash_attention=False
    ) as runner:
        together = await runner.embed(Embed(texts=tuple(texts)))
        alone = [(await runner.embed(Embed(texts=(text,)))).rows[0] for text in texts]
    for ours, single, theirs in zip(together.rows, alone, expected, strict=True):
        # One that was built for another processor adds up in another order.
        near = pytest.approx(theirs, abs=3e-4 if llama_server.REAL else 1e-5)
        assert ours == near
        assert single == near
    assert together.prompt_tokens == said["usage"]["prompt_tokens"]
