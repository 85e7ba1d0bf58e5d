"""The security sheet's rows on what files a model is made from: GGUF-03, GGUF-09 to GGUF-12, and ST-01 to ST-03."""

import hashlib
import io
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a3s_power.gguf.layout import TensorType, ValueType
from a3s_power.gguf.writer import Tensor, Typed, Writable, write
from tests.hostile import ODD, REFUSED, gguf, number, string
from tests.models import VOCABULARY, tiny_llama
from tests.shared import BUILTIN_MODEL
from tests.splitting import split


def _upload(http: httpx2.Client, files: Mapping[str, bytes]) -> dict[str, str]:
    digests = {name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in files.items()}
    for name, content in files.items():
        assert http.post(f"/api/blobs/{digests[name]}", content=content).status_code in (200, 201)
    return digests


def _create(http: httpx2.Client, files: Mapping[str, bytes], **fields: Any) -> httpx2.Response:
    return http.post("/api/create", json={"model": "x", "stream": False, "files": _upload(http, files), **fields})


def _refused(http: httpx2.Client, answer: httpx2.Response, status: int = 400) -> str:
    """The complaint; nothing was made, and the server goes on."""
    assert answer.status_code == status, answer.text
    assert http.post("/api/show", json={"model": "x"}).status_code == 404
    assert http.get("/api/version").status_code == 200
    return str(answer.json()["error"])


@pytest.mark.parametrize("name", ["t-size-past-end", "t-offset-past-end", "t-sum-overflow", "t-overlap", "empty"])
def test_nothing_is_made_from_memory_beyond_a_file(http: httpx2.Client, name: str) -> None:
    """GGUF-03: with quantising, which would read the tensors."""
    answer = _create(http, {"m.gguf": REFUSED[name]}, quantize="q4_K_M")
    assert _refused(http, answer)
    digest = hashlib.sha256(REFUSED[name]).hexdigest()
    assert http.delete(f"/api/blobs/sha256:{digest}").status_code == 200


@pytest.mark.parametrize(
    "vocabulary",
    [
        {"tokenizer.ggml.bos_token_id": 2**32 - 1, "tokenizer.ggml.eos_token_id": 2**31},
        {"tokenizer.ggml.tokens": Typed(ValueType.STRING, [])},
        {"tokenizer.ggml.tokens": None},
        {"tokenizer.ggml.tokens": ["a" * 70_000, *VOCABULARY[1:]]},
        {"tokenizer.ggml.tokens": [*VOCABULARY[:-2], "", ""]},
        {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": ["a", "b c d", "", "x y"]},
        {"tokenizer.ggml.token_type": [1, 2]},
    ],
)
def test_an_odd_vocabulary_is_one_models_trouble(
    http: httpx2.Client, tmp_path: Path, vocabulary: dict[str, Writable | None]
) -> None:
    """GGUF-09: it loads or it does not; the server and its other models stay."""
    tiny_llama(tmp_path / "odd.gguf", key_values=vocabulary)
    assert _create(http, {"m.gguf": (tmp_path / "odd.gguf").read_bytes()}).status_code == 200
    asked = {"model": "x", "prompt": "Hi", "stream": False, "options": {"num_predict": 2, "num_ctx": 256}}
    assert http.post("/api/generate", json=asked).status_code in (200, 400, 500)
    assert http.post("/api/generate", json=asked | {"model": "power-tiny"}).status_code == 200
    assert http.request("DELETE", "/api/delete", json={"model": "x"}).status_code == 200


def test_a_vocabulary_with_a_token_twice_is_refused(http: httpx2.Client, tmp_path: Path) -> None:
    """GGUF-09: the engine would end itself over it."""
    tiny_llama(tmp_path / "odd.gguf", key_values={"tokenizer.ggml.tokens": [*VOCABULARY[:-1], VOCABULARY[-2]]})
    answer = _create(http, {"m.gguf": (tmp_path / "odd.gguf").read_bytes()})
    assert _refused(http, answer) == 'the vocabulary has the token "}" twice: llama.cpp cannot load such a model'


_CLIP = string("general.architecture", "clip") + string("general.type", "mmproj")


@pytest.mark.parametrize(
    ("projector", "message"),
    [
        (ODD["t-name-traversal"], "more than one of the files is a model"),
        (gguf([_CLIP, number("clip.vision.image_size", 2**32 - 1)], pair_count=3), "clip.vision.image_size is"),
        (gguf([_CLIP, number("clip.vision.image_size", 0)], pair_count=3), "clip.vision.image_size is 0"),
        (gguf([_CLIP, number("clip.vision.attention.head_count", 0)], pair_count=3), "attention.head_count is 0"),
    ],
)
def test_a_projector_that_is_none_is_refused(http: httpx2.Client, projector: bytes, message: str) -> None:
    """GGUF-10."""
    files = {"m.gguf": BUILTIN_MODEL.read_bytes(), "p.gguf": projector}
    assert message in _refused(http, _create(http, files))


_Q = "blk.0.attn_q.weight"


def _lora(*shapes: tuple[str, tuple[int, ...]], architecture: str = "llama") -> bytes:
    file = io.BytesIO()
    tensors = [Tensor(name, TensorType.F32, shape, [bytes(TensorType.F32.size(shape))]) for name, shape in shapes]
    write(file, {"general.architecture": architecture, "general.type": "adapter"}, tensors)
    return file.getvalue()


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (BUILTIN_MODEL.read_bytes(), '"a.gguf" is not an adapter'),
        (ODD["t-name-traversal"], '"a.gguf" is not an adapter'),
        (_lora(architecture="gemma2"), "the adapter is for gemma2 and the model is llama"),
        (_lora((f"{_Q}.lora_a", (256, 4)), (f"{_Q}.lora_b", (8, 256))), "has another shape than the model's"),
        (_lora((f"{_Q}.lora_a", (256, 4))), "is no half of an adapter's pair"),
        (
            _lora(("../../../../tmp/pwn.lora_a", (8, 4)), ("../../../../tmp/pwn.lora_b", (4, 8))),
            "does not exist in the",
        ),
    ],
)
def test_an_adapter_that_is_none_is_refused(http: httpx2.Client, adapter: bytes, message: str) -> None:
    """GGUF-11."""
    request = {"model": "x", "from": "power-tiny", "stream": False, "adapters": _upload(http, {"a.gguf": adapter})}
    assert message in _refused(http, http.post("/api/create", json=request))


