"""A prompt longer than the context, by every route: answered whole, refused with both numbers, or answered with the
number of what was left out; nothing else.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest
from PIL import Image

from a3s_power.core.manifest import PROJECTOR, TEMPLATE, ConfigBlob
from a3s_power.scheduler.settings import Settings
from a3s_power.service.local import LocalSettings, open_local
from a3s_power.store import Store
from tests.models import tiny_llama, tiny_reranker
from tests.pictures import COLOURS, base64_of, file
from tests.running import DEADLINE, running
from tests.shared import BUILTIN_MODEL, shared_file
from tests.stores import add_model

CONTEXT: Final = 256
_CONFIG: Final = ConfigBlob(model_format="gguf", model_family="llama")
_GO: Final = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
_LONG: Final = "word " * 600
_QUESTION: Final = {"role": "user", "content": "Hello"}

# Prompts

_PAIR: Final = ({"role": "user", "content": "What is one and one?"}, {"role": "assistant", "content": "2"})
_CHATS: Final[dict[str, list[dict[str, Any]]]] = {
    "a long history": [*_PAIR * 30, _QUESTION],
    "one huge message": [{"role": "user", "content": _LONG}],
    "a huge last message": [*_PAIR, {"role": "user", "content": _LONG}],
    "a huge system message": [{"role": "system", "content": _LONG}, _QUESTION],
    "a huge system message and a history": [{"role": "system", "content": _LONG}, *_PAIR * 30, _QUESTION],
    "a huge answer before": [_QUESTION, {"role": "assistant", "content": _LONG}, _QUESTION],
}
_OBJECT: Final = {"type": "object", "properties": {"a": {"type": "string"}}}
_TOOLS: Final = [{"name": f"f{number}", "description": "a tool " * 30, "parameters": _OBJECT} for number in range(12)]
_FUNCTIONS: Final = [{"type": "function", "function": tool} for tool in _TOOLS]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of a server whose models have a context of 256 tokens.

    `power-tiny` renders by its Jinja template and `g`, the same, by a Go template; `b` embeds, `r` ranks.
    """
    folder = tmp_path_factory.mktemp("long")
    store, weights = Store(folder / "models"), folder / "one.gguf"
    add_model(store, "g", (TEMPLATE, _GO.encode()), weights=BUILTIN_MODEL.read_bytes(), config=_CONFIG)
    tiny_llama(weights, key_values={"llama.pooling_type": 1})
    add_model(store, "b", weights=weights.read_bytes(), config=_CONFIG)
    tiny_reranker(weights)
    config = ConfigBlob(model_format="gguf", model_family="bert")
    add_model(store, "r", weights=weights.read_bytes(), config=config)
    few = Settings(context_length=CONTEXT, max_loaded=9)
    settings = LocalSettings(models=folder / "models", scheduler=few, prefer_go=True)
    server = running(lambda: open_local(settings))
    with server as port, httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as client:
        yield client


# What became of a prompt


def _objects(answer: httpx2.Response) -> list[dict[str, Any]]:
    """The JSON objects of an answer: one, a line each, or the data of events."""
    if answer.headers["content-type"].startswith("application/json"):
        return [answer.json()]
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if not line.startswith("event:")]
    return [json.loads(line) for line in lines if line and line != "[DONE]"]


def _named(value: object, name: str) -> list[Any]:
    """Everything of this name, however deep."""
    if isinstance(value, dict):
        found = [value[name]] if name in value else []
        return found + [each for inner in value.values() for each in _named(inner, name)]
    return [each for inner in value for each in _named(inner, name)] if isinstance(value, list) else []


def _left_out(said: list[dict[str, Any]]) -> int:
    """How much of the prompt the answer says it has not seen: messages, tokens, or texts that lost their ends."""
    counts = ("dropped_messages", "cut_tokens", "truncated_messages", "truncated_tokens")
    total: int = sum(count for name in counts for count in _named(said, name))
    texts = [one for named in _named(said, "truncated") for one in (named if isinstance(named, list) else [named])]
    return total + len(texts)


def _numbers(answer: httpx2.Response) -> set[int]:
    """The numbers of a refusal: in its sentence, or in the headers where that is another's."""
    refused = answer.json()
    error = refused.get("error", refused.get("message"))
    sentence = str(error["message"] if isinstance(error, dict) else error)
    beside = [answer.headers[name] for name in ("X-Prompt-Tokens", "X-Context-Length") if name in answer.headers]
    return {*map(int, re.findall(r"\d+", sentence)), *map(int, beside)}


