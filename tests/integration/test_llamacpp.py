"""The real engine in a real child: answers, limits, refusals, vectors, and the traps it sets."""

import asyncio
import json
import math
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.errors import BadFile, EngineRefused, LoadFailed, OutOfMemory, PromptTooLong
from a3s_power.core.events import Text
from a3s_power.core.model import ModelFiles
from a3s_power.gguf.writer import Writable
from a3s_power.hardware import memory
from a3s_power.runner.frames import Embed
from tests.models import CONTEXT, tiny_llama
from tests.runners import answer, events, load_options, loaded, raw, spawned
from tests.shared import BUILTIN_MODEL, shared_file

pytestmark = pytest.mark.anyio

HELLO = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
ENDLESS = "<|im_start|>user\nRepeat la forever.<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A model that never ends an answer by itself, with a SentencePiece vocabulary that adds BOS."""
    path = tmp_path / "tiny.gguf"
    tiny_llama(path)
    return path


async def test_the_built_in_model_answers_as_recorded(tmp_path: Path) -> None:
    cases = json.loads(shared_file("models/power-tiny/expected.json").read_text())["cases"]
    async with loaded("llamacpp", tmp_path, context_length=2048, parallel=1) as runner:
        for case in cases:
            text, done = await answer(runner, raw(case["prompt"], num_predict=200))
            assert text == case["Q8_0"], case["name"]
            assert done.usage.prompt_tokens == case["prompt_tokens"]


@pytest.mark.parametrize(("kind", "letters"), [("F32", None), ("F16", None), ("Q8_0", 24), ("Q4_0", 24)])
async def test_every_weights_type_gives_the_recorded_text(tmp_path: Path, kind: str, letters: int | None) -> None:
    recorded = json.loads(shared_file("models/stories260K/expected.json").read_text())
    weights = shared_file(f"models/stories260K/stories260K-{kind}.gguf")
    # Between near equals the choice depends on the way scores are computed: this is the one of the recording. With
    # quantised weights it depends on the processor, too, so of those only the beginning is the same everywhere.
    async with loaded("llamacpp", tmp_path, weights, parallel=1, flash_attention=True) as runner:
        for case in recorded["cases"]:
            text, done = await answer(runner, raw(case["prompt"], num_predict=recorded["n_predict"]))
            assert text[:letters] == case["outputs"][weights.name][:letters]
            assert done.usage.prompt_tokens == len(case["prompt_ids"])


async def test_usage_counts_and_times(tmp_path: Path) -> None:
    async with loaded("llamacpp", tmp_path, parallel=1) as runner:
        _, first = await answer(runner, raw(HELLO))
        _, again = await answer(runner, raw(HELLO))
    assert first.reason == "stop"
    assert (first.usage.prompt_tokens, first.usage.cached_tokens) == (9, 0)
    assert (again.usage.prompt_tokens, again.usage.cached_tokens) == (9, 8)
    assert first.usage.output_tokens > 5
    assert min(first.usage.prompt_ns, first.usage.output_ns) > 1000


async def test_slots_answer_side_by_side_each_its_own(tmp_path: Path) -> None:
    async with loaded("llamacpp", tmp_path, parallel=4) as runner:
        words = ["apple", "river", "seven", "green", "stone", "paper", "cloud", "music"]
        prompts = [f"<|im_start|>user\nSay {word}.<|im_end|>\n<|im_start|>assistant\n" for word in words]
        alone = [(await answer(runner, raw(prompt, num_predict=40)))[0] for prompt in prompts]
        together = await asyncio.gather(*(answer(runner, raw(prompt, num_predict=40)) for prompt in prompts))
    assert [text for text, _ in together] == alone
    assert len(set(alone)) > 1


# Limits and stops.


@pytest.mark.parametrize(("asked", "tokens"), [(1, 1), (7, 7)])
async def test_an_answer_ends_at_its_limit(tmp_path: Path, tiny: Path, asked: int, tokens: int) -> None:
    async with loaded("llamacpp", tmp_path, tiny) as runner:
        _, done = await answer(runner, raw("x", num_predict=asked))
        assert (done.reason, done.usage.output_tokens) == ("length", tokens)


@pytest.mark.parametrize("asked", [-1, -2, -1000])
async def test_a_negative_limit_is_none_but_ten_contexts(tmp_path: Path, tiny: Path, asked: int) -> None:
    async with loaded("llamacpp", tmp_path, tiny, context_length=256) as runner:
        _, done = await answer(runner, raw("x", num_predict=asked))
        assert (done.reason, done.usage.output_tokens) == ("length", 2560)


