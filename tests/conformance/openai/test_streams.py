"""Streams and whole answers, byte for byte: what each event of a model becomes, once and for several choices."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from a3s_power.api.app import build
from a3s_power.api.endpoint import ApiSettings
from a3s_power.api.streams import EventResponse
from a3s_power.core.events import Done, Event, Logprob, Progress, Rendered, Text, Thinking, TokenLogprob, ToolCalls
from a3s_power.core.messages import ToolCall
from a3s_power.core.requests import Chat
from a3s_power.core.usage import Usage
from tests.fakes import FakeInference, client, service

_CHAT = "/v1/chat/completions"
_COMPLETIONS = "/v1/completions"
_BODY: dict[str, Any] = {"model": "M:x", "messages": [{"role": "user", "content": "hi"}], "prompt": "hi"}
_USAGE = Usage(prompt_tokens=7, cached_tokens=3, output_tokens=2)
_DONE = Done("stop", _USAGE)
_COUNTS = {
    "prompt_tokens": 7,
    "completion_tokens": 2,
    "total_tokens": 9,
    "prompt_tokens_details": {"cached_tokens": 3},
}
_CALLS = (
    ToolCall(name="f", arguments={"b": 1, "a": "ü"}, id="call_1"),
    ToolCall(name="g", arguments={}, id="call_2"),
)
_LIKELY = TokenLogprob(Logprob("a", b"a", -0.5), (Logprob("a", b"a", -0.5), Logprob("", b"\xc3", -2.0)))
_SHOWN = {
    "token": "a",
    "logprob": -0.5,
    "bytes": [97],
    "top_logprobs": [{"token": "a", "logprob": -0.5, "bytes": [97]}, {"token": "", "logprob": -2.0, "bytes": [195]}],
}


def _asked(tmp_path: Path, path: str, *script: Event | Exception, **body: Any) -> Any:
    answer = client(tmp_path, service(tmp_path, FakeInference(*script))).post(path, json=_BODY | body)
    assert answer.status_code == 200
    return answer


def _chunks(tmp_path: Path, path: str, *script: Event | Exception, **body: Any) -> list[Any]:
    """The objects of a stream, which must end as streams do."""
    answer = _asked(tmp_path, path, *script, stream=True, **body)
    assert answer.headers["content-type"] == "text/event-stream"
    *frames, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(frame.startswith("data: ") for frame in frames)
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


def _deltas(chunks: list[Any]) -> list[Any]:
    return [(chunk["choices"][0]["delta"], chunk["choices"][0]["finish_reason"]) for chunk in chunks]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param(
            (Text("a"), Text("b\u2028"), _DONE),
            [({"role": "assistant", "content": "a"}, None), ({"content": "b\u2028"}, None), ({}, "stop")],
            id="text",
        ),
        pytest.param((_DONE,), [({"role": "assistant", "content": ""}, None), ({}, "stop")], id="nothing"),
        pytest.param(
            (Text("a"), Done("length", _USAGE)), [({"role": "assistant", "content": "a"}, None), ({}, "length")]
        ),
        pytest.param(
            (Progress("loading"), Thinking("h"), Text("a"), _DONE),
            [
                ({"role": "assistant", "content": "", "reasoning": "h"}, None),
                ({"content": "a"}, None),
                ({}, "stop"),
            ],
            id="thinking",
        ),
    ],
)
def test_the_chunks_of_a_chat(tmp_path: Path, script: tuple[Event, ...], expected: list[Any]) -> None:
    """Rows 29, 34, 35: the role comes once, thoughts come apart, the last delta is empty."""
    chunks = _chunks(tmp_path, _CHAT, *script)
    assert _deltas(chunks) == expected
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    first = chunks[0]
    assert first["id"].startswith("chatcmpl-")
    assert (first["object"], first["model"]) == ("chat.completion.chunk", "M:x")
    assert all(set(chunk) == {"id", "object", "created", "model", "system_fingerprint", "choices"} for chunk in chunks)
    assert all(set(chunk["choices"][0]) == {"index", "delta", "finish_reason"} for chunk in chunks)


def test_calls_are_numbered_through(tmp_path: Path) -> None:
    """Rows 11, 33."""
    script = (ToolCalls(_CALLS), ToolCalls((ToolCall(name="h", arguments={"x": None}, id="call_3"),)), _DONE)
    *chunks, last = _deltas(_chunks(tmp_path, _CHAT, *script))
    calls = [call for delta, _ in chunks for call in delta["tool_calls"]]
    assert calls[0] == {
        "id": "call_1",
        "index": 0,
        "type": "function",
        "function": {"name": "f", "arguments": '{"b":1,"a":"ü"}'},
    }
    assert [call["index"] for call in calls] == [0, 1, 2]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"b": 1, "a": "ü"}, {}, {"x": None}]
    assert last == ({}, "tool_calls")
    whole = _asked(tmp_path, _CHAT, *script).json()["choices"][0]
    assert whole["message"] == {"role": "assistant", "content": "", "tool_calls": calls}
    assert whole["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("path", [_CHAT, _COMPLETIONS])
def test_counts_come_last_where_they_are_wanted(tmp_path: Path, path: str) -> None:
    """Rows 31, 40."""
    *said, last = _chunks(tmp_path, path, Text("a"), _DONE, stream_options={"include_usage": True})
    assert (last["choices"], last["usage"]) == ([], _COUNTS)
    assert all(chunk.get("usage") is None for chunk in said)
    assert all("usage" not in chunk for chunk in _chunks(tmp_path, path, Text("a"), _DONE))


def test_what_was_left_out_of_a_prompt_is_told(tmp_path: Path) -> None:
    cut = Usage(prompt_tokens=7, output_tokens=2, dropped_messages=2, cut_tokens=5)
    usage = _asked(tmp_path, _CHAT, Text("a"), Done("stop", cut)).json()["usage"]
    assert usage["context"] == {"truncated_messages": 2, "truncated_tokens": 5}
    usage = _asked(tmp_path, _CHAT, Text("a"), Done("stop", Usage(shifted=True))).json()["usage"]
    assert usage["context"] == {"truncated_messages": 0, "truncated_tokens": 0, "shifted": True}


def test_a_whole_chat(tmp_path: Path) -> None:
    """Rows 1, 2, 3, 16."""
    whole = _asked(tmp_path, _CHAT, Thinking("h"), Text("a"), Text("b"), _DONE).json()
    assert whole["id"].startswith("chatcmpl-")
    assert isinstance(whole["created"], int)
    del whole["id"], whole["created"]
    assert whole == {
        "object": "chat.completion",
        "model": "M:x",
        "system_fingerprint": "fp_ollama",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "reasoning": "h"},
                "finish_reason": "stop",
            }
        ],
        "usage": _COUNTS,
    }


def test_log_probabilities_of_a_chat(tmp_path: Path) -> None:
    """Row 18."""
    script = (Thinking("a", (_LIKELY,)), Text("a", (_LIKELY,)), _DONE)
    chunks = _chunks(tmp_path, _CHAT, *script, logprobs=True, top_logprobs=2)
    assert [chunk["choices"][0].get("logprobs") for chunk in chunks] == [*[{"content": [_SHOWN]}] * 2, None]
    whole = _asked(tmp_path, _CHAT, *script, logprobs=True, top_logprobs=2).json()
    assert whole["choices"][0]["logprobs"] == {"content": [_SHOWN] * 2}


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_of_a_completion(tmp_path: Path, stream: bool) -> None:
    """Row 39: offsets count from the beginning of the text, an echo of the prompt included."""
    body = {"prompt": "héllo", "echo": True, "logprobs": 2}
    script = (Text("", (_LIKELY,)), Text("aa", (_LIKELY, _LIKELY)), Text("a", (_LIKELY,)), _DONE)
    if stream:
        chunks = [chunk["choices"][0] for chunk in _chunks(tmp_path, _COMPLETIONS, *script, **body)]
        found = [chunk["logprobs"] for chunk in chunks[:-1]]
        assert "".join(chunk["text"] for chunk in chunks) == "hélloaaa"
    else:
        choice = _asked(tmp_path, _COMPLETIONS, *script, **body).json()["choices"][0]
        found = [choice["logprobs"]]
        assert choice["text"] == "hélloaaa"
    merged = {name: [value for each in found for value in each[name]] for name in found[0]}
    assert merged == {
        "tokens": ["a"] * 4,
        "token_logprobs": [-0.5] * 4,
        "top_logprobs": [{"a": -0.5, "": -2.0}] * 4,
        "text_offset": [5, 5, 6, 7],
    }


def test_the_chunks_of_a_completion(tmp_path: Path) -> None:
    """Row 40: the reason stands on the last chunk with a text; what is thought has no place."""
    chunks = _chunks(tmp_path, _COMPLETIONS, Thinking("h"), Text("a"), Text("b"), Done("length", _USAGE))
    assert [chunk["choices"] for chunk in chunks] == [
        [{"text": "a", "index": 0, "finish_reason": None}],
        [{"text": "b", "index": 0, "finish_reason": None}],
        [{"text": "", "index": 0, "finish_reason": "length"}],
    ]
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert (chunks[0]["object"], chunks[0]["id"][:5]) == ("text_completion", "cmpl-")


def test_an_empty_prompt_is_an_empty_stop(tmp_path: Path) -> None:
    """Row 39."""
    choice = _asked(tmp_path, _COMPLETIONS, Done("load", Usage()), prompt="").json()["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("", "stop")


@pytest.mark.parametrize("path", [_CHAT, _COMPLETIONS])
def test_several_choices_are_streamed_side_by_side(tmp_path: Path, path: str) -> None:
    """Row 26: each choice has its role, its text and its end; the prompt is counted once."""
    chunks = _chunks(tmp_path, path, Text("a"), Text("b"), _DONE, n=3, stream_options={"include_usage": True})
    *said, last = chunks
    assert last["usage"] == _COUNTS | {"completion_tokens": 6, "total_tokens": 13}
    for index in range(3):
        own = [chunk["choices"][0] for chunk in said if chunk["choices"][0]["index"] == index]
        assert "".join(each.get("text", "") or each.get("delta", {}).get("content", "") for each in own) == "ab"
        assert [each["finish_reason"] for each in own] == [None, None, "stop"]


@pytest.mark.parametrize("path", [_CHAT, _COMPLETIONS])
def test_several_choices_in_one_piece(tmp_path: Path, path: str) -> None:
    """Row 26."""
    whole = _asked(tmp_path, path, Text("a"), _DONE, n=2).json()
    assert [choice["index"] for choice in whole["choices"]] == [0, 1]
    assert whole["usage"]["completion_tokens"] == 4
    assert whole["usage"]["prompt_tokens"] == 7


def test_several_prompts_have_their_own_choices(tmp_path: Path) -> None:
    """Row 41: more than the reference takes."""
    whole = _asked(tmp_path, _COMPLETIONS, Text("!"), _DONE, prompt=["a", "b"], n=2, echo=True).json()
    assert [(choice["index"], choice["text"]) for choice in whole["choices"]] == [
        (0, "a!"),
        (1, "a!"),
        (2, "b!"),
        (3, "b!"),
    ]
    assert (whole["usage"]["prompt_tokens"], whole["usage"]["completion_tokens"]) == (14, 8)


def test_further_choices_get_further_seeds(tmp_path: Path) -> None:
    """Row 6, for more than one choice."""
    inference = FakeInference(Text("a"), _DONE)
    http = client(tmp_path, service(tmp_path, inference))
    assert http.post(_CHAT, json=_BODY | {"n": 3, "seed": 5}).status_code == 200
    assert sorted(request.asked.options.seed or 0 for request in inference.asked) == [5, 6, 7]


@pytest.mark.parametrize("path", [_CHAT, _COMPLETIONS])
def test_a_prompt_can_be_shown_instead_of_run(tmp_path: Path, path: str) -> None:
    shown = _asked(tmp_path, path, Rendered("<hi>", 1), stream=True, _debug_render_only=True).json()
    assert shown["_debug_info"] == {"rendered_template": "<hi>", "image_count": 1}


class _Slow(FakeInference):
    """A model that is loaded before it says anything; it is loaded when somebody has been told to wait."""

    def __init__(self, waited: asyncio.Event, *script: Event | Exception) -> None:
        super().__init__(*script)
        self._waited = waited

    @asynccontextmanager
    async def chat(self, request: Chat) -> AsyncIterator[AsyncIterator[Event]]:
        """The script, once somebody waits."""
        await self._waited.wait()
        async with super().chat(request) as events:
            yield events


@pytest.mark.parametrize("wanted", [1, 2])
async def test_a_stream_that_waits_says_so_in_comments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: int
) -> None:
    monkeypatch.setattr(EventResponse, "beat_seconds", 0.01)
    waited = asyncio.Event()
    app = build(service(tmp_path, _Slow(waited, Text("a"), _DONE)), ApiSettings())
    body, sent = json.dumps(_BODY | {"stream": True, "n": wanted}).encode(), b""
    asked = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return asked.pop() if asked else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        nonlocal sent
        sent += message.get("body", b"")
        if b": waiting" in sent:
            waited.set()

    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "POST", "path": _CHAT, "raw_path": b"", "query_string": b"", "headers": headers}
    await app(scope, receive, send)
    assert sent.startswith(b": waiting\n\n")
    assert sent.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(("sent", "kept"), [("abc-1.X_", True), ("a b", False), ("x" * 65, False), ("", False)])
def test_a_request_has_the_id_that_its_client_gave_it(tmp_path: Path, sent: str, kept: bool) -> None:
    """A sound one; any other gets one of ours."""
    answer = client(tmp_path).get("/v1/models", headers={"x-request-id": sent})
    assert (answer.headers["x-request-id"] == sent) == kept
    assert answer.headers["x-request-id"]
