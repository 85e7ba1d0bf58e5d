"""The sheet's table of what is refused: request, status and the exact text, and the form of every error of the tree."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a3s_power.core.errors import (
    BadFormat,
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
from a3s_power.core.events import Done, Text
from a3s_power.core.requests import Chat
from a3s_power.core.usage import Usage
from tests.fakes import FakeInference, client, service

_CHAT = "/v1/chat/completions"
_COMPLETIONS = "/v1/completions"
_EMBEDDINGS = "/v1/embeddings"
_HI = [{"role": "user", "content": "hi"}]
_TOOL = {"type": "function", "function": {"name": "f"}}
_EFFORTS = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'
_REMOTE_IMAGE = "image URLs are not currently supported, please use base64 encoded data instead"
_NO_CALL = "invalid tool call arguments"
_AUDIO = "invalid input_audio format"
_HEX = "Invalid value for 'encoding_format' = hex. Supported values: ['float', 'base64']."
_CHOICE = 'tool_choice must be "none", "auto", "required", a function, or a list of allowed tools'
_NO_PROMPT = "prompt must be a text, a list of token ids, or a list of either"


def _said(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def _content(value: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": value} | more]}


def _image(url: Any) -> dict[str, Any]:
    return _said({"type": "image_url", "image_url": url})


def _audio(sent: Any) -> dict[str, Any]:
    return _said({"type": "input_audio", "input_audio": sent})


def _called(arguments: Any) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}


CHATS: list[tuple[int, dict[str, Any], str]] = [
    (22, {"messages": []}, "[] is too short - 'messages'"),
    (22, {"messages": None, "model": None}, "[] is too short - 'messages'"),
    (22, {"messages": [], "reasoning_effort": "x"}, "[] is too short - 'messages'"),
    (23, _said({"type": "x"}), "invalid message format"),
    (23, _said("text"), "invalid message format"),
    (23, _said({"type": "text"}), "invalid message format"),
    (23, _said({"type": "text", "text": 5}), "invalid message format"),
    (23, _said({"type": "image_url"}), "invalid message format"),
    (23, _said({"type": "image_url", "image_url": {"url": 5}}), "invalid message format"),
    (23, _content(5), "invalid message content type: float64"),
    (23, _content(1.5), "invalid message content type: float64"),
    (23, _content(True), "invalid message content type: bool"),
    (23, _content({}), "invalid message content type: map[string]interface {}"),
    (23, _content(None), "invalid message content type: <nil>"),
    (23, {"messages": [{"role": "assistant"}]}, "invalid message content type: <nil>"),
    (20, _image({"url": "https://example.org/a.png"}), _REMOTE_IMAGE),
    (20, _image("http://example.org/a.png"), _REMOTE_IMAGE),
    (20, _image({"url": "data:image/png;base64,!!!!"}), "invalid image input"),
    (20, _image({"url": "data:image/gif;base64,AAAA"}), "invalid image input"),
    (20, _image({"url": "AAAA"}), "invalid image input"),
    (21, _audio("AAAA"), _AUDIO),
    (21, _said({"type": "input_audio"}), _AUDIO),
    (21, _audio({"format": "wav"}), f"{_AUDIO}: missing data"),
    (21, _audio({"data": "AA!A"}), "invalid input_audio base64 data: illegal base64 data at input byte 2"),
    (12, _called("5"), _NO_CALL),
    (12, _called("[]"), _NO_CALL),
    (12, _called("{"), _NO_CALL),
    (12, _called(""), _NO_CALL),
    (14, {"reasoning_effort": "x"}, f'invalid reasoning value: "x" (must be {_EFFORTS})'),
    (
        15,
        {"reasoning": {"effort": "y"}, "reasoning_effort": "low"},
        f'invalid reasoning value: "y" (must be {_EFFORTS})',
    ),
    (18, {"logprobs": True, "top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
    (18, {"top_logprobs": -1}, "top_logprobs must be between 0 and 20"),
    (24, {"model": ""}, "model is required"),
    (24, {"model": None}, "model is required"),
    (24, {"model": " "}, "model is required"),
    (24, {"model": "a b"}, "invalid model name"),
    (26, {"n": 0}, "n must be between 1 and 64"),
    (26, {"n": 65}, "n must be between 1 and 64"),
    (26, {"tool_choice": "x"}, _CHOICE),
    (26, {"tool_choice": 5}, _CHOICE),
    (26, {"tool_choice": {"type": "custom", "custom": {"name": "f"}}}, _CHOICE),
    (26, {"tool_choice": "required"}, "tool_choice asks for a tool, but the request has no tools"),
    (
        26,
        {"tools": [_TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "tool_choice names 'g', which is not among the tools",
    ),
    (26, {"logit_bias": {"a": 1}}, 'option "logit_bias" must be of token ids and numbers'),
    (9, {"response_format": {"type": "json_schema"}}, "response_format json_schema has no schema"),
    (
        9,
        {"response_format": {"type": "json_object"}, "grammar": "root ::= [a-z]"},
        "only one of response_format, grammar, guided_choice, guided_regex and a required call can be followed",
    ),
    (
        26,
        {"tools": [_TOOL], "tool_choice": "required", "guided_regex": "a"},
        "only one of response_format, grammar, guided_choice, guided_regex and a required call can be followed",
    ),
    (26, {"think": "very"}, 'think must be true, false, "low", "medium", "high" or "max"'),
    (26, {"keep_alive": "x"}, 'time: invalid duration "x"'),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("row", "wrong", "complaint"), CHATS)
def test_a_chat_is_refused_in_the_references_words(
    tmp_path: Path, row: int, wrong: dict[str, Any], complaint: str, stream: bool
) -> None:
    inference = FakeInference()
    body = {"model": "m", "messages": _HI, "stream": stream} | wrong
    answer = client(tmp_path, service(tmp_path, inference)).post(_CHAT, json=body)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, complaint), row
    assert inference.asked == []


COMPLETIONS: list[tuple[int, dict[str, Any], int, str]] = [
    (39, {"stop": [5]}, 400, "invalid type for 'stop' field: float64"),
    (39, {"stop": 5}, 400, "invalid type for 'stop' field: float64"),
    (41, {"prompt": 5}, 400, _NO_PROMPT),
    (41, {"prompt": []}, 400, _NO_PROMPT),
    (41, {"prompt": ["a", 5]}, 400, _NO_PROMPT),
    (41, {"prompt": [-1]}, 400, _NO_PROMPT),
    (41, {"prompt": ["a"] * 33, "n": 2}, 400, "too many choices: the limit is 64"),
    (41, {"prompt": [5], "suffix": "x"}, 400, "a suffix needs the prompt as a text"),
    (39, {"logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    (24, {"model": ""}, 404, "model '' not found"),
    (24, {"model": "a b"}, 400, "invalid model name"),
]


@pytest.mark.parametrize(("row", "wrong", "status", "complaint"), COMPLETIONS)
def test_a_completion_is_refused_in_the_references_words(
    tmp_path: Path, row: int, wrong: dict[str, Any], status: int, complaint: str
) -> None:
    inference = FakeInference()
    answer = client(tmp_path, service(tmp_path, inference)).post(
        _COMPLETIONS, json={"model": "m", "prompt": "a"} | wrong
    )
    assert (answer.status_code, answer.json()["error"]["message"]) == (status, complaint), row
    assert inference.asked == []


EMBEDDINGS: list[tuple[int, dict[str, Any], int, str]] = [
    (44, {"encoding_format": "hex"}, 400, _HEX),
    (44, {"input": []}, 400, "invalid input"),
    (44, {"input": None}, 400, "invalid input"),
    (44, {"input": 5}, 400, "invalid input type"),
    (44, {"input": ["a", 5]}, 400, "invalid input type"),
    (44, {"input": [[]]}, 400, "invalid input type"),
    (44, {"input": ["a"] * 2049}, 400, "too many inputs: the limit is 2048"),
    (24, {"model": None}, 404, "model '' not found"),
]


@pytest.mark.parametrize(("row", "wrong", "status", "complaint"), EMBEDDINGS)
def test_vectors_are_refused_in_the_references_words(
    tmp_path: Path, row: int, wrong: dict[str, Any], status: int, complaint: str
) -> None:
    inference = FakeInference()
    answer = client(tmp_path, service(tmp_path, inference)).post(_EMBEDDINGS, json={"model": "m", "input": "a"} | wrong)
    assert (answer.status_code, answer.json()["error"]["message"]) == (status, complaint), row
    assert inference.asked == []


@pytest.mark.parametrize("path", [_CHAT, _COMPLETIONS, _EMBEDDINGS])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"model":5}', b"\xff", b'{"model":"m","messages":"x","prompt":"\xff"}']
)
def test_a_body_that_cannot_be_read_is_refused_in_the_envelope(tmp_path: Path, path: str, body: bytes) -> None:
    """Row 28."""
    answer = client(tmp_path).post(path, content=body)
    error = answer.json()["error"]
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, None)
    assert error["message"] == "EOF" if not body else len(error["message"]) > 3


DRESSED: list[tuple[PowerError, int, str, str | None, str]] = [
    (ModelNotFound("m"), 404, "not_found_error", None, "model 'm' not found"),
    (NotCapable("it cannot"), 400, "invalid_request_error", None, "it cannot"),
    (InvalidOption("bad option"), 400, "invalid_request_error", None, "bad option"),
    (BadFormat("bad format"), 500, "api_error", None, "bad format"),
    (
        PromptTooLong('{"error":{"code":400,"message":"too long","type":"exceed_context_size_error"}}'),
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "too long",
    ),
    (EngineRefused('{"error":{"code":400,"message":"no"}}'), 400, "invalid_request_error", None, "no"),
    (EngineRefused("plain"), 400, "invalid_request_error", None, "plain"),
    (NotAllowed("never"), 403, "api_error", None, "never"),
    (NotSupported("not here"), 501, "api_error", None, "not here"),
    (
        QueueFull(),
        503,
        "api_error",
        None,
        "server busy, please try again.  maximum pending requests exceeded",
    ),
    (LoadFailed("no load"), 500, "api_error", None, "no load"),
    (RunnerDied("it died"), 500, "api_error", None, "it died"),
]


@pytest.mark.parametrize("path", [_CHAT, _COMPLETIONS])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("error", "status", "kind", "code", "message"), DRESSED, ids=lambda each: str(each)[:20])
def test_an_error_before_the_first_chunk_has_its_own_status(
    tmp_path: Path, error: PowerError, status: int, kind: str, code: str | None, message: str, stream: bool, path: str
) -> None:
    """Row 24 and the others that only the model can refuse."""
    http = client(tmp_path, service(tmp_path, FakeInference(error)))
    answer = http.post(path, json={"model": "m", "messages": _HI, "prompt": "a", "stream": stream})
    assert answer.status_code == status
    assert answer.json() == {"error": {"message": message, "type": kind, "param": None, "code": code}}
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize("path", [_CHAT, _COMPLETIONS])
@pytest.mark.parametrize("wanted", [1, 3])
@pytest.mark.parametrize(("error", "kind", "code", "message"), [(each[0], *each[2:]) for each in DRESSED])
def test_an_error_after_it_is_the_last_event(
    tmp_path: Path, error: PowerError, kind: str, code: str | None, message: str, path: str, wanted: int
) -> None:
    """Row 37, with one choice and with several."""
    http = client(tmp_path, service(tmp_path, FakeInference(Text("a"), error)))
    answer = http.post(path, json={"model": "m", "messages": _HI, "prompt": "a", "stream": True, "n": wanted})
    assert answer.status_code == 200
    *_, last, rest = answer.text.split("\n\n")
    assert rest == ""
    assert json.loads(last.removeprefix("data: ")) == {
        "error": {"message": message, "type": kind, "param": None, "code": code}
    }


def test_a_field_that_is_wrong_is_named(tmp_path: Path) -> None:
    answer = client(tmp_path).post(_CHAT, json={"model": "m", "messages": _HI, "n": 0})
    assert answer.json()["error"]["param"] == "n"


@pytest.mark.parametrize(
    ("row", "path", "body", "status", "message"),
    [
        (24, _CHAT, {"model": "nope"}, 404, "model 'nope' not found"),
        (24, _COMPLETIONS, {"model": "nope"}, 404, "model 'nope' not found"),
        (44, _EMBEDDINGS, {"model": "nope", "input": "a"}, 404, 'model "nope" not found, try pulling it first'),
        (26, _CHAT, {"model": "m", "options": {"top_k": "x"}}, 400, 'option "top_k" must be of type integer'),
        (24, _CHAT, {"model": "gpt:cloud"}, 403, "ollama cloud is disabled: remote model is unavailable"),
        (
            25,
            _CHAT,
            {"model": "m", "tools": [_TOOL]},
            400,
            "registry.ollama.ai/library/m:latest does not support tools",
        ),
        (14, _CHAT, {"model": "m", "reasoning_effort": "low"}, 400, '"m" does not support thinking'),
        (
            39,
            _COMPLETIONS,
            {"model": "m", "suffix": "b"},
            400,
            "registry.ollama.ai/library/m:latest does not support insert",
        ),
        (42, _CHAT, {"model": "b"}, 400, '"b" does not support chat'),
        (42, _COMPLETIONS, {"model": "b"}, 400, '"b" does not support generate'),
        (44, _EMBEDDINGS, {"model": "m", "input": "a"}, 501, '"m" does not support embeddings'),
        (
            9,
            _CHAT,
            {"model": "m", "response_format": {"type": "json_schema", "json_schema": {"schema": 5}}},
            500,
            'invalid format: "5"; expected "json" or a valid JSON Schema object',
        ),
    ],
)
def test_a_model_is_asked_for_what_it_cannot_do(
    http: httpx2.Client, row: int, path: str, body: dict[str, Any], status: int, message: str
) -> None:
    answer = http.post(path, json={"messages": _HI, "prompt": "a"} | body)
    assert (answer.status_code, answer.json()["error"]["message"]) == (status, message), row


@pytest.mark.parametrize("prefix", ["", "/ollama"])
def test_an_unknown_path_is_answered_in_this_form(tmp_path: Path, prefix: str) -> None:
    """Row 59."""
    http = client(tmp_path)
    answer = http.post(f"{prefix}/v1/nope", json={})
    wrong = {"message": f"no such route: POST {prefix}/v1/nope", "type": "not_found_error", "param": None, "code": None}
    assert (answer.status_code, answer.json()) == (404, {"error": wrong})
    assert http.get("/v2/nope").text == "404 page not found"


@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/images/edits", "/v1/images/variations"])
def test_images_are_not_made(tmp_path: Path, path: str) -> None:
    """`/v1/images/{work}` says so for every work."""
    answer = client(tmp_path).post(path, json={"prompt": "a cat"})
    assert answer.status_code == 501
    assert answer.json()["error"]["message"] == "image generation models are not currently supported"


_FORM = "multipart/form-data; boundary=x"
_MODEL_PART = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
_NO_FORM = "failed to parse multipart form:"


def _recording(content: bytes) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    return _MODEL_PART + head + content + b"\r\n--x--\r\n"


TRANSCRIPTIONS: list[tuple[str, bytes, str]] = [
    ("application/json", b"{}", f"{_NO_FORM} request Content-Type isn't multipart/form-data"),
    ("multipart/form-data", b"", f"{_NO_FORM} no multipart boundary param in Content-Type"),
    (_FORM, b"", f"{_NO_FORM} multipart: NextPart: EOF"),
    (_FORM, _MODEL_PART, f"{_NO_FORM} multipart: NextPart: EOF"),
    (_FORM, b"--x\r\n\r\na\r\n--x--", f"{_NO_FORM} a part has no name"),
    (_FORM, _MODEL_PART * 65 + b"--x--", f"{_NO_FORM} more than 64 parts"),
    (_FORM, b"--x--", "model is required"),
    (_FORM, _MODEL_PART + b"--x--", "file is required: http: no such file"),
    (_FORM, _recording(b""), "audio file is empty"),
    (_FORM, _recording(b"GIF89a"), "audio file is neither WAV nor MP3"),
]


@pytest.mark.parametrize(("kind", "body", "complaint"), TRANSCRIPTIONS)
def test_a_recording_is_refused_in_the_references_words(tmp_path: Path, kind: str, body: bytes, complaint: str) -> None:
    """Row 46."""
    inference = FakeInference()
    http = client(tmp_path, service(tmp_path, inference))
    answer = http.post("/v1/audio/transcriptions", content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, complaint)
    assert inference.asked == []


@pytest.mark.parametrize(("form", "expected"), [("json", '{"text":"It is I."}'), ("text", "It is I.")])
def test_a_recording_is_written_down(tmp_path: Path, form: str, expected: str) -> None:
    """Row 46, played: the model gets the recording just as it was sent."""
    wav = b"RIFF\0\0\0\0WAVE\r\n--\r\n\x00"
    inference = FakeInference(Text(" It is"), Text(" I.\n"), Done("stop", Usage()))
    http = client(tmp_path, service(tmp_path, inference))
    fields = {"model": "m", "response_format": form, "language": "en", "prompt": "names"}
    answer = http.post("/v1/audio/transcriptions", data=fields, files={"file": ("a.wav", wav)})
    assert (answer.status_code, answer.text) == (200, expected)
    (asked,) = inference.asked
    assert isinstance(asked, Chat)
    assert (asked.messages[1].images, asked.asked.options.temperature) == ((wav,), 0.0)
    assert asked.messages[0].content.endswith("The language is en. Context: names")


def test_an_image_that_is_too_large_is_refused_by_its_size(tmp_path: Path) -> None:
    url = "data:image/png;base64," + base64.b64encode(bytes(16 * 2**20)).decode()
    answer = client(tmp_path).post(_CHAT, json={"model": "m"} | _image(url))
    assert answer.json()["error"]["message"] == "image too large: the limit is 20 MiB of base64"
