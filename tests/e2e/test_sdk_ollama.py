"""The official Python client of Ollama against our server: every call, sync and async, streaming and not."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import ollama
import pytest

from tests.served import Served

_SUM = "What is 3 + 4?"
_MESSAGES = [{"role": "user", "content": _SUM}]
_GREEDY = {"temperature": 0}


@pytest.fixture
def client(server: Served) -> Iterator[ollama.Client]:
    """A client of the server."""
    with ollama.Client(host=server.url) as opened:
        yield opened


@pytest.fixture
async def async_client(server: Served) -> AsyncIterator[ollama.AsyncClient]:
    """An asynchronous client of the server."""
    async with ollama.AsyncClient(host=server.url) as opened:
        yield opened


def test_a_chat_is_answered(client: ollama.Client) -> None:
    answer = client.chat("power-tiny", _MESSAGES, think=False, options=_GREEDY)
    assert "7" in (answer.message.content or "")
    assert (answer.done, answer.done_reason, answer.message.role) == (True, "stop", "assistant")
    counts = (answer.prompt_eval_count, answer.eval_count, answer.total_duration, answer.eval_duration)
    assert all(count is not None and count > 0 for count in counts)


def test_a_streamed_chat_says_the_same_piece_by_piece(client: ollama.Client) -> None:
    whole = client.chat("power-tiny", _MESSAGES, think=False, options=_GREEDY)
    pieces = list(client.chat("power-tiny", _MESSAGES, think=False, options=_GREEDY, stream=True))
    assert "".join(piece.message.content or "" for piece in pieces) == whole.message.content
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_thinking_comes_apart_from_the_answer(client: ollama.Client) -> None:
    answer = client.chat("power-tiny", _MESSAGES, think=True, options=_GREEDY)
    assert answer.message.thinking
    assert "think>" not in (answer.message.content or "")
    assert "7" in (answer.message.content or "")


def test_a_prompt_is_answered_and_gone_on_with(client: ollama.Client) -> None:
    first = client.generate("power-tiny", "My name is Ada.", think=False, options=_GREEDY)
    second = client.generate("power-tiny", "What is my name?", context=first.context, think=False, options=_GREEDY)
    assert len(second.context or ()) > len(first.context or ()) > 0
    assert "Ada" in (second.response or "")


def test_a_streamed_prompt_ends_with_its_counts(client: ollama.Client) -> None:
    pieces = list(client.generate("power-tiny", _SUM, think=False, options=_GREEDY, stream=True))
    assert "7" in "".join(piece.response or "" for piece in pieces)
    assert pieces[-1].done_reason == "stop"
    assert pieces[-1].context


def test_models_are_listed_shown_copied_and_deleted(client: ollama.Client) -> None:
    client.generate("power-tiny")
    client.copy("power-tiny", "twin")
    names = [model.model for model in client.list().models]
    assert {"power-tiny:latest", "twin:latest"} <= set(names)
    shown = client.show("twin")
    assert shown.details is not None
    assert (shown.details.family, shown.details.quantization_level) == ("llama", "Q8_0")
    assert "completion" in (shown.capabilities or [])
    assert client.delete("twin").status == "success"
    assert "twin:latest" not in [model.model for model in client.list().models]
    with pytest.raises(ollama.ResponseError) as refusal:
        client.show("twin")
    assert refusal.value.status_code == 404


def test_a_loaded_model_is_told_by_ps_until_it_is_unloaded(client: ollama.Client) -> None:
    for other in client.ps().models:
        client.generate(other.model or "", keep_alive=0)
    client.generate("power-tiny", keep_alive="1h")
    loaded = client.ps().models
    assert [model.model for model in loaded] == ["power-tiny:latest"]
    assert loaded[0].size
    assert loaded[0].context_length == 512
    client.generate("power-tiny", keep_alive=0)
    assert client.ps().models == []


def test_a_model_is_created_from_another(client: ollama.Client) -> None:
    statuses = [
        progress.status for progress in client.create("polite", from_="power-tiny", system="Be polite.", stream=True)
    ]
    assert statuses[-1] == "success"
    assert "SYSTEM Be polite." in (client.show("polite").modelfile or "")
    client.delete("polite")


def test_a_model_that_makes_no_vectors_says_so(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="does not support embeddings") as refusal:
        client.embed("power-tiny", "hello")
    assert refusal.value.status_code == 501


def test_an_embedding_model_makes_vectors(client: ollama.Client, minilm: str) -> None:
    answer = client.embed(minilm, ["hello", "world"])
    assert len(answer.embeddings) == 2
    assert abs(sum(value * value for value in answer.embeddings[0]) - 1) < 1e-5
    assert answer.prompt_eval_count == 6
    assert len(client.embeddings(minilm, "hello").embedding) == 384


def test_an_unknown_model_is_a_404(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="model 'nope' not found") as refusal:
        client.chat("nope", _MESSAGES)
    assert refusal.value.status_code == 404


async def test_the_asynchronous_client_does_all_of_it(async_client: ollama.AsyncClient) -> None:
    answer = await async_client.chat("power-tiny", _MESSAGES, think=False, options=_GREEDY)
    pieces = [
        piece.response or ""
        async for piece in await async_client.generate("power-tiny", _SUM, think=False, options=_GREEDY, stream=True)
    ]
    assert "7" in (answer.message.content or "")
    assert "7" in "".join(pieces)
    await async_client.copy("power-tiny", "other")
    assert (await async_client.show("other")).details is not None
    assert "other:latest" in [model.model for model in (await async_client.list()).models]
    assert (await async_client.ps()).models
    await async_client.delete("other")


@pytest.fixture
def minilm(client: ollama.Client, minilm_file: Path) -> str:
    """The name of an embedding model in the server's store."""
    digest = client.create_blob(minilm_file)
    client.create("minilm", files={"minilm.gguf": digest})
    return "minilm"


@pytest.fixture
def minilm_file() -> Path:
    """A real embedding model."""
    from tests.shared import shared_file  # noqa: PLC0415 -- skips where the folder is absent

    return shared_file("models/minilm/all-MiniLM-L6-v2-Q8_0.gguf")
