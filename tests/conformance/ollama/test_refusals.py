"""Rows of the sheet of Ollama's API that are a refusal: request, status and the exact text, on a real server."""

import json
from typing import Any

import httpx2
import pytest

_NO_CLOUD = "ollama cloud is disabled: remote model is unavailable"
_NONE = b""
_USER = [{"role": "user", "content": "hi"}]
_GO = "json: cannot unmarshal {} into Go struct field {} of type {}"
_FULL = "registry.ollama.ai/library/m:latest does not support {}"
_THINK = '"high", "medium", "low", "max", true, or false'
_RAW = "raw mode does not support template, system, or context"
_DIGEST = "sha256:" + "0" * 64

_OPTION = 'option "{}" must be of type {}'
_TOO_LONG = {"model": "b", "input": "a" * 5000, "truncate": False}

_NO_INPUTS: list[Any] = [1, [1, 2], [["a"]], {}, True]

_Body = dict[str, Any] | list[Any] | bytes

EXACT: list[tuple[int, str, _Body, int, str]] = [
    # Basics
    (10, "/api/chat", _NONE, 400, "missing request body"),
    (10, "/api/generate", b" \n", 400, "missing request body"),
    (11, "/api/chat", b"{", 400, "unexpected EOF"),
    (12, "/api/chat", [], 400, "json: cannot unmarshal array into Go value of type api.ChatRequest"),
    (13, "/api/chat", {"model": 1}, 400, _GO.format("number", "ChatRequest.model", "string")),
    # Model names
    (19, "/api/generate", {}, 404, "model '' not found"),
    (20, "/api/chat", {}, 400, "model is required"),
    (21, "/api/embed", {}, 404, "model '' not found"),
    (22, "/api/embeddings", {}, 400, "model is required"),
    (23, "/api/show", {}, 400, "model is required"),
    (24, "/api/generate", {"model": "nope"}, 404, "model 'nope' not found"),
    (24, "/api/chat", {"model": "nope"}, 404, "model 'nope' not found"),
    (25, "/api/embed", {"model": "nope"}, 404, 'model "nope" not found, try pulling it first'),
    (25, "/api/embeddings", {"model": "nope"}, 404, 'model "nope" not found, try pulling it first'),
    (26, "/api/show", {"model": "nope"}, 404, "model 'nope:latest' not found"),
    *(
        (27, path, {"model": name}, 400, "invalid model name")
        for name in ("a/b/c/d/e", "bad name", "m:", "-m", "m@sha256:x")
        for path in ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings")
    ),
    (29, "/api/embeddings", {"model": "B", "prompt": "x"}, 404, 'model "B" not found, try pulling it first'),
    *((32, path, {"model": "m:cloud"}, 403, _NO_CLOUD) for path in ("/api/chat", "/api/generate", "/api/embed")),
    (33, "/api/chat", {"model": "m:cloud:local"}, 400, 'use either :local or :cloud, not both: "m:cloud:local"'),
    # Load, unload, keep_alive
    (39, "/api/chat", {"model": "nope", "keep_alive": 0}, 404, "model 'nope' not found"),
    (43, "/api/generate", {"model": "m", "keep_alive": "-1"}, 400, 'time: missing unit in duration "-1"'),
    (44, "/api/generate", {"model": "m", "keep_alive": "1d"}, 400, 'time: unknown unit "d" in duration "1d"'),
    (45, "/api/generate", {"model": "m", "keep_alive": ""}, 400, 'time: invalid duration ""'),
    (46, "/api/generate", {"model": "m", "keep_alive": True}, 400, "Unsupported type: 'bool'"),
    (46, "/api/generate", {"model": "m", "keep_alive": []}, 400, "Unsupported type: '[]interface {}'"),
    (46, "/api/generate", {"model": "m", "keep_alive": {}}, 400, "Unsupported type: 'map[string]interface {}'"),
    # Capabilities and fields
    (50, "/api/generate", {"model": "b", "prompt": "x"}, 400, '"b" does not support generate'),
    (51, "/api/chat", {"model": "b"}, 400, '"b" does not support chat'),
    (52, "/api/chat", {"model": "m", "tools": [{"type": "function"}]}, 400, _FULL.format("tools")),
    (54, "/api/generate", {"model": "m", "prompt": "a", "suffix": "b"}, 400, _FULL.format("insert")),
    (55, "/api/chat", {"model": "m", "messages": _USER, "think": True}, 400, '"m" does not support thinking'),
    (55, "/api/chat", {"model": "m", "messages": _USER, "think": "low"}, 400, '"m" does not support thinking'),
    (57, "/api/chat", {"model": "m", "think": "ultra"}, 400, f'invalid think value: "ultra" (must be {_THINK})'),
    (58, "/api/chat", {"model": "m", "think": 1}, 400, f"think must be a boolean or string ({_THINK})"),
    *(
        (59, "/api/generate", {"model": "m", "prompt": "x", "raw": True, **more}, 400, _RAW)
        for more in ({"template": "{{ .Prompt }}"}, {"system": "s"}, {"context": [1]})
    ),
    (62, "/api/chat", {"model": "nope", "top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    (62, "/api/generate", {"model": "nope", "top_logprobs": -1}, 400, "top_logprobs must be between 0 and 20"),
    (
        63,
        "/api/generate",
        {"model": "m", "prompt": "x", "format": "xml"},
        500,
        'invalid format: "\\"xml\\""; expected "json" or a valid JSON Schema object',
    ),
    (
        65,
        "/api/chat",
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "text"}]}]},
        400,
        _GO.format("array", "ChatRequest.messages.content", "string"),
    ),
    (
        68,
        "/api/chat",
        {"model": "m", "messages": [{"role": "user", "images": ["data:image/png;base64,AAAA"]}]},
        400,
        "illegal base64 data at input byte 4",
    ),
    # Options
    (72, "/api/chat", {"model": "m", "options": {"num_ctx": "4096"}}, 500, _OPTION.format("num_ctx", "integer")),
    (73, "/api/chat", {"model": "m", "options": {"temperature": "0.5"}}, 500, _OPTION.format("temperature", "float32")),
    (74, "/api/chat", {"model": "m", "options": {"use_mmap": 1}}, 500, _OPTION.format("use_mmap", "boolean")),
    (75, "/api/chat", {"model": "m", "options": {"stop": "x"}}, 500, _OPTION.format("stop", "array")),
    (76, "/api/chat", {"model": "m", "options": {"stop": [1]}}, 500, 'option "stop" must be of an array of strings'),
    (
        80,
        "/api/chat",
        {"model": "m", "options": []},
        400,
        _GO.format("array", "ChatRequest.options", "map[string]interface {}"),
    ),
    (81, "/api/generate", {"model": "m", "options": {"top_k": "1"}}, 500, _OPTION.format("top_k", "integer")),
    # Embeddings
    *(
        (108, "/api/embed", {"model": model, "input": value}, 400, "invalid input type")
        for value in _NO_INPUTS
        for model in ("b", "nope")
    ),
    (112, "/api/embed", {"model": "b", "dimensions": "2"}, 400, _GO.format("string", "EmbedRequest.dimensions", "int")),
    (113, "/api/embed", _TOO_LONG, 400, "the input length exceeds the context length"),
    (
        118,
        "/api/embeddings",
        {"model": "b", "prompt": []},
        400,
        _GO.format("array", "EmbeddingRequest.prompt", "string"),
    ),
    # Store
    (122, "/api/blobs/bad", b"x", 400, "invalid digest format"),
    (123, "/api/create", {"model": "x"}, 400, "neither 'from' or 'files' was specified"),
    (124, "/api/create", {"model": "x", "files": {}}, 400, "unknown type"),
    (125, "/api/create", {"model": "x", "files": {"/a": _DIGEST}}, 400, "file path must be relative"),
    (126, "/api/create", {"model": "x", "files": {"a.gguf": ""}}, 400, "invalid digest format"),
    (132, "/api/copy", {}, 400, 'source "" is invalid'),
    (132, "/api/copy", {"source": "m"}, 400, 'destination "" is invalid'),
    (133, "/api/copy", {"source": "nope", "destination": "x"}, 404, 'model "nope" not found'),
    (135, "DELETE /api/delete", {}, 400, "model is required"),
    (136, "DELETE /api/delete", {"model": "bad name"}, 400, 'name "bad name" is invalid'),
    (137, "DELETE /api/delete", {"model": "nope"}, 404, "model 'nope' not found"),
    (139, "/api/pull", {}, 400, "invalid model name"),
    (143, "/api/push", {}, 400, "model is required"),
]