def _fate(answer: httpx2.Response, limits: tuple[int, ...]) -> str:
    """Which of the three became of a prompt; fails when it was none of them."""
    said = _objects(answer)
    if answer.status_code != 200:
        assert answer.status_code in {400, 500}, answer.text
        numbers = _numbers(answer)
        assert numbers & set(limits), said[0]
        assert any(number >= min(limits) for number in numbers - set(limits)), said[0]
        return "refused"
    assert not any(_named(said, "error")), answer.text[-500:]
    return "cut" if _left_out(said) else "whole"


# Ways to ask

_Body = dict[str, Any]
_FEW: Final = {"options": {"num_predict": 2}}


def _ollama(model: str, chat: list[dict[str, Any]]) -> _Body:
    return {"model": model, "messages": chat} | _FEW


def _openai(model: str, chat: list[dict[str, Any]]) -> _Body:
    return {"model": model, "messages": chat, "max_tokens": 2}


def _responses(model: str, chat: list[dict[str, Any]]) -> _Body:
    return {"model": model, "input": chat, "max_output_tokens": 2}


def _anthropic(model: str, chat: list[dict[str, Any]]) -> _Body:
    system = "".join(message["content"] for message in chat if message["role"] == "system")
    turns = [message for message in chat if message["role"] != "system"]
    return {"model": model, "messages": turns, "max_tokens": 2} | ({"system": system} if system else {})


_ROUTES: Final = {
    "/api/chat": _ollama,
    "/v1/chat/completions": _openai,
    "/v1/responses": _responses,
    "/v1/messages": _anthropic,
    "/chat": _ollama,
}
_WITHOUT_USAGE: Final = {"/v1/chat/completions": {"stream_options": {"include_usage": True}}}


@pytest.mark.parametrize("model", ["power-tiny", "g"])
@pytest.mark.parametrize("route", _ROUTES)
def test_a_long_conversation(http: httpx2.Client, route: str, model: str) -> None:
    for name, chat in _CHATS.items():
        body = _ROUTES[route](model, chat)
        asked = [
            body | {"stream": False},
            body | {"stream": True},
            body | {"stream": True} | _WITHOUT_USAGE.get(route, {}),
        ]
        fates = {_fate(http.post(route, json=one), (CONTEXT,)) for one in asked}
        expected = {"cut"} if name in {"a long history", "a huge answer before"} else {"refused"}
        if model == "g" and name != "a long history":
            # A Go template's prompt is cut in its middle where nothing else is left.
            expected = {"cut"}
        assert fates == expected, (route, name)


@pytest.mark.parametrize(
    ("model", "said", "fate"),
    [
        ("power-tiny", {"truncate": False}, "refused"),
        ("g", {"truncate": False}, "refused"),
        ("power-tiny", {"shift": False}, "cut"),
        ("g", {"shift": False}, "cut"),
    ],
)
def test_a_long_history_as_it_may_be_cut(http: httpx2.Client, model: str, said: _Body, fate: str) -> None:
    body = _ollama(model, _CHATS["a long history"]) | {"stream": False}
    assert _fate(http.post("/api/chat", json=body | said), (CONTEXT,)) == fate


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["power-tiny", "g"])
@pytest.mark.parametrize(
    ("said", "fate"),
    [
        ({}, "cut"),
        ({"raw": True}, "cut"),
        ({"system": _LONG}, "cut"),
        ({"truncate": False}, "refused"),
        ({"raw": True, "truncate": False}, "refused"),
        ({"shift": False}, "refused"),
        ({"raw": True, "shift": False}, "refused"),
        ({"context": [851] * 300, "prompt": "Hello"}, "cut"),
    ],
)
def test_a_long_prompt(http: httpx2.Client, model: str, said: _Body, fate: str, *, stream: bool) -> None:
    body = {"model": model, "prompt": _LONG, "stream": stream} | _FEW | said
    assert _fate(http.post("/api/generate", json=body), (CONTEXT,)) == fate


