"""Nothing is loaded for a request that can be refused without a load, in whichever dialect it comes."""

import functools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import pytest

from a3s_power.core.manifest import ConfigBlob
from a3s_power.runner.process import spawn
from a3s_power.service.local import LocalSettings, open_local
from a3s_power.store import Store
from tests.conformance.anthropic import test_refusals as anthropic
from tests.conformance.ollama import test_refusals as ollama
from tests.conformance.openai import test_refusals as openai
from tests.models import tiny_llama
from tests.running import DEADLINE, running
from tests.stores import add_model

_HI = [{"role": "user", "content": "hi"}]
_TOOL = {"type": "function", "function": {"name": "f"}}
_CHAT = "/v1/chat/completions"
_RANK = {"model": "m", "query": "q", "documents": ["d"]}
_ANTHROPIC = {"model": "m", "max_tokens": 5, "messages": _HI}
_TOKENS_MUST_BE_COUNTED = 113
"""The row of Ollama's sheet that only the model itself can refuse."""


class Refusal(NamedTuple):
    """A request that is refused."""

    path: str
    body: Any
    status: int


def _rows() -> Iterator[Refusal]:
    """All refusals of the sheets' tables, and what a model is asked for that it cannot do."""
    for row, path, body, status, _ in (*ollama.EXACT, *ollama.CONTAINING):
        if row != _TOKENS_MUST_BE_COUNTED:
            yield Refusal(path, body, status)
    for _, wrong, _ in openai.CHATS:
        yield Refusal(_CHAT, {"model": "m", "messages": _HI} | wrong, 400)
    for _, wrong, status, _ in openai.COMPLETIONS:
        yield Refusal("/v1/completions", {"model": "m", "prompt": "a"} | wrong, status)
    for _, wrong, status, _ in openai.EMBEDDINGS:
        yield Refusal("/v1/embeddings", {"model": "b", "input": "a"} | wrong, status)
    for _, wrong, _ in anthropic.EXACT:
        yield Refusal("/v1/messages", _ANTHROPIC | wrong, 400)
    yield from _BY_THE_MODEL


_BY_THE_MODEL = (
    Refusal(_CHAT, {"model": "m", "messages": _HI, "tools": [_TOOL]}, 400),
    Refusal(_CHAT, {"model": "m", "messages": _HI, "reasoning_effort": "low"}, 400),
    Refusal(_CHAT, {"model": "b", "messages": _HI}, 400),
    Refusal(_CHAT, {"model": "m", "messages": _HI, "options": {"top_k": "x"}}, 400),
    Refusal(_CHAT, {"model": "m", "messages": _HI, "options": {"repeat_penalty": 0}}, 400),
    Refusal("/api/generate", {"model": "m", "prompt": "a", "options": {"repeat_penalty": -1}}, 400),
    Refusal(
        _CHAT,
        {"model": "m", "messages": _HI, "response_format": {"type": "json_schema", "json_schema": {"schema": 5}}},
        500,
    ),
    Refusal("/v1/completions", {"model": "m", "prompt": "a", "suffix": "b"}, 400),
    Refusal("/v1/completions", {"model": "b", "prompt": "a"}, 400),
    Refusal("/v1/embeddings", {"model": "m", "input": "a"}, 501),
    Refusal("/v1/embeddings", {"model": "m", "input": [1, 2]}, 501),
    Refusal("/v1/completions", {"model": "b", "prompt": [1, 2]}, 400),
    Refusal("/v1/responses", {"model": "m", "input": "a", "background": True}, 400),
    Refusal("/v1/responses", {"model": "m", "input": [{"type": "x"}]}, 400),
    Refusal("/v1/responses", {"model": "m", "input": [{"type": "reasoning", "summary": 5}]}, 400),
    Refusal("/v1/responses", {"model": "b", "input": "a"}, 400),
    Refusal("/v1/responses", {"model": "m", "input": "a", "previous_response_id": "resp_x"}, 400),
    Refusal("/v1/responses/input_tokens", {"model": "nope", "input": "a"}, 404),
    Refusal("/v1/images/edits", {}, 501),
    Refusal("/v1/audio/transcriptions", b"", 400),
    Refusal("/v1/messages", _ANTHROPIC | {"model": "b"}, 400),
    Refusal("/v1/messages", _ANTHROPIC | {"tools": [{"name": "f", "input_schema": {}}]}, 400),
    Refusal("/v1/messages", _ANTHROPIC | {"output_config": {"format": {"type": "x"}}}, 400),
    Refusal("/v1/messages/count_tokens", {"model": "nope", "messages": _HI}, 404),
    Refusal("/v1/messages/count_tokens", {"model": "m"}, 400),
    *(Refusal(path, _RANK, 501) for path in ("/v1/rerank", "/v1/reranking", "/rerank", "/v2/rerank", "/api/rerank")),
    *(Refusal(path, _RANK | {"top_n": 0}, 400) for path in ("/v1/rerank", "/v2/rerank", "/api/rerank")),
    Refusal("/chat", {"model": "m", "messages": []}, 400),
    Refusal("/chat", {"model": "nope", "messages": _HI}, 404),
    Refusal("/chat", {"model": "b", "messages": _HI}, 400),
    Refusal("/pull", {"model": "m", "quantize": "q5"}, 400),
    Refusal("/api/tokenize", {"model": "m"}, 400),
    Refusal("/api/detokenize", {"model": "nope", "tokens": [1]}, 404),
    Refusal("/apply-template", {"model": "m", "messages": []}, 400),
    Refusal("/apply-template", {"model": "b", "messages": _HI}, 400),
)


