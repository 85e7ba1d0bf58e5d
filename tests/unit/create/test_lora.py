import io
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.errors import BadFile, BadRequest, BlobNotFound
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create
from a3s_power.create.build import build
from a3s_power.gguf.layout import Header
from a3s_power.gguf.reader import read_header
from a3s_power.gguf.writer import Writable
from a3s_power.store import Store
from tests.models import EMBEDDING, HEADS, KV_HEADS, VOCABULARY, tiny_llama
from tests.shared import shared_file

NAME = ModelName.parse("made")
_RANK = 2
_KEYS = EMBEDDING // HEADS * KV_HEADS
_PEFT = "base_model.model.model.layers.0"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def safetensors(tensors: Mapping[str, tuple[str, Sequence[int], bytes]]) -> bytes:
    """A file of these tensors: type, shape, data."""
    header, at = dict[str, Any](), 0
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    content = json.dumps(header).encode()
    return struct.pack("<Q", len(content)) + content + b"".join(data for _, _, data in tensors.values())


def _floats(rows: int, columns: int, first: int = 0) -> tuple[str, tuple[int, int], bytes]:
    return "F32", (rows, columns), struct.pack(f"<{rows * columns}f", *range(first, first + rows * columns))


def _pair(module: str, width: int = EMBEDDING, height: int = EMBEDDING) -> dict[str, Any]:
    return {
        f"{_PEFT}.{module}.lora_A.weight": _floats(_RANK, width),
        f"{_PEFT}.{module}.lora_B.weight": _floats(height, _RANK),
    }


CONFIG: dict[str, Any] = {"peft_type": "LORA", "r": _RANK, "lora_alpha": 16, "alpha_pattern": {}, "use_dora": False}


