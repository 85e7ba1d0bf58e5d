"""The security sheet's rows on models of safetensors that are to be converted: ST-01 to ST-05."""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conversions import recorded, write_folder


@pytest.fixture
def model(tmp_path: Path) -> dict[str, bytes]:
    """A model that can be converted."""
    folder = write_folder(tmp_path / "hf", recorded("llama-linear"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _create(http: httpx2.Client, files: Mapping[str, bytes]) -> httpx2.Response:
    digests = {name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in files.items()}
    for name, content in files.items():
        assert http.post(f"/api/blobs/{digests[name]}", content=content).status_code in (200, 201)
    return http.post("/api/create", json={"model": "x", "stream": False, "files": digests})


def _refused(http: httpx2.Client, files: Mapping[str, bytes]) -> str:
    """The complaint; nothing was made, and the server goes on."""
    answer = _create(http, files)
    assert answer.status_code == 400, answer.text
    assert http.post("/api/show", json={"model": "x"}).status_code == 404
    assert http.get("/api/version").status_code == 200
    return str(answer.json()["error"])


def _safetensors(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content) if length is None else length) + content + data


def _tensor(shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


def test_a_model_of_safetensors_answers(http: httpx2.Client, model: dict[str, bytes]) -> None:
    assert _create(http, model).json() == {"status": "success"}
    asked = {"model": "x", "prompt": "Hi", "stream": False, "options": {"num_predict": 4, "num_ctx": 256}}
    answer = http.post("/api/generate", json=asked)
    assert (answer.status_code, answer.json()["eval_count"]) == (200, 4)
    details = http.post("/api/show", json={"model": "x"}).json()["details"]
    assert (details["family"], details["format"], details["quantization_level"]) == ("llama", "gguf", "F16")
    assert http.request("DELETE", "/api/delete", json={"model": "x"}).status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        _safetensors(b"{}", length=2**64 - 1),
        _safetensors(b"{}", length=10**9),
        _safetensors(b"[" * 200_000),
        _safetensors({"t": _tensor([4], 0, 2**60)}, bytes(16)),
        _safetensors({"t": _tensor([-1], 0, 16)}, bytes(16)),
        _safetensors({"a": _tensor([4], 0, 16), "b": _tensor([4], 0, 16)}, bytes(16)),
        _safetensors({"model.embed_tokens.weight": _tensor([2**31, 2**31], 0, 0)}),
        b"",
    ],
)
def test_a_hostile_header_is_refused(http: httpx2.Client, model: dict[str, bytes], content: bytes) -> None:
    """ST-01."""
    _refused(http, model | {"model.safetensors": content})


_UNKNOWN = json.dumps({"architectures": ["FooForCausalLM"]}).encode()


@pytest.mark.parametrize(
    "files",
    [
        {"model.safetensors": _safetensors(b"{}", length=2**64 - 1)},
        {"model.safetensors": _safetensors({"t": _tensor([4], 0, 2**60)}, bytes(16))},
        {"model.safetensors": b"cos\nsystem\n(S'touch pwn-pickle'\ntR."},
        {"adapter.safetensors": b"\x80\x04pickle"},
        {"more/model.safetensors": b""},
        {"model.safetensors.index.json": b'{"weight_map": {"w": "../../etc/passwd"}}'},
        {"tokenizer.json": b'{"model":' * 100_000},
        {"generation_config.json": b"\x80\x04pickle"},
        {"config.json": json.dumps({"architectures": ["../Foo\n"]}).encode()},
    ],
)
def test_what_cannot_be_converted_is_only_kept_if_all_of_it_is_sound(
    http: httpx2.Client, model: dict[str, bytes], files: dict[str, bytes]
) -> None:
    """ST-01 to ST-03, of an architecture that has no conversion."""
    _refused(http, model | {"config.json": _UNKNOWN} | files)


def test_an_index_leads_nowhere(http: httpx2.Client, model: dict[str, bytes]) -> None:
    """ST-02."""
    for place in ("../../../../../etc/passwd", "/etc/shadow", "http://127.0.0.1:1/x", "tokenizer.json"):
        index = json.dumps({"weight_map": {"w": place}}).encode()
        _refused(http, model | {"model.safetensors.index.json": index})


@pytest.mark.parametrize("name", ["model.safetensors", "model-00001-of-00001.safetensors"])
def test_a_pickle_under_another_name_is_no_weights(http: httpx2.Client, model: dict[str, bytes], name: str) -> None:
    """ST-03: by content. Beside safetensors a pickle is not looked at."""
    pickle = b"cos\nsystem\n(S'touch pwn-pickle'\ntR."
    assert "safetensors" in _refused(http, model | {name: pickle})
    assert _create(http, model | {"pytorch_model.bin": pickle}).json() == {"status": "success"}
    assert http.request("DELETE", "/api/delete", json={"model": "x"}).status_code == 200
    assert not Path("pwn-pickle").exists()


def test_a_models_own_code_is_not_run(http: httpx2.Client, model: dict[str, bytes], tmp_path: Path) -> None:
    """ST-04: of an architecture nobody knows, and of one that needs none."""
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')".encode()
    config = json.loads(model["config.json"]) | {
        "auto_map": {"AutoModelForCausalLM": "modeling_x.X", "AutoTokenizer": ["tokenization_x.X", None]},
        "custom_pipelines": {"x": {"impl": "modeling_x.X"}},
    }
    files = model | {"modeling_x.py": code, "tokenization_x.py": code, "__init__.py": code, "gguf.py": code}
    said = _refused(http, files | {"config.json": json.dumps(config | {"architectures": ["X"]}).encode()})
    assert said == 'unsupported architecture "X"; the model\'s own code is not run'
    assert _create(http, files | {"config.json": json.dumps(config).encode()}).json() == {"status": "success"}
    assert http.request("DELETE", "/api/delete", json={"model": "x"}).status_code == 200
    assert not ran.exists()


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("config.json", {"max_position_embeddings": 10**18}),
        ("config.json", {"num_hidden_layers": 10**9}),
        ("config.json", {"vocab_size": 10**9, "hidden_size": 10**9}),
        ("config.json", b'{"a":' * 100_000),
        ("tokenizer.json", b'{"model":' * 100_000),
        ("tokenizer.json", {"model": {"type": "BPE", "byte_fallback": True, "vocab": {"<0x0A>": 10**18}}}),
        ("tokenizer.json", {"pre_tokenizer": {"type": "ByteLevel"}, "model": {"type": "BPE", "ignore_merges": True}}),
        (
            "tokenizer.json",
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}] * 100_000}},
        ),
        (
            "tokenizer.json",
            {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}},
        ),
        ("tokenizer_config.json", {"chat_template": "x" * (2 << 20)}),
    ],
)
def test_hostile_settings_are_refused(
    http: httpx2.Client, model: dict[str, bytes], name: str, change: bytes | dict[str, Any]
) -> None:
    """ST-05."""
    if isinstance(change, bytes):
        _refused(http, model | {name: change})
        return
    changed = json.loads(model[name]) | change
    if "model" in change:
        changed["model"] = json.loads(model[name])["model"] | change["model"]
    _refused(http, model | {name: json.dumps(changed).encode()})