@pytest.fixture(scope="module")
def loads() -> list[str]:
    """The engines that were started, one for each load."""
    return []


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory, loads: list[str]) -> Iterator[httpx2.Client]:
    """A client of a real server with two models, whose children are counted."""
    folder = tmp_path_factory.mktemp("loads")
    for name, key_values in (("m", {}), ("b", {"llama.pooling_type": 1})):
        tiny_llama(folder / name, key_values=key_values)
        config = ConfigBlob(model_format="gguf", model_family="llama")
        add_model(Store(folder / "models"), name, weights=(folder / name).read_bytes(), config=config)
    with pytest.MonkeyPatch.context() as patch:

        @functools.wraps(spawn)
        def counting(engine: str, *args: Any, **kwargs: Any) -> Any:
            loads.append(engine)
            return spawn(engine, *args, **kwargs)

        patch.setattr("a3s_power.service.local.spawn", counting)
        with (
            running(lambda: open_local(LocalSettings(models=folder / "models"))) as port,
            httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as http,
        ):
            yield http


def _asked(http: httpx2.Client, refusal: Refusal) -> httpx2.Response:
    method, _, path = refusal.path.rpartition(" ")
    content = refusal.body if isinstance(refusal.body, bytes) else json.dumps(refusal.body).encode()
    return http.request(method or "POST", path, content=content)


def test_no_refusal_loads_a_model(refusing: httpx2.Client, loads: list[str]) -> None:
    before, causes = len(loads), []
    for refusal in _rows():
        answer = _asked(refusing, refusal)
        assert answer.status_code == refusal.status, (refusal, answer.text)
        if len(loads) > before:
            causes.append((refusal, answer.text))
            before = len(loads)
    assert causes == []


def test_a_request_that_is_followed_is_counted(refusing: httpx2.Client, loads: list[str]) -> None:
    before = len(loads)
    answer = refusing.post("/api/generate", json={"model": "m", "keep_alive": 0})
    assert answer.status_code == 200
    answer = refusing.post("/api/generate", json={"model": "m", "prompt": "a", "options": {"num_predict": 1}})
    assert answer.status_code == 200
    assert len(loads) > before
    refusing.post("/api/generate", json={"model": "m", "keep_alive": 0})
