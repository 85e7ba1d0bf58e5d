"""Rows of the sheet of Ollama's API on streams and their errors; the model is played, so that it fails when it must."""

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a3s_power.core.errors import (
    BadTemplate,
    DiskFull,
    EngineFailed,
    EngineRefused,
    LoadFailed,
    ModelNotFound,
    PowerError,
    PromptTooLong,
    QueueFull,
    RunnerDied,
)
from a3s_power.core.events import Done, Event, Logprob, Progress, Rendered, Text, Thinking, TokenLogprob, ToolCalls
from a3s_power.core.messages import ToolCall
from a3s_power.core.requests import Embeddings
from a3s_power.core.usage import Usage
from tests.fakes import FakeInference, FakeTransfers, client, lines, service

_USAGE = Usage(prompt_tokens=9, output_tokens=3, prompt_ns=4, output_ns=5, load_ns=6, total_ns=7)
_DONE = Done("stop", _USAGE, context=(1, 2))
_METRICS = {
    "total_duration": 7,
    "load_duration": 6,
    "prompt_eval_count": 9,
    "prompt_eval_duration": 4,
    "eval_count": 3,
    "eval_duration": 5,
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z")
_BUSY = "server busy, please try again.  maximum pending requests exceeded"
_PATHS = ["/api/chat", "/api/generate"]


def _answer(folder: Path, path: str, *script: Event | Exception, **body: Any) -> httpx2.Response:
    given = {"model": "m", "prompt": "x"} if path == "/api/generate" else {"model": "m", "messages": [{"content": "x"}]}
    return client(folder, service(folder, FakeInference(*script))).post(path, json=given | body)


def _without_time(text: str) -> str:
    """The text without its times, each of which must be one."""
    data = [line for line in text.splitlines() if "created_at" in line]
    assert all(_TIME.fullmatch(json.loads(line)["created_at"]) for line in data)
    return re.sub(r'"created_at":"[^"]*"', '"created_at":""', text)


def test_a_chat_streams_a_line_for_each_event(tmp_path: Path) -> None:
    """Rows 86, 98: the exact bytes, and nothing for Progress."""
    call = ToolCall(name="f", arguments={"b": 1, "a": "<"}, id="call_1")
    answer = _answer(tmp_path, "/api/chat", Progress("loading"), Thinking("hm"), Text("é<"), ToolCalls((call,)), _DONE)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert "content-length" not in answer.headers
    head = '{"model":"m","created_at":"","message":{"role":"assistant",'
    assert _without_time(answer.text) == (
        f'{head}"content":"","thinking":"hm"}},"done":false}}\n'
        f'{head}"content":"é\\u003c"}},"done":false}}\n'
        f'{head}"content":"","tool_calls":[{{"id":"call_1",'
        '"function":{"index":0,"name":"f","arguments":{"b":1,"a":"\\u003c"}}}]},"done":false}\n'
        f'{head}"content":""}},"done":true,"done_reason":"stop",{json.dumps(_METRICS, separators=(",", ":"))[1:]}\n'
    )


def test_a_chat_can_be_one_answer(tmp_path: Path) -> None:
    """Rows 87, 95."""
    script = (Thinking("h"), Thinking("m"), Text("a"), Text("b"), ToolCalls((ToolCall(name="f", arguments={}),)), _DONE)
    answer = _answer(tmp_path, "/api/chat", *script, stream=False)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert not answer.text.endswith("\n")
    body = answer.json()
    assert list(body) == ["model", "created_at", "message", "done", "done_reason", *_METRICS]
    assert list(body["message"]) == ["role", "content", "thinking", "tool_calls"]
    assert (body["message"]["content"], body["message"]["thinking"]) == ("ab", "hm")
    assert body["message"]["tool_calls"] == [{"function": {"index": 0, "name": "f", "arguments": {}}}]


def test_a_generate_streams_a_line_for_each_event(tmp_path: Path) -> None:
    """Section 2.2: calls wait for the last line and have no ids."""
    call = ToolCall(name="f", arguments={}, id="call_1")
    answer = _answer(tmp_path, "/api/generate", Thinking("hm"), Text("a"), ToolCalls((call,)), _DONE)
    first, second, last = lines(answer.text)
    assert list(first.items())[2:] == [("response", ""), ("thinking", "hm"), ("done", False)]
    assert list(second.items())[2:] == [("response", "a"), ("done", False)]
    calls = [{"function": {"index": 0, "name": "f", "arguments": {}}}]
    end = {"response": "", "done": True, "done_reason": "stop", "context": [1, 2], **_METRICS, "tool_calls": calls}
    assert list(last.items())[2:] == list(end.items())


def test_a_generate_can_be_one_answer(tmp_path: Path) -> None:
    """Section 2.2."""
    body = _answer(tmp_path, "/api/generate", Thinking("h"), Text("a"), Text("b"), _DONE, stream=False).json()
    assert list(body) == [
        *("model", "created_at", "response", "thinking", "done", "done_reason", "context"),
        *_METRICS,
    ]
    assert (body["response"], body["thinking"]) == ("ab", "h")


@pytest.mark.parametrize("path", _PATHS)
def test_log_probabilities_stand_in_their_lines(tmp_path: Path, path: str) -> None:
    """Rows 99, 100."""
    two = (Logprob("a", b"a", -0.25), Logprob("é", "é".encode(), -1e-07))
    pieces = (Text("a", (TokenLogprob(two[0], two),)), Thinking("", (TokenLogprob(Logprob("", b"", 0.0)),)))
    answer = _answer(tmp_path, path, *pieces, _DONE)
    said = [line.partition('"logprobs":')[2] for line in answer.text.splitlines()]
    one = '"token":"a","logprob":-0.25,"bytes":[97]'
    assert said == [
        f'[{{{one},"top_logprobs":[{{{one}}},{{"token":"é","logprob":-1e-7,"bytes":[195,169]}}]}}]}}',
        '[{"token":"","logprob":0}]}',
        "",
    ]
    assert len(_answer(tmp_path, path, *pieces, _DONE, stream=False).json()["logprobs"]) == 2


@pytest.mark.parametrize("path", _PATHS)
@pytest.mark.parametrize("reason", ["load", "unload"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_mere_load_is_one_object_without_counts(tmp_path: Path, path: str, reason: Any, *, stream: bool) -> None:
    """Rows 34, 35, 36: whatever `stream` says."""
    answer = _answer(tmp_path, path, Progress("loading"), Done(reason, _USAGE), stream=stream)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert list(answer.json()) == ["model", "created_at", answer.json() and _said(path), "done", "done_reason"]


def _said(path: str) -> str:
    return "response" if path == "/api/generate" else "message"


@pytest.mark.parametrize("stream", [True, False])
def test_a_rendered_prompt_is_one_object(tmp_path: Path, *, stream: bool) -> None:
    """Row 101."""
    answer = _answer(tmp_path, "/api/generate", Rendered("the prompt", images=1), stream=stream).json()
    info = {"rendered_template": "the prompt", "image_count": 1}
    assert list(answer.items())[2:] == [("response", ""), ("done", False), ("_debug_info", info)]


_FAILURES = [
    (ModelNotFound("m"), 404),
    (QueueFull(), 503),
    (LoadFailed("no"), 500),
    (EngineRefused("no"), 400),
    (PromptTooLong("no"), 400),
    (BadTemplate("template: :1: unclosed action"), 500),
]


@pytest.mark.parametrize("path", _PATHS)
@pytest.mark.parametrize(("error", "status"), _FAILURES)
@pytest.mark.parametrize("stream", [True, False])
def test_an_error_before_the_first_piece_is_an_ordinary_answer(
    tmp_path: Path, path: str, error: PowerError, status: int, *, stream: bool
) -> None:
    """Row 90, and 148 for the queue that is full."""
    answer = _answer(tmp_path, path, Progress("loading"), error, stream=stream)
    assert (answer.status_code, answer.json()) == (status, {"error": error.message})
    assert answer.headers["content-type"] == ("application/json" if stream else "application/json; charset=utf-8")


def test_a_full_queue_says_when_to_come_again(tmp_path: Path) -> None:
    """Row 148."""
    answer = _answer(tmp_path, "/api/chat", QueueFull())
    assert (answer.status_code, answer.json()) == (503, {"error": _BUSY})
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", _PATHS)
def test_an_error_after_a_piece_is_the_last_line(tmp_path: Path, path: str) -> None:
    """Row 91."""
    answer = _answer(tmp_path, path, Text("a"), RunnerDied("it died"))
    assert (answer.status_code, len(lines(answer.text))) == (200, 2)
    assert answer.text.splitlines()[-1] == '{"error":"it died"}'


@pytest.mark.parametrize("path", _PATHS)
def test_an_error_after_a_piece_has_its_status_where_nothing_streams(tmp_path: Path, path: str) -> None:
    """Row 92."""
    answer = _answer(tmp_path, path, Text("a"), RunnerDied("it died"), stream=False)
    assert (answer.status_code, answer.json()) == (500, {"error": "it died"})


@pytest.mark.parametrize("before", [(), (Text("a"),)])
def test_a_bug_is_told_without_its_details(
    tmp_path: Path, before: tuple[Event, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Security INFO-01."""
    answer = _answer(tmp_path, "/api/chat", *before, ZeroDivisionError("secret"))
    number = answer.headers["x-request-id"]
    assert lines(answer.text + "\n" * (not before))[-1] == {
        "error": f"internal server error, see the server's log for request {number}"
    }
    assert answer.status_code == (200 if before else 500)
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PromptTooLong("the input length exceeds the context length"), 400),
        (EngineFailed("boom"), 400),
        (RunnerDied("boom"), 400),
        (LoadFailed("boom"), 500),
        (QueueFull(), 503),
    ],
)
def test_a_failing_embed_is_the_requests_fault(tmp_path: Path, error: PowerError, status: int) -> None:
    """Section 2.4."""
    answer = client(tmp_path, service(tmp_path, FakeInference(vectors=error))).post("/api/embed", json={"model": "m"})
    assert (answer.status_code, answer.json()) == (status, {"error": error.message})


def test_a_failing_embeddings_is_our_fault(tmp_path: Path) -> None:
    """Section 2.5."""
    played = service(tmp_path, FakeInference(vectors=PromptTooLong("too long")))
    answer = client(tmp_path, played).post("/api/embeddings", json={"model": "m", "prompt": "x"})
    assert (answer.status_code, answer.json()) == (500, {"error": "too long"})


def test_vectors_are_written_as_numbers_of_their_width(tmp_path: Path) -> None:
    """Section 1.2: 32 bits for embed, 64 for embeddings."""
    played = service(tmp_path, FakeInference(vectors=Embeddings(vectors=((0.10000000149011612, 1.0, 1e-07),))))
    http = client(tmp_path, played)
    assert http.post("/api/embed", json={"model": "m"}).text == '{"model":"m","embeddings":[[0.1,1,1e-7]]}'
    assert http.post("/api/embeddings", json={"model": "m"}).text == '{"embedding":[0.10000000149011612,1,1e-7]}'


@pytest.mark.parametrize("stream", [True, False])
def test_a_create_that_fails_at_once_has_its_status(tmp_path: Path, *, stream: bool) -> None:
    """Section 1.2."""
    played = service(tmp_path, transfers=FakeTransfers(DiskFull("no room")))
    answer = client(tmp_path, played).post("/api/create", json={"model": "x", "from": "m", "stream": stream})
    assert (answer.status_code, answer.json()) == (507, {"error": "no room"})
    assert answer.headers["content-type"] == "application/json"


def test_a_create_tells_how_far_it_is(tmp_path: Path) -> None:
    """Section 2.9."""
    script = (Progress("quantizing", "sha256:1", 10, 5), Progress("parsing GGUF"), DiskFull("no room"))
    played = service(tmp_path, transfers=FakeTransfers(*script))
    answer = client(tmp_path, played).post("/api/create", json={"model": "x", "from": "m"})
    assert answer.text.splitlines() == [
        '{"status":"quantizing","digest":"sha256:1","total":10,"completed":5}',
        '{"status":"parsing GGUF"}',
        '{"error":"no room"}',
    ]