async def test_without_shift_a_full_context_ends_the_answer(tmp_path: Path, tiny: Path) -> None:
    async with loaded("llamacpp", tmp_path, tiny, context_length=256, shift=False) as runner:
        _, done = await answer(runner, raw("x"))
        assert done.reason == "length"
        assert done.usage.prompt_tokens + done.usage.output_tokens == 256


@pytest.mark.parametrize("empty", [("",), ("", "", "no such text")])
async def test_an_empty_stop_text_does_not_end_the_answer(tmp_path: Path, empty: tuple[str, ...]) -> None:
    async with loaded("llamacpp", tmp_path) as runner:
        assert (await answer(runner, raw(HELLO, stop=empty)))[0] == "Hello! How can I help you?"


async def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(tmp_path: Path) -> None:
    async with loaded("llamacpp", tmp_path) as runner:
        text, done = await answer(runner, raw(HELLO, stop=("can I", "elp")))
        assert (text, done.reason) == ("Hello! How ", "stop")


@pytest.mark.parametrize(
    "odd",
    [
        {"temperature": 1e30},
        {"temperature": -1.0},
        {"top_k": -5},
        {"top_k": 2**31 - 1},
        {"top_p": -1.0},
        {"min_p": 2.0},
        {"typical_p": -1.0},
        {"repeat_last_n": -1},
        {"repeat_last_n": -(2**31)},
        {"repeat_last_n": 2**31 - 1},
        {"presence_penalty": 3e38},
        {"num_keep": -(2**31)},
        {"num_keep": 2**31 - 1},
        {"seed": -(2**63)},
        {"seed": 2**63 - 1},
        {"mirostat": 99, "mirostat_tau": -1.0, "mirostat_eta": 1e30},
    ],
    ids=str,
)
async def test_odd_values_harm_nobody(tmp_path: Path, tiny: Path, odd: dict[str, Any]) -> None:
    async with loaded("llamacpp", tmp_path, tiny) as runner:
        _, done = await answer(runner, raw("x", num_predict=3, **odd))
        assert done.usage.output_tokens == 3


async def test_a_seed_makes_chance_repeatable(tmp_path: Path, tiny: Path) -> None:
    async with loaded("llamacpp", tmp_path, tiny, parallel=1) as runner:
        texts = [(await answer(runner, raw("x", temperature=1.5, num_predict=20, seed=s)))[0] for s in (1, 1, 2)]
        assert texts[0] == texts[1] != texts[2]


async def test_log_probabilities_come_with_their_pieces(tmp_path: Path) -> None:
    async with loaded("llamacpp", tmp_path) as runner:
        for wanted in (0, 2):
            *pieces, _ = await events(runner, raw(HELLO, num_predict=3, top_logprobs=wanted))
            assert [piece.text for piece in pieces if isinstance(piece, Text)] == ["Hello", "!", " How"]
            for piece in pieces:
                assert isinstance(piece, Text)
                (token,) = piece.logprobs
                assert (token.said.token, token.said.bytes) == (piece.text, piece.text.encode())
                assert token.said.logprob <= 0
                assert len(token.top) == wanted
                assert sorted(token.top, key=lambda one: -one.logprob) == list(token.top)


# Prompts.


async def test_a_prompt_over_the_context_is_refused_with_both_numbers(tmp_path: Path, tiny: Path) -> None:
    async with loaded("llamacpp", tmp_path, tiny, context_length=256) as runner:
        with pytest.raises(PromptTooLong) as caught:
            await events(runner, raw("x" * 300, truncate=False))
        detail = json.loads(caught.value.message)["error"]
        assert (detail["n_prompt_tokens"], detail["n_ctx"]) == (302, 256)
        assert detail["type"] == "exceed_context_size_error"


async def test_a_beginning_that_the_engine_adds_is_not_there_twice(tmp_path: Path, tiny: Path) -> None:
    async with loaded("llamacpp", tmp_path, tiny) as runner:
        _, with_it = await answer(runner, raw("<s>Once", num_predict=1))
        _, without = await answer(runner, raw("Once", num_predict=1))
        assert with_it.usage.prompt_tokens == without.usage.prompt_tokens == 6


async def test_tokens_and_texts_turn_into_each_other(tmp_path: Path) -> None:
    async with loaded("llamacpp", tmp_path) as runner:
        tokens = await runner.tokenize("<|im_start|>user\nHow är you? 👍")
        assert tokens[0] == (await runner.tokenize("<|im_start|>"))[0]
        assert await runner.detokenize(tokens) == "<|im_start|>user\nHow är you? 👍"
        assert await runner.tokenize("") == ()
        assert await runner.detokenize(()) == ""


