"""Safetensors that cannot be converted: made, shown, listed, copied and deleted as every model, and never loaded."""

import hashlib
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.conversions import arrays, safetensors

FILES = {
    "config.json": b'{"architectures": ["FooForCausalLM"]}',
    "model.safetensors": safetensors(arrays({"a": [16, 64]})),
    "tokenizer.json": b"{}",
}
NO_ENGINE = '"kept-foo" is kept as safetensors: this version has no engine for "FooForCausalLM"'


def _uploaded(http: httpx2.Client) -> dict[str, str]:
    digests = {name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in FILES.items()}
    for name, content in FILES.items():
        assert http.post(f"/api/blobs/{digests[name]}", content=content).status_code in (200, 201)
    return digests


def _delete(http: httpx2.Client, name: str) -> int:
    return http.request("DELETE", "/api/delete", json={"model": name}).status_code


@pytest.fixture
def kept(http: httpx2.Client) -> Iterator[str]:
    """What create said of a model that stays as it is, `kept-foo`."""
    yield http.post("/api/create", json={"model": "kept-foo", "files": _uploaded(http)}).text
    _delete(http, "kept-foo")


def test_create_says_that_it_keeps_what_it_cannot_convert(http: httpx2.Client, kept: str) -> None:
    said = 'cannot be converted: unsupported architecture \\"FooForCausalLM\\"; kept as safetensors'
    assert said in kept
    assert kept.splitlines()[-1] == '{"status":"success"}'
    shown = http.post("/api/show", json={"model": "kept-foo"}).json()
    details = {"family": "FooForCausalLM", "families": ["FooForCausalLM"], "format": "safetensors"}
    assert shown["details"] == details | {"parent_model": "", "parameter_size": "1K", "quantization_level": "F32"}
    assert shown["model_info"] == {"general.architecture": "FooForCausalLM"}
    assert "\nFROM kept-foo:latest\n" in shown["modelfile"]
    (listed,) = [model for model in http.get("/api/tags").json()["models"] if model["name"] == "kept-foo:latest"]
    assert (listed["details"]["format"], listed["size"] > sum(map(len, FILES.values()))) == ("safetensors", True)


@pytest.mark.usefixtures("kept")
def test_it_is_copied_made_anew_and_deleted(http: httpx2.Client) -> None:
    assert http.post("/api/copy", json={"source": "kept-foo", "destination": "kept-copy"}).status_code == 200
    made = {"model": "kept-made", "from": "kept-copy", "system": "Be brief.", "stream": False}
    assert http.post("/api/create", json=made).json() == {"status": "success"}
    assert (_delete(http, "kept-foo"), _delete(http, "kept-copy")) == (200, 200)
    shown = http.post("/api/show", json={"model": "kept-made"}).json()
    assert (shown["system"], shown["details"]["format"]) == ("Be brief.", "safetensors")
    assert shown["details"]["parent_model"] == "kept-copy:latest"
    assert _delete(http, "kept-made") == 200
    gone = f"sha256:{hashlib.sha256(FILES['model.safetensors']).hexdigest()}"
    assert http.head(f"/api/blobs/{gone}").status_code == 404


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/generate", {"prompt": "Hi"}),
        ("/api/generate", {}),
        ("/api/chat", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("/api/embed", {"input": "Hi"}),
        ("/api/tokenize", {"text": "Hi"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/messages", {"max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/responses", {"input": "Hi"}),
        ("/v1/rerank", {"query": "Hi", "documents": ["a"]}),
    ],
)
def test_whoever_asks_it_is_told_its_architecture(http: httpx2.Client, path: str, body: dict[str, Any]) -> None:
    answer = http.post(path, json={"model": "kept-foo"} | body)
    assert answer.status_code == 501
    error = answer.json()["error"]
    assert (error if isinstance(error, str) else error["message"]) == NO_ENGINE


@pytest.mark.usefixtures("kept")
def test_it_may_be_told_to_leave_memory(http: httpx2.Client) -> None:
    answer = http.post("/api/generate", json={"model": "kept-foo", "keep_alive": 0, "stream": False})
    assert (answer.status_code, answer.json()["done_reason"]) == (200, "unload")


def test_it_cannot_be_quantized(http: httpx2.Client) -> None:
    body = {"model": "kept-foo", "files": _uploaded(http), "quantize": "q4_K_M", "stream": False}
    answer = http.post("/api/create", json=body)
    said = 'weights kept as safetensors cannot be quantized: unsupported architecture "FooForCausalLM"'
    assert (answer.status_code, answer.json()) == (400, {"error": said})
