"""What was read of a conversation is told in every API family's usage, and not read again, whatever comes between."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx2
import pytest

from a3s_power.core.manifest import ConfigBlob
from a3s_power.scheduler.settings import Settings
from a3s_power.service.local import LocalSettings, open_local
from a3s_power.store import Store
from tests.models import tiny_llama
from tests.running import DEADLINE, running
from tests.stores import add_model

_SYSTEM: Final = "You help. " * 30
_QUESTION: Final = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": "What is 3 plus 4?"}]
_TEXT: Final = _SYSTEM + "What is 3 plus 4?"

Json = dict[str, Any]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of a server that has room for one model, keeps its prompts, and has another model `m`."""
    folder = tmp_path_factory.mktemp("prefixes")
    tiny_llama(folder / "m.gguf")
    config = ConfigBlob(model_format="gguf", model_family="llama")
    add_model(Store(folder / "models"), "m", weights=(folder / "m.gguf").read_bytes(), config=config)
    one = Settings(max_loaded=1, context_length=1024, prompts=folder / "prompts", prompts_bytes=1 << 30)
    with (
        running(lambda: open_local(LocalSettings(models=folder / "models", scheduler=one))) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as client,
    ):
        yield client


def _native(last: Json) -> tuple[int, int]:
    return last["prompt_eval_count"], last.get("cached_tokens", 0)


def _openai(last: Json) -> tuple[int, int]:
    usage = last["usage"]
    return usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]


def _responses(last: Json) -> tuple[int, int]:
    usage = last.get("response", last)["usage"]
    return usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"]


def _anthropic(last: Json) -> tuple[int, int]:
    usage = last["usage"]
    return usage["input_tokens"] + usage["cache_read_input_tokens"], usage["cache_read_input_tokens"]


_SHORT: Final = {"options": {"num_predict": 4, "temperature": 0}}
_FAMILIES: Final[dict[str, tuple[Json, Callable[[Json], tuple[int, int]]]]] = {
    "/api/chat": ({"messages": _QUESTION} | _SHORT, _native),
    "/api/generate": ({"prompt": _TEXT} | _SHORT, _native),
    "/chat": ({"messages": _QUESTION} | _SHORT, _native),
    "/v1/chat/completions": (
        {"messages": _QUESTION, "max_tokens": 4, "temperature": 0, "stream_options": {"include_usage": True}},
        _openai,
    ),
    "/v1/completions": (
        {"prompt": _TEXT, "max_tokens": 4, "temperature": 0, "stream_options": {"include_usage": True}},
        _openai,
    ),
    "/v1/responses": ({"input": _TEXT, "max_output_tokens": 16, "temperature": 0}, _responses),
    "/v1/messages": ({"system": _SYSTEM, "messages": _QUESTION[1:], "max_tokens": 4, "temperature": 0}, _anthropic),
}


def _lines(text: str) -> list[Json]:
    """The objects of a stream, of lines or of events."""
    lines = [line.removeprefix("data: ") for line in text.splitlines()]
    return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.mark.parametrize(
    ("path", "stream"),
    [(path, stream) for path in _FAMILIES for stream in (False, True) if path != "/chat" or not stream],
)
def test_usage_tells_what_was_not_read_again(http: httpx2.Client, path: str, *, stream: bool) -> None:
    body, counts = _FAMILIES[path]
    body = {"model": "power-tiny", "stream": stream} | body
    if not stream:
        body.pop("stream_options", None)
    http.post(path, json=body)
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    told = _lines(answer.text) if stream else [answer.json()]
    last = next(
        each for each in reversed(told) if each.get("usage") or "prompt_eval_count" in each or "response" in each
    )
    prompt, cached = counts(last)
    assert prompt > 60
    # The last token is always read, since what comes behind it is not kept.
    assert cached == prompt - 1


def _turn(http: httpx2.Client, messages: list[Json], model: str = "power-tiny") -> tuple[int, int, int]:
    body = {"model": model, "messages": messages, "stream": False, "think": False} | _SHORT
    answer = http.post("/api/chat", json=body).json()
    messages += [answer["message"], {"role": "user", "content": "And what is 5 plus 6?"}]
    return answer["prompt_eval_count"], answer.get("cached_tokens", 0), answer["eval_count"]


@pytest.mark.parametrize("between", ["nothing", "chat", "model"])
def test_a_conversation_is_read_on_from_where_it_was(http: httpx2.Client, between: str) -> None:
    messages = [
        {"role": "system", "content": f"{between}. {_SYSTEM}"},
        {"role": "user", "content": "What is 3 plus 4?"},
    ]
    known = 0
    for number in range(3):
        if number and between == "chat":
            # Its beginning is the same for most of its length.
            _turn(http, [messages[0], {"role": "user", "content": "Say hello."}])
        if number and between == "model":
            _turn(http, [{"role": "user", "content": "a"}], "m")
        prompt, cached, said = _turn(http, messages)
        assert cached >= known
        # The last token of an answer was said but never read.
        known = prompt + said - 1


def _tokens(http: httpx2.Client, text: str) -> list[int]:
    tokens: list[int] = http.post("/api/tokenize", json={"model": "power-tiny", "content": text}).json()["tokens"]
    return tokens


def test_an_answer_in_other_tokens_than_its_text_becomes_is_not_read_again(http: httpx2.Client) -> None:
    said = "Hello! How can I help you?"
    tokens = _tokens(http, said)
    # It must say so, and would rather begin with a letter than with a word.
    (letter,) = _tokens(http, said[0])
    assert letter != tokens[0]
    forced = {"guided_choice": [said], "logit_bias": {str(letter): 100}}
    messages = [{"role": "system", "content": f"Forced. {_SYSTEM}"}, {"role": "user", "content": "Hello"}]
    body = {"model": "power-tiny", "max_tokens": 40, "temperature": 0, "think": False}
    answer = http.post("/v1/chat/completions", json=body | forced | {"messages": messages}).json()
    assert answer["choices"][0]["message"]["content"] == said
    assert answer["usage"]["completion_tokens"] > len(tokens) + 1
    messages += [answer["choices"][0]["message"], {"role": "user", "content": "What is 3 plus 4?"}]
    again = http.post("/v1/chat/completions", json=body | {"messages": messages}).json()
    known = answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"] - 1
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] >= known
