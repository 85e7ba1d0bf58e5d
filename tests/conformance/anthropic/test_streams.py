"""Streams and whole answers of a model that is played, so that it says, waits and fails as it must."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a3s_power.api.streams import EventResponse
from a3s_power.core.errors import EngineRefused, LoadFailed, PowerError, QueueFull, RunnerDied
from a3s_power.core.events import Done, Event, Progress, Rendered, Text, Thinking, ToolCalls
from a3s_power.core.messages import ToolCall
from a3s_power.core.requests import Chat
from a3s_power.core.usage import Usage
from tests.fakes import FakeInference, client, service
from tests.running import playing

_BODY: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
_DONE = Done("stop", Usage(prompt_tokens=9, cached_tokens=4, output_tokens=3))
_CALL = ToolCall(name="f", arguments={"b": 1, "a": 2}, id="call_1")


def _asked(folder: Path, *script: Event | Exception, **body: Any) -> httpx2.Response:
    return client(folder, service(folder, FakeInference(*script))).post("/v1/messages", json=_BODY | body)


def _types(text: str) -> list[str]:
    return [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]


def test_a_whole_answer_is_thought_text_and_calls_in_this_order(tmp_path: Path) -> None:
    """Rows 2, 16, 17, 33."""
    other = ToolCall(name="g", arguments={}, id="call_2")
    script = (Thinking("h"), Thinking("m"), Text("a"), ToolCalls((_CALL,)), Text("b"), ToolCalls((other, _CALL)), _DONE)
    answer = _asked(tmp_path, *script)
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.pop("id").startswith("msg_")
    assert body == {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "ab"},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"b": 1, "a": 2}},
            {"type": "tool_use", "id": "call_2", "name": "g", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 5,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 4,
            "output_tokens": 3,
        },
    }


def test_an_empty_answer_has_no_blocks(tmp_path: Path) -> None:
    """Row 12."""
    answer = _asked(tmp_path, _DONE).json()
    assert (answer["content"], answer["stop_reason"]) == ([], "end_turn")


def test_a_stop_text_of_the_caller_is_told(tmp_path: Path) -> None:
    """Row 6."""
    done = Done("stop", Usage(), stop_text="X")
    answer = _asked(tmp_path, Text("a"), done, stop_sequences=["X"]).json()
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", "X")


def test_a_stream_has_its_headers(tmp_path: Path) -> None:
    answer = _asked(tmp_path, Text("a"), _DONE, stream=True)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["request-id"] == f"req_{answer.headers['x-request-id']}"
    assert _types(answer.text)[0] == "message_start"
    assert _types(answer.text)[-1] == "message_stop"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (RunnerDied("it died"), "api_error", "it died"),
        (QueueFull(), "overloaded_error", "server busy, please try again.  maximum pending requests exceeded"),
        (EngineRefused('{"error":{"message":"bad"}}'), "invalid_request_error", "bad"),
    ],
)
def test_a_failure_after_the_first_piece_is_the_last_event(
    tmp_path: Path, error: PowerError, kind: str, message: str
) -> None:
    """Row 41."""
    answer = _asked(tmp_path, Text("a"), error, stream=True)
    assert (answer.status_code, _types(answer.text)[-1]) == (200, "error")
    last = json.loads(answer.text.splitlines()[-2].removeprefix("data: "))
    assert last == {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": answer.headers["request-id"],
    }


def test_a_whole_answer_that_fails_late_has_its_status(tmp_path: Path) -> None:
    answer = _asked(tmp_path, Text("a"), RunnerDied("it died"))
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "api_error")


class Slow(FakeInference):
    """Says its script only when it is allowed to; `opens` says whether even the beginning must wait for that."""

    def __init__(self, *script: Event | Exception, opens: bool) -> None:
        super().__init__(*script)
        self.allowed = threading.Event()
        self._opens = opens

    @asynccontextmanager
    async def chat(self, request: Chat) -> AsyncIterator[AsyncIterator[Event]]:
        """The script, late."""
        if not self._opens:
            await asyncio.to_thread(self.allowed.wait)
        async with super().chat(request) as events:
            yield self._after(events)

    async def _after(self, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        await asyncio.to_thread(self.allowed.wait)
        async for event in events:
            yield event


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life come soon."""
    monkeypatch.setattr(EventResponse, "beat_seconds", 0.02)


def _heard(folder: Path, inference: Slow) -> list[str]:
    """The types of all events of a stream that is allowed to go on after its second ping."""
    heard: list[str] = []
    with (
        playing(service(folder, inference)) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}") as http,
        http.stream("POST", "/v1/messages", json=_BODY | {"stream": True}) as answer,
    ):
        try:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    heard.append(line.removeprefix("event: "))
                    if heard.count("ping") == 2:
                        inference.allowed.set()
        finally:
            inference.allowed.set()
    return heard


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("opens", [True, False])
def test_a_stream_that_waits_gives_signs_of_life(tmp_path: Path, *, opens: bool) -> None:
    """Row 42: behind the beginning, and none of them twice."""
    heard = _heard(tmp_path, Slow(Progress("loading"), Text("a"), _DONE, opens=opens))
    assert heard[:3] == ["message_start", "ping", "ping"]
    rest = [kind for kind in heard if kind != "ping"]
    assert rest == [
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]


@pytest.mark.usefixtures("hasty")
def test_a_load_that_fails_after_a_sign_of_life_is_an_event(tmp_path: Path) -> None:
    """Row 41."""
    heard = _heard(tmp_path, Slow(LoadFailed("no"), opens=False))
    assert (heard[0], heard[-1]) == ("message_start", "error")


@pytest.mark.usefixtures("hasty")
def test_a_whole_answer_gives_none(tmp_path: Path) -> None:
    answer = _asked(tmp_path, Text("a"), _DONE)
    assert answer.json()["content"] == [{"type": "text", "text": "a"}]


def test_a_count_is_what_the_rendered_prompt_has(tmp_path: Path) -> None:
    """Row 49."""
    inference = FakeInference(Rendered("the prompt", 0, 12))
    http = client(tmp_path, service(tmp_path, inference))
    assert http.post("/v1/messages/count_tokens", json=_BODY).json() == {"input_tokens": 12}
    (asked,) = inference.asked
    assert isinstance(asked, Chat)
    assert asked.render_only