def test_parts_are_taken_from_the_request_alone(http: httpx2.Client, tmp_path: Path) -> None:
    """GGUF-12: a part alone, one of another model, a name that leaves its folder, parts that were swapped."""
    tiny_llama(tmp_path / "one.gguf", seed=1)
    tiny_llama(tmp_path / "other.gguf", seed=2, key_values={"general.architecture": "llama"})
    first, second = split((tmp_path / "one.gguf").read_bytes(), 2).values()
    three = split((tmp_path / "other.gguf").read_bytes(), 3)
    one, two = "m-00001-of-00002.gguf", "m-00002-of-00002.gguf"
    tries: list[tuple[dict[str, bytes], str]] = [
        ({"m.gguf": ODD["split-count-65535"]}, "must use llama.cpp split filename pattern"),
        ({one: first}, "has 1 shards, expected 2"),
        ({one: first, two: three["m-00002-of-00003.gguf"]}, "filename count 2 does not match metadata count 3"),
        ({one: first, "../m-00002-of-00002.gguf": second}, "file path must be relative"),
        ({one: first, "elsewhere/m-00002-of-00002.gguf": second}, "is in another folder than"),
        ({one: second, two: first}, "filename index 0 does not match metadata index 1"),
    ]
    for files, message in tries:
        assert message in _refused(http, _create(http, files))
    assert _create(http, {one: first, two: second}).json() == {"status": "success"}
    assert http.request("DELETE", "/api/delete", json={"model": "x"}).status_code == 200


def _safetensors(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content) if length is None else length) + content + data


def _tensor(shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


_CONFIG = b'{"lora_alpha": 8}'


@pytest.mark.parametrize(
    "content",
    [
        _safetensors(b"{}", length=2**64 - 1),
        _safetensors(b"{}", length=10**9),
        _safetensors(b"[" * 200_000),
        _safetensors({"t": _tensor([4], 0, 2**60)}, bytes(16)),
        _safetensors({"t": _tensor([-1], 0, 16)}, bytes(16)),
        _safetensors({"a": _tensor([4], 0, 16), "b": _tensor([4], 0, 16)}, bytes(16)),
    ],
)
def test_a_hostile_safetensors_header_is_refused(http: httpx2.Client, content: bytes) -> None:
    """ST-01, by the way that adapters come."""
    files = _upload(http, {"adapter_config.json": _CONFIG, "adapter_model.safetensors": content})
    request = {"model": "x", "from": "power-tiny", "stream": False, "adapters": files}
    _refused(http, http.post("/api/create", json=request))


def test_an_index_leads_nowhere(http: httpx2.Client) -> None:
    """ST-02."""
    index = {"weight_map": {"w": "../../../../../etc/passwd", "v": "/etc/shadow", "u": "http://127.0.0.1:1/x"}}
    files = {
        "adapter_config.json": _CONFIG,
        "model.safetensors.index.json": json.dumps(index).encode(),
        "adapter_model.safetensors": _safetensors({"w": _tensor([4], 0, 16)}, bytes(16)),
    }
    request = {"model": "x", "from": "power-tiny", "stream": False, "adapters": _upload(http, files)}
    message = _refused(http, http.post("/api/create", json=request))
    assert message == 'the adapter\'s tensor "w" has no place in a model of llama'


@pytest.mark.parametrize("name", ["pytorch_model.bin", "adapter_model.bin", "m.pt", "m.pth", "m.ckpt", "m.gguf"])
def test_pickles_are_no_weights(http: httpx2.Client, name: str) -> None:
    """ST-03: by type and by content."""
    pickle = b"cos\nsystem\n(S'touch pwn-pickle'\ntR."
    assert _refused(http, _create(http, {name: pickle})) in ("unknown type", "supplied file was not in GGUF format")
    request = {"model": "x", "from": "power-tiny", "stream": False, "adapters": _upload(http, {name: pickle})}
    _refused(http, http.post("/api/create", json=request))
    assert not Path("pwn-pickle").exists()
