"""The sheet's table of what is refused: request, status and the exact text, in the order in which fault is found."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a3s_power.core.errors import (
    BadTemplate,
    EngineRefused,
    InvalidOption,
    LoadFailed,
    ModelNotFound,
    NotAllowed,
    NotCapable,
    NotSupported,
    PowerError,
    PromptTooLong,
    QueueFull,
    RunnerDied,
)
from tests.fakes import FakeInference, client, service

_PATH = "/v1/messages"
_COUNT = "/v1/messages/count_tokens"
_HI = [{"role": "user", "content": "hi"}]
_GOOD: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": _HI}


def _blocks(*blocks: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": list(blocks)}]}


def _image(**source: Any) -> dict[str, Any]:
    return {"type": "image", "source": source}


def _result(content: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "t", "content": content}


_URL = "invalid image source type: url. Only base64 images are supported."
_ID = "tool_use block missing required 'id' field"
_NAME = "tool_use block missing required 'name' field"
_NOT_BASE64 = "invalid base64 image data: illegal base64 data at input byte 2"

EXACT: list[tuple[int, dict[str, Any], str]] = [
    (45, {"model": None, "max_tokens": 0, "messages": []}, "model is required"),
    (45, {"model": "", "max_tokens": 0}, "model is required"),
    (45, {"max_tokens": None, "messages": []}, "max_tokens is required and must be positive"),
    (45, {"max_tokens": 0, "messages": []}, "max_tokens is required and must be positive"),
    (45, {"max_tokens": -1}, "max_tokens is required and must be positive"),
    (45, {"messages": []}, "messages is required"),
    (45, {"messages": None}, "messages is required"),
    (45, _blocks(), "messages have no content"),
    (14, _blocks(_image(type="url", url="http://x/y.png")), _URL),
    (14, _blocks({"type": "image"}), "invalid image source"),
    (14, _blocks({"type": "image", "source": "x"}), "invalid image source"),
    (14, _blocks(_image(type="base64", data="aa!a")), _NOT_BASE64),
    (19, _blocks(_result([{"type": "image"}])), "invalid tool_result image source"),
    (22, _blocks({"type": "tool_use", "name": "f", "input": {}}), _ID),
    (22, _blocks({"type": "tool_use", "id": "", "name": "f"}), _ID),
    (22, _blocks({"type": "tool_use", "id": "t", "input": {}}), _NAME),
    (22, _blocks({"type": "tool_use", "id": "t", "name": "f", "input": 1}), "tool_use block 'input' must be an object"),
    (
        25,
        {"tools": [{"name": "x", "input_schema": {"type": 1}}]},
        'invalid input_schema for tool "x": Expected `str | null`, got `int` - at `$.type`',
    ),
    (
        25,
        {"tools": [{"name": "x", "input_schema": []}]},
        'invalid input_schema for tool "x": Expected `object`, got `array`',
    ),
    (
        24,
        {"tools": [{"name": "x"}], "tool_choice": {"type": "tool", "name": "y"}},
        "tool_choice: tool 'y' is not among the tools",
    ),
    (45, {"model": "bad name"}, "invalid model name"),
]


def _refused(answer: httpx2.Response, status: int, kind: str, message: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["type"], body["error"]) == (status, "error", {"type": kind, "message": message})
    assert list(body) == ["type", "error", "request_id"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["request-id"] == body["request_id"]
    assert len(body["request_id"]) == len("req_") + 24


@pytest.mark.parametrize("path", [_PATH, "/v1/messages?beta=true"])
@pytest.mark.parametrize(("row", "body", "message"), EXACT)
def test_a_wrong_request_is_refused(tmp_path: Path, row: int, path: str, body: dict[str, Any], message: str) -> None:
    """Row 10."""
    inference = FakeInference()
    answer = client(tmp_path, service(tmp_path, inference)).post(path, json=_GOOD | body)
    _refused(answer, 400, "invalid_request_error", message)
    assert inference.asked == [], f"row {row}"


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
def test_a_conversation_to_be_kept_is_refused_so_that_clients_send_the_whole(tmp_path: Path, thread: object) -> None:
    """The official tool runners begin one, and go on without when they read this code."""
    inference = FakeInference()
    answer = client(tmp_path, service(tmp_path, inference)).post(_PATH, json=_GOOD | {"thread": thread})
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "type": "invalid_request_error",
        "message": "conversations are not kept here: send the whole of it, without thread",
        "details": {"error_code": "thread_unsupported_request"},
    }
    assert inference.asked == []


def test_a_count_needs_a_model_and_messages_only(tmp_path: Path) -> None:
    http = client(tmp_path)
    _refused(http.post(_COUNT, json={"messages": _HI}), 400, "invalid_request_error", "model is required")
    _refused(http.post(_COUNT, json={"model": "m"}), 400, "invalid_request_error", "messages is required")
    empty = {"model": "m", **_blocks()}
    _refused(http.post(_COUNT, json=empty), 400, "invalid_request_error", "messages have no content")


@pytest.mark.parametrize("path", [_PATH, _COUNT])
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"model":1}', b'{"model":"\\ud800"}']
)
def test_what_is_no_such_json_is_refused(tmp_path: Path, path: str, content: bytes) -> None:
    """Row 46."""
    answer = client(tmp_path).post(path, content=content)
    assert answer.json()["error"]["message"].startswith("invalid request body: ")
    _refused(answer, 400, "invalid_request_error", answer.json()["error"]["message"])


def test_a_request_of_too_much_is_refused(tmp_path: Path) -> None:
    http = client(tmp_path)
    stops = _GOOD | {"stop_sequences": ["x"] * 65}
    _refused(http.post(_PATH, json=stops), 400, "invalid_request_error", "too many stop strings: the limit is 64")
    tools = _GOOD | {"tools": [{"name": "x"}] * 513}
    _refused(http.post(_PATH, json=tools), 400, "invalid_request_error", "too many tools: the limit is 512")
    length = {"Content-Length": str(101 * 2**20)}
    answer = http.post(_PATH, content=b"{}", headers=length)
    _refused(answer, 413, "api_error", "request body too large: the limit is 100 MiB")
    assert answer.headers["connection"] == "close"


def _engines(message: str) -> str:
    return json.dumps({"error": {"code": 400, "message": message, "type": "invalid_request_error"}})


FAILURES: list[tuple[PowerError, int, str, str]] = [
    (ModelNotFound("m"), 404, "not_found_error", "model 'm' not found"),
    (NotAllowed("no"), 403, "permission_error", "no"),
    (NotCapable("m does not support tools"), 400, "invalid_request_error", "m does not support tools"),
    (BadTemplate("odd"), 400, "invalid_request_error", "odd"),
    (InvalidOption("odd"), 400, "invalid_request_error", "odd"),
    (PromptTooLong(_engines("too long")), 400, "invalid_request_error", "too long"),
    (PromptTooLong("the input is too long"), 400, "invalid_request_error", "the input is too long"),
    (EngineRefused(_engines("bad")), 400, "invalid_request_error", "bad"),
    (QueueFull(), 503, "overloaded_error", "server busy, please try again.  maximum pending requests exceeded"),
    (LoadFailed("no"), 500, "api_error", "no"),
    (RunnerDied("it died"), 500, "api_error", "it died"),
    (NotSupported("no"), 501, "api_error", "no"),
]


@pytest.mark.parametrize("path", [_PATH, _COUNT])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("error", "status", "kind", "message"), FAILURES)
def test_a_failure_before_the_first_piece_is_an_ordinary_answer(
    tmp_path: Path, path: str, error: PowerError, status: int, kind: str, message: str, *, stream: bool
) -> None:
    """Rows 26, 44, 47, 48."""
    played = service(tmp_path, FakeInference(error))
    _refused(client(tmp_path, played).post(path, json=_GOOD | {"stream": stream}), status, kind, message)


def test_a_full_queue_says_when_to_come_again(tmp_path: Path) -> None:
    """Row 47."""
    answer = client(tmp_path, service(tmp_path, FakeInference(QueueFull()))).post(_PATH, json=_GOOD)
    assert answer.headers["retry-after"] == "1"


def test_a_bug_is_told_without_its_details(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    played = service(tmp_path, FakeInference(ZeroDivisionError("secret")))
    answer = client(tmp_path, played).post(_PATH, json=_GOOD)
    number = answer.headers["x-request-id"]
    told = f"internal server error, see the server's log for request {number}"
    _refused(answer, 500, "api_error", told)
    assert answer.headers["request-id"] == f"req_{number}"
    assert "secret" in caplog.text


def test_a_model_that_is_not_there_is_not_found(http: httpx2.Client) -> None:
    """Row 44, on a real server."""
    for path in (_PATH, _COUNT):
        answer = http.post(path, json=_GOOD | {"model": "nope"})
        _refused(answer, 404, "not_found_error", "model 'nope' not found")


def test_tools_need_a_model_that_takes_them(http: httpx2.Client) -> None:
    """Row 26, on a real server."""
    answer = http.post(_PATH, json=_GOOD | {"tools": [{"name": "f"}]})
    _refused(answer, 400, "invalid_request_error", "registry.ollama.ai/library/m:latest does not support tools")


def test_a_model_without_thinking_answers_all_the_same(http: httpx2.Client) -> None:
    """Row 31, on a real server."""
    body = _GOOD | {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    answer = http.post(_PATH, json=body).json()
    assert [block["type"] for block in answer["content"]] == ["text"]
    assert answer["usage"]["output_tokens"] == 5


def test_a_prompt_that_does_not_fit_is_refused_in_words(http: httpx2.Client) -> None:
    """Row 52: a tool's result of 100 kB, which is the last message and may not be dropped."""
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    turns = [{"role": "assistant", "content": [call]}, {"role": "user", "content": [_result("word " * 20_000)]}]
    answer = http.post(_PATH, json=_GOOD | {"model": "power-tiny", "messages": [*_HI, *turns]})
    message = answer.json()["error"]["message"]
    assert "exceeds the available context size" in message
    assert not message.startswith("{")
    _refused(answer, 400, "invalid_request_error", message)