CONTAINING: list[tuple[int, str, _Body, int, str]] = [
    (61, "/api/generate", {"model": "m", "prompt": "x", "template": "{{ .Prompt"}, 500, "unclosed action"),
    (69, "/api/chat", {"model": "m", "messages": [{"content": "x", "images": ["aGk="]}]}, 400, "support"),
    (70, "/api/chat", {"messages": [{"tool_calls": [{"function": {"arguments": "{}"}}]}]}, 400, "arguments"),
    (116, "/api/embed", {"model": "m", "input": "x"}, 501, "does not support embeddings"),
    (121, f"/api/blobs/{_DIGEST}", b"x", 400, "digest mismatch, expected"),
    (130, "/api/create", {"model": "x", "from": "m", "quantize": "zzz"}, 500, "unsupported quantization type ZZZ"),
    (131, "/api/create", {"model": "x", "from": "m", "template": "{{ .Prompt"}, 400, "template error:"),
]


def asked(http: httpx2.Client, path: str, body: _Body) -> httpx2.Response:
    """The answer to a request, which is a POST unless `path` names another method."""
    method, _, path = path.rpartition(" ")
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return http.request(method or "POST", path, content=content)


@pytest.mark.parametrize(("row", "path", "body", "status", "error"), EXACT)
def test_a_refusal_is_exact(http: httpx2.Client, row: int, path: str, body: _Body, status: int, error: str) -> None:
    answer = asked(http, path, body)
    assert (answer.status_code, answer.json()) == (status, {"error": error}), f"row {row}"
    assert answer.headers["content-type"].startswith("application/json"), f"row {row}"


@pytest.mark.parametrize(("row", "path", "body", "status", "part"), CONTAINING)
def test_a_refusal_contains(http: httpx2.Client, row: int, path: str, body: _Body, status: int, part: str) -> None:
    answer = asked(http, path, body)
    assert (answer.status_code, list(answer.json())) == (status, ["error"]), f"row {row}"
    assert part in answer.json()["error"], f"row {row}"


def test_a_text_that_no_cutting_fits_is_refused_in_ollamas_words(http: httpx2.Client) -> None:
    """Row 115."""
    answer = http.post("/api/embed", json={"model": "b", "input": "hello", "options": {"num_ctx": 1}})
    assert answer.status_code == 400
    assert "maximum context length" in answer.json()["error"]


def test_a_refusal_leaves_nothing_behind(http: httpx2.Client) -> None:
    names = {model["name"] for model in http.get("/api/tags").json()["models"]}
    assert not any(name.startswith("x:") for name in names)