def _make(
    store: Store,
    files: Mapping[str, bytes],
    *,
    architecture: str = "llama",
    base: Mapping[str, Writable | None] | None = None,
) -> tuple[Header, bytes]:
    """The adapter that a tiny model gets from these files."""
    model = store.root.parent / "tiny.gguf"
    key_values: dict[str, Writable | None] = {"general.architecture": architecture}
    if architecture != "llama":
        heads = {"attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS, "block_count": 2}
        key_values |= {f"{architecture}.{key}": value for key, value in heads.items()}
    tiny_llama(model, key_values=key_values | dict(base or {}))
    with model.open("rb") as file:
        weights = str(store.blobs.put(file)[0])
    adapters = {name: str(store.blobs.put(content)[0]) for name, content in files.items()}
    request = Create(model=NAME, files={"m.gguf": weights}, adapters=adapters)
    said: list[str] = []
    build(request, store, lambda progress: said.append(progress.status), check_template=lambda _: None)
    assert said[1] == "converting adapter"
    ((path, scale),) = store.models.read(NAME).files.adapters
    assert scale == 1.0
    return read_header(path), Path(path).read_bytes()


def _files(tensors: Mapping[str, Any], **config: Any) -> dict[str, bytes]:
    said = {key: value for key, value in (CONFIG | config).items() if value is not None}
    return {"adapter_config.json": json.dumps(said).encode(), "adapter_model.safetensors": safetensors(tensors)}


def _data(header: Header, content: bytes, name: str) -> bytes:
    tensor = next(tensor for tensor in header.tensors if tensor.name == name)
    return content[header.data_offset + tensor.offset :][: tensor.size]


def _numbers(header: Header, content: bytes, name: str) -> list[float]:
    data = _data(header, content, name)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def test_the_adapter_of_peft_is_the_one_converted_elsewhere(store: Store) -> None:
    folder = shared_file("models/power-tiny/power-tiny-lora-arr")
    weights = store.blobs.put(shared_file("models/power-tiny/power-tiny-F16.gguf").read_bytes())[0]
    adapters = {path.name: str(store.blobs.put(path.read_bytes())[0]) for path in folder.iterdir()}
    request = Create(model=NAME, files={"m.gguf": str(weights)}, adapters=adapters)
    build(request, store, lambda _: None, check_template=lambda _: None)
    expected = shared_file("models/power-tiny/power-tiny-lora-arr.gguf")
    path, _ = store.models.read(NAME).files.adapters[0]
    ours, theirs = read_header(path), read_header(expected)
    assert {tensor.name for tensor in ours.tensors} == {tensor.name for tensor in theirs.tensors}
    for tensor in ours.tensors:
        same = next(other for other in theirs.tensors if other.name == tensor.name)
        assert (tensor.type, tensor.shape) == (same.type, same.shape)
        mine = _data(ours, Path(path).read_bytes(), tensor.name)
        assert mine == _data(theirs, expected.read_bytes(), tensor.name)
    assert ours.key_values == {
        "general.architecture": "llama",
        "general.type": "adapter",
        "general.file_type": 1,
        "adapter.type": "lora",
        "adapter.lora.alpha": 8.0,
    }


def test_the_rows_of_queries_and_keys_are_paired(store: Store) -> None:
    files = _files(_pair("self_attn.q_proj") | _pair("self_attn.k_proj", height=_KEYS) | _pair("self_attn.o_proj"))
    header, content = _make(store, files)
    length = EMBEDDING // HEADS
    first = [row for pair in range(length // 2) for row in (pair, pair + length // 2)]
    for module, heads in (("attn_q", HEADS), ("attn_k", KV_HEADS)):
        rows = [head * length + row for head in range(heads) for row in first]
        expected = [float(row * _RANK + column) for row in rows for column in range(_RANK)]
        assert _numbers(header, content, f"blk.0.{module}.weight.lora_b") == expected
        assert _numbers(header, content, f"blk.0.{module}.weight.lora_a") == [*range(_RANK * EMBEDDING)]
    assert _numbers(header, content, "blk.0.attn_output.weight.lora_b") == [*range(EMBEDDING * _RANK)]


@pytest.mark.parametrize("architecture", ["qwen2", "gemma2", "phi3"])
def test_other_architectures_keep_their_rows(store: Store, architecture: str) -> None:
    header, content = _make(store, _files(_pair("self_attn.q_proj")), architecture=architecture)
    assert header.architecture == architecture
    assert _numbers(header, content, "blk.0.attn_q.weight.lora_b") == [*range(EMBEDDING * _RANK)]


def test_key_value_heads_may_differ_by_layer(store: Store) -> None:
    base = {"llama.attention.head_count_kv": [KV_HEADS, KV_HEADS]}
    header, _ = _make(store, _files(_pair("self_attn.k_proj", height=_KEYS)), base=base)
    assert len(header.tensors) == 2


def test_an_adapter_of_mlx_is_turned(store: Store) -> None:
    tensors = {
        "model.layers.1.mlp.up_proj.lora_a": _floats(EMBEDDING, _RANK),
        "model.layers.1.mlp.up_proj.lora_b": _floats(_RANK, 96),
    }
    config = {"lora_alpha": None, "lora_parameters": {"rank": _RANK, "scale": 10.0, "dropout": 0.0, "keys": ["x"]}}
    files = _files(tensors, **config)
    files["adapters.safetensors"] = files.pop("adapter_model.safetensors")
    header, content = _make(store, files)
    assert [(tensor.name, tensor.shape) for tensor in header.tensors] == [
        ("blk.1.ffn_up.weight.lora_a", (EMBEDDING, _RANK)),
        ("blk.1.ffn_up.weight.lora_b", (_RANK, 96)),
    ]
    down = [float(row * _RANK + column) for column in range(_RANK) for row in range(EMBEDDING)]
    assert _numbers(header, content, "blk.1.ffn_up.weight.lora_a") == down
    up = [float(row * 96 + column) for column in range(96) for row in range(_RANK)]
    assert _numbers(header, content, "blk.1.ffn_up.weight.lora_b") == up
    assert header.key_values["adapter.lora.alpha"] == 20.0


def test_an_embedding_and_an_output_have_halves_too(store: Store) -> None:
    words = len(VOCABULARY)
    tensors = {
        "base_model.model.model.embed_tokens.lora_embedding_A": _floats(_RANK, words),
        "base_model.model.model.embed_tokens.lora_embedding_B": _floats(EMBEDDING, _RANK),
        "base_model.model.lm_head.lora_A.weight": _floats(_RANK, EMBEDDING),
        "base_model.model.lm_head.lora_B.default.weight": _floats(words, _RANK),
    }
    header, content = _make(store, _files(tensors))
    assert {tensor.name: tensor.shape for tensor in header.tensors} == {
        "token_embd.weight.lora_a": (_RANK, words),
        "token_embd.weight.lora_b": (_RANK, EMBEDDING),
        "output.weight.lora_a": (EMBEDDING, _RANK),
        "output.weight.lora_b": (_RANK, words),
    }
    turned = [float(row * words + word) for word in range(words) for row in range(_RANK)]
    assert _numbers(header, content, "token_embd.weight.lora_a") == turned


def test_brain_floats_become_singles_and_halves_stay(store: Store) -> None:
    numbers = [float(number) for number in range(EMBEDDING * _RANK)]
    upper = b"".join(struct.pack("<f", number)[2:] for number in numbers)
    tensors = {
        f"{_PEFT}.self_attn.v_proj.lora_A.weight": ("BF16", (_RANK, EMBEDDING), upper),
        f"{_PEFT}.self_attn.v_proj.lora_B.weight": ("F16", (_KEYS, _RANK), bytes(2 * _KEYS * _RANK)),
    }
    header, content = _make(store, _files(tensors))
    assert [(tensor.type.name, tensor.shape) for tensor in header.tensors] == [
        ("F32", (EMBEDDING, _RANK)),
        ("F16", (_RANK, _KEYS)),
    ]
    exact = [struct.unpack("<f", b"\0\0" + upper[at : at + 2])[0] for at in range(0, len(upper), 2)]
    assert _numbers(header, content, "blk.0.attn_v.weight.lora_a") == exact
    assert header.key_values["general.file_type"] == 0


def test_an_adapter_may_come_in_several_files(store: Store) -> None:
    files = _files(_pair("self_attn.v_proj", height=_KEYS)) | {
        "more/x.safetensors": safetensors(_pair("self_attn.o_proj"))
    }
    header, _ = _make(store, files)
    assert len(header.tensors) == 4


def test_an_index_is_not_looked_into(store: Store) -> None:
    """ST-02: names in it lead nowhere."""
    index = {"weight_map": {"w": "../../../../../etc/passwd", "u": "http://127.0.0.1:1/x"}}
    files = _files(_pair("self_attn.o_proj")) | {"model.safetensors.index.json": json.dumps(index).encode()}
    assert len(_make(store, files)[0].tensors) == 2


@pytest.mark.parametrize(
    ("config", "alpha"),
    [
        ({"lora_alpha": 16}, 16.0),
        ({"lora_alpha": 0.5, "r": 99}, 0.5),
        ({"lora_alpha": 16, "use_rslora": True}, 16 * _RANK**0.5),
        ({"lora_alpha": None, "lora_parameters": {"alpha": 3, "scale": 9}}, 3.0),
        ({"lora_alpha": None, "lora_parameters": {"rank": 8, "scale": 3}}, 3.0 * _RANK),
    ],
)
def test_the_scale_is_what_the_config_says(store: Store, config: dict[str, Any], alpha: float) -> None:
    header, _ = _make(store, _files(_pair("self_attn.o_proj"), **config))
    assert header.key_values["adapter.lora.alpha"] == pytest.approx(alpha)


_O = _pair("self_attn.o_proj")
_WEIGHTS = safetensors(_O)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"adapter_model.safetensors": _WEIGHTS}, "the adapter has no adapter_config.json"),
        (_files(_O) | {"adapter_config.json": b"[" * 100_000}, "adapter_config.json cannot be read"),
        (_files(_O) | {"adapter_config.json": b" " * (1 << 20) + b"{}"}, "is larger than 1048576 bytes"),
        (_files(_O, lora_alpha="16"), "adapter_config.json cannot be read"),
        (_files(_O, lora_alpha=None), "adapter_config.json has no lora_alpha"),
        (_files(_O, lora_alpha=0), "an adapter with an alpha of 0.0 cannot be converted"),
        (_files(_O, lora_alpha=1e300), "an adapter with an alpha of 1e[+]300 cannot be converted"),
        (_files(_O, lora_alpha=1e-40), "an adapter with an alpha of 1e-40 cannot be converted"),
        (_files(_O, use_dora=True), "adapters with use_dora cannot be converted"),
        (_files(_O, fan_in_fan_out=True), "adapters with fan_in_fan_out cannot be converted"),
        (_files(_O, alpha_pattern={"q_proj": 4}), "adapters with alpha_pattern cannot be converted"),
        (_files({f"{_PEFT}.self_attn.o_proj.weight": _floats(4, 4)}), "has no place in a model of llama"),
        (_files({f"{_PEFT}.self_attn.x_proj.lora_A.weight": _floats(4, 4)}), "has no place in a model of llama"),
        (_files({"lora_A.weight": _floats(4, 4)}), "has no place in a model of llama"),
        (_files({f"{_PEFT}.lm_head.lora_A.weight": _floats(4, 4)}), "has no place in a model of llama"),
        (_files({f"{'model.' * 150}x.lora_A": _floats(4, 4)}), "has no place in a model of llama"),
        (_files({f"{_PEFT}.mlp.up_proj.lora_magnitude_vector": _floats(4, 4)}), "has no place in a model of llama"),
        (_files({f"{_PEFT}.mlp.up_proj.lora_A.weight": ("F32", (4,), bytes(16))}), "is no narrow matrix"),
        (_files({f"{_PEFT}.mlp.up_proj.lora_A.weight": ("I32", (2, 2), bytes(16))}), "is no narrow matrix"),
        (_files({f"{_PEFT}.mlp.up_proj.lora_A.weight": ("F32", (0, 2), b"")}), "is no narrow matrix"),
        (_files({next(iter(_O)): _O[next(iter(_O))]}), "is no half of an adapter's pair"),
        (_files(_pair("self_attn.o_proj", width=32)), "has another shape than the model's"),
        (_files(_pair("mlp.up_proj", height=64)), "has another shape than the model's"),
        (_files(_pair("self_attn.q_proj", height=EMBEDDING - 2)), "are no whole pairs for 4 heads"),
        (_files(_pair("self_attn.qkv_proj")), "does not exist in the model"),
        (_files({name.replace("layers.0", "layers.9"): of for name, of in _O.items()}), "does not exist in the model"),
        (_files(_O) | {"b.safetensors": _WEIGHTS}, "duplicate tensor"),
        (_files(_O) | {"adapter_model.safetensors": _WEIGHTS[:-1]}, "and the file at"),
        (_files(_O) | {"adapter_model.safetensors": b"cos\nsystem\n(S'touch pwn'\ntR."}, "is cut off"),
    ],
)
def test_an_adapter_that_cannot_be_is_refused(store: Store, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(BadFile, match=message):
        _make(store, files)
    assert not store.models.list()


def test_several_ranks_and_a_scale_that_depends_on_them_are_refused(store: Store) -> None:
    other = {
        f"{_PEFT}.self_attn.v_proj.lora_A.weight": _floats(4, EMBEDDING),
        f"{_PEFT}.self_attn.v_proj.lora_B.weight": _floats(_KEYS, 4),
    }
    header, _ = _make(store, _files(_O | other))
    assert len(header.tensors) == 4
    with pytest.raises(BadFile, match="several ranks"):
        _make(store, _files(_O | other, use_rslora=True))


def test_an_architecture_nothing_is_known_of_is_refused(store: Store) -> None:
    with pytest.raises(BadRequest, match=r"^unsupported architecture$"):
        _make(store, _files(_O), architecture="mamba")


def test_an_adapter_that_was_not_uploaded_is_refused(store: Store) -> None:
    weights = str(store.blobs.put(io.BytesIO(_WEIGHTS))[0])
    gone = f"sha256:{'0' * 64}"
    adapters = {"adapter_model.safetensors": weights, "adapter_config.json": gone}
    request = Create(model=NAME, source=ModelName.parse("power-tiny"), adapters=adapters)
    with pytest.raises(BlobNotFound):
        build(request, store, lambda _: None, check_template=lambda _: None)