@pytest.mark.parametrize("prompt", [_LONG, ["Hello", _LONG], [[851] * 600]], ids=["one", "two", "tokens"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_long_completion(http: httpx2.Client, prompt: object, *, stream: bool) -> None:
    body = {"model": "power-tiny", "prompt": prompt, "max_tokens": 2, "stream": stream}
    assert _fate(http.post("/v1/completions", json=body), (CONTEXT,)) == "cut"


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/api/chat", _ollama("power-tiny", [_QUESTION]) | {"tools": _FUNCTIONS}),
        ("/v1/chat/completions", _openai("power-tiny", [_QUESTION]) | {"tools": _FUNCTIONS}),
        (
            "/v1/responses",
            _responses("power-tiny", [_QUESTION]) | {"tools": [{"type": "function"} | t for t in _TOOLS]},
        ),
        (
            "/v1/messages",
            _anthropic("power-tiny", [_QUESTION])
            | {
                "tools": [{"name": t["name"], "description": t["description"], "input_schema": _OBJECT} for t in _TOOLS]
            },
        ),
    ],
)
def test_too_many_tools(http: httpx2.Client, route: str, body: _Body) -> None:
    for stream in (False, True):
        assert _fate(http.post(route, json=body | {"stream": stream}), (CONTEXT,)) == "refused"


@pytest.mark.parametrize(
    ("route", "body", "fate"),
    [
        ("/api/embed", {"input": "b" * 600}, "cut"),
        ("/api/embed", {"input": ["a", "b" * 600], "truncate": True}, "cut"),
        ("/api/embed", {"input": ["a", "b" * 600], "truncate": False}, "refused"),
        ("/api/embeddings", {"prompt": "b" * 600}, "refused"),
        ("/v1/embeddings", {"input": "b" * 600}, "cut"),
        ("/v1/embeddings", {"input": ["a", "b" * 600]}, "cut"),
        ("/v1/embeddings", {"input": ["a"]}, "whole"),
        ("/v1/embeddings", {"input": [[70] * 600]}, "cut"),
    ],
)
def test_a_long_text_to_embed(http: httpx2.Client, route: str, body: _Body, fate: str) -> None:
    # The last place of a context is for the token that a model could go on with.
    assert _fate(http.post(route, json={"model": "b"} | body), (CONTEXT, CONTEXT - 1)) == fate


@pytest.mark.parametrize("route", ["/v1/rerank", "/v2/rerank", "/rerank", "/api/rerank"])
@pytest.mark.parametrize(
    ("body", "fate"),
    [
        ({"query": "a", "documents": ["b" * 600, "c"]}, "cut"),
        ({"query": "a", "documents": ["b" * 600, "c"], "truncate": False}, "refused"),
        ({"query": "a" * 600, "documents": ["b", "c"]}, "refused"),
    ],
)
def test_a_long_document_or_query(http: httpx2.Client, route: str, body: _Body, fate: str) -> None:
    assert _fate(http.post(route, json={"model": "r"} | body), (CONTEXT, CONTEXT - 1)) == fate


@pytest.mark.parametrize(
    ("route", "body", "name"),
    [
        ("/v1/messages/count_tokens", _anthropic("power-tiny", _CHATS["one huge message"]), "input_tokens"),
        ("/v1/responses/input_tokens", _responses("power-tiny", _CHATS["one huge message"]), "input_tokens"),
        ("/api/tokenize", {"model": "power-tiny", "text": _LONG}, "count"),
        ("/apply-template", {"model": "power-tiny", "messages": _CHATS["one huge message"]}, "count"),
    ],
)
def test_what_only_counts_counts_all_of_it(http: httpx2.Client, route: str, body: _Body, name: str) -> None:
    answer = http.post(route, json=body)
    assert _fate(answer, (CONTEXT,)) == "whole"
    assert answer.json()[name] > 600


def test_images_that_do_not_fit(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("see")
    projector = shared_file("models/power-tiny/power-tiny-mmproj.gguf").read_bytes()
    add_model(Store(folder), "see", (PROJECTOR, projector), weights=BUILTIN_MODEL.read_bytes(), config=_CONFIG)
    image = base64_of(file(Image.new("RGB", (64, 64), COLOURS["red"])))
    seen: dict[str, Any] = {"role": "user", "content": "What colour is it?", "images": [image]}
    settings = LocalSettings(models=folder, scheduler=Settings(context_length=2048))
    server = running(lambda: open_local(settings))
    with server as port, httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as client:
        history: list[dict[str, Any]] = [
            *[seen | {"content": "word " * 100}, {"role": "assistant", "content": "red"}] * 25,
            seen,
        ]
        chats: dict[str, list[dict[str, Any]]] = {"cut": history, "refused": [seen | {"content": "word " * 2100}]}
        for fate, chat in chats.items():
            body = _ollama("see", chat) | {"stream": False}
            assert _fate(client.post("/api/chat", json=body), (2048,)) == fate