@pytest.mark.parametrize("token", [-1, 1536, 2**31 - 1, 2**40])
async def test_a_token_outside_the_vocabulary_is_refused(tmp_path: Path, token: int) -> None:
    async with loaded("llamacpp", tmp_path) as runner:
        with pytest.raises(EngineRefused, match="Prompt contains invalid tokens"):
            await runner.detokenize((1, token))
        assert (await answer(runner, raw(HELLO)))[0] == "Hello! How can I help you?"


# Vectors.


@pytest.mark.parametrize(("kind", "within"), [("F16", 3e-4), ("Q8_0", 7e-3)])
async def test_vectors_are_those_of_the_reference(tmp_path: Path, kind: str, within: float) -> None:
    recorded = json.loads(shared_file("models/minilm/expected.json").read_text())
    weights = shared_file(f"models/minilm/all-MiniLM-L6-v2-{kind}.gguf")
    # Not asked for as an embedding model: an encoder always is one, and would abort otherwise.
    async with loaded("llamacpp", tmp_path, weights, embedding=False) as runner:
        vectors = await runner.embed(Embed(texts=tuple(recorded["texts"])))
    for row, first in zip(vectors.rows, recorded["reference_first8"], strict=True):
        assert len(row) == recorded["dimensions"]
        assert math.hypot(*row) == pytest.approx(1.0, abs=1e-5)
        assert row[:8] == pytest.approx(first, abs=within)


async def test_vectors_may_keep_their_length(tmp_path: Path) -> None:
    weights = shared_file("models/minilm/all-MiniLM-L6-v2-Q8_0.gguf")
    async with loaded("llamacpp", tmp_path, weights) as runner:
        (long,) = (await runner.embed(Embed(texts=("hello",), normalize=False))).rows
        (unit,) = (await runner.embed(Embed(texts=("hello",)))).rows
    assert math.hypot(*long) > 2
    assert [value / math.hypot(*long) for value in long] == pytest.approx(unit, abs=1e-5)


async def test_texts_over_the_context_are_cut_before_their_last_token_or_refused(tmp_path: Path) -> None:
    weights = shared_file("models/minilm/all-MiniLM-L6-v2-Q8_0.gguf")
    async with loaded("llamacpp", tmp_path, weights, context_length=256) as runner:
        exact = await runner.embed(Embed(texts=("world " * 254,), truncate=False))
        cut = await runner.embed(Embed(texts=("world " * 999, "short")))
        assert exact.prompt_tokens == 256
        assert cut.prompt_tokens == 256 + 3
        assert cut.rows[0] == pytest.approx(exact.rows[0], abs=1e-5)
        with pytest.raises(PromptTooLong, match="the input length exceeds the context length"):
            await runner.embed(Embed(texts=("short", "world " * 255), truncate=False))


async def test_a_chat_model_embeds_when_loaded_for_it(tmp_path: Path) -> None:
    async with loaded("llamacpp", tmp_path, embedding=True) as runner:
        vectors = await runner.embed(Embed(texts=("a cat", "a cat", "the number nine")))
    assert vectors.rows[0] == pytest.approx(vectors.rows[1], abs=1e-4)
    assert vectors.rows[0] != pytest.approx(vectors.rows[2], abs=1e-2)
    assert len(vectors.rows[0]) == 256


async def test_a_chat_model_does_not_embed_otherwise(tmp_path: Path) -> None:
    async with loaded("llamacpp", tmp_path) as runner:
        with pytest.raises(EngineRefused, match="does not support embeddings"):
            await runner.embed(Embed(texts=("a cat",)))


# Loads.


async def test_the_context_is_what_the_engine_gives_and_not_what_was_asked(tmp_path: Path, tiny: Path) -> None:
    for asked, given in ((100, 256), (256, 256), (300, 512), (10**6, CONTEXT)):
        async with loaded("llamacpp", tmp_path, tiny, context_length=asked, parallel=3) as runner:
            assert runner.loaded is not None
            assert (runner.loaded.context_length, runner.loaded.parallel) == (given, 3)


async def test_memory_is_estimated_near_what_the_child_takes(tmp_path: Path) -> None:
    async with loaded("llamacpp", tmp_path, context_length=2048, parallel=4) as runner:
        await answer(runner, raw(ENDLESS, num_predict=100))
        assert runner.loaded is not None
        assert 0.5 < runner.loaded.memory_bytes / memory.resident(runner.pid) < 2


async def test_a_load_tells_how_far_it_is_although_python_stands_still(tmp_path: Path) -> None:
    seen = list[float]()
    async with spawned("llamacpp", tmp_path) as runner:
        await runner.load(ModelFiles(weights=str(BUILTIN_MODEL)), load_options(), seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    # More than our own last word: the engine's, read from what it prints.
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"general.architecture": "xxxxx"}, "unknown model architecture: 'xxxxx'"),
        ({"llama.block_count": 9}, "tensor 'blk.2.attn_norm.weight' not found"),
        ({"llama.attention.head_count_kv": 3}, "attn"),
    ],
    ids=str,
)
async def test_a_file_that_the_engine_refuses_says_why(
    tmp_path: Path, changed: dict[str, Writable], reason: str
) -> None:
    path = tmp_path / "odd.gguf"
    tiny_llama(path, key_values=changed)
    async with spawned("llamacpp", tmp_path) as runner:
        with pytest.raises(LoadFailed, match=f"llama.cpp could not load the model: .*{re.escape(reason)}"):
            await runner.load(ModelFiles(weights=str(path)), load_options())


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"GGUF"])
async def test_a_file_that_is_no_model_never_reaches_the_engine(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    async with spawned("llamacpp", tmp_path) as runner:
        with pytest.raises(BadFile):
            await runner.load(ModelFiles(weights=str(path)), load_options())


async def test_a_file_that_is_not_there_fails_the_load(tmp_path: Path) -> None:
    async with spawned("llamacpp", tmp_path) as runner:
        with pytest.raises(LoadFailed, match="No such file"):
            await runner.load(ModelFiles(weights=str(tmp_path / "none.gguf")), load_options())


async def test_a_context_beyond_all_memory_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "long.gguf"
    tiny_llama(path, key_values={"llama.context_length": 2**30})
    async with spawned("llamacpp", tmp_path) as runner:
        with pytest.raises(OutOfMemory, match=r"model requires more memory \(.+ GB\) than this machine has \(.+ GB\)"):
            await runner.load(ModelFiles(weights=str(path)), load_options(context_length=2**30, parallel=1))


@pytest.mark.parametrize(
    "options",
    [
        {"kv_cache_type": "q8_0"},
        {"kv_cache_type": "f32", "flash_attention": False},
        {"flash_attention": True},
        {"use_mmap": False},
        {"use_mmap": True, "use_mlock": True},
        {"threads": 2, "threads_batch": 2},
        {"main_gpu": 0},
        {"tensor_split": (1.0, 2.0)},
        {"gpu_layers": 0},
        {"gpu_reserve": 2**30},
        {"prompt_cache_mib": 16},
        {"batch": 32},
        {"batch": None},
        {"shift": False},
    ],
    ids=str,
)
async def test_the_engine_takes_every_option_of_a_load(tmp_path: Path, options: dict[str, Any]) -> None:
    async with loaded("llamacpp", tmp_path, **options) as runner:
        assert (await answer(runner, raw(HELLO)))[0] == "Hello! How can I help you?"


async def test_an_adapter_changes_the_answers(tmp_path: Path) -> None:
    adapter = shared_file("models/power-tiny/power-tiny-lora-arr.gguf")
    files = ModelFiles(
        weights=str(shared_file("models/power-tiny/power-tiny-F16.gguf")), adapters=((str(adapter), 1.0),)
    )
    async with spawned("llamacpp", tmp_path) as runner:
        await runner.load(files, load_options())
        assert (await answer(runner, raw(HELLO)))[0].startswith("ARR ")


# The listener that cannot be switched off.


async def test_the_engine_listens_on_no_port_and_behind_a_closed_folder(tmp_path: Path) -> None:
    async with loaded("llamacpp", tmp_path) as runner:
        own = opened(runner.pid)
        for table in ("tcp", "tcp6", "udp", "udp6"):
            rows = Path(f"/proc/{runner.pid}/net/{table}").read_text().splitlines()[1:]
            assert own.isdisjoint(f"socket:[{row.split()[9]}]" for row in rows)
        (path,) = tmp_path.rglob("*.sock")
        folders = (path.parent, *path.parent.parents)
        closed = [folder for folder in folders if stat.S_IMODE(folder.stat().st_mode) == 0o700]
        assert closed[0] == path.parent
    assert list(tmp_path.rglob("*.sock")) == []


def opened(pid: int) -> set[str]:
    """What a process has open; it may close a file, such as one that it imports, while it is looked at."""
    found: set[str] = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return found
