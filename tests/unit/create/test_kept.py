"""Models of an architecture without a conversion stay the safetensors they are."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from a3s_power.core.errors import BadFile, BadRequest
from a3s_power.core.events import Progress
from a3s_power.core.manifest import FILE, MODEL, SYSTEM
from a3s_power.core.model import Model
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create
from a3s_power.create.build import build
from a3s_power.store import Store
from a3s_power.store.archive import Unpacking, pack
from tests.conversions import arrays, safetensors
from tests.models import tiny_llama

NAME: Final = ModelName.parse("made")
FILES: Final = {
    "config.json": b'{"architectures": ["FooForCausalLM"]}',
    "model-1.safetensors": safetensors(arrays({"a": [3, 4], "conv": [1, 1, 2, 1, 2]}), "BF16"),
    "model-2.safetensors": safetensors(arrays({"norm": [4]})),
    "tokenizer.json": b"{}",
}
KEPT: Final = 'cannot be converted: unsupported architecture "FooForCausalLM"; kept as safetensors'


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def _put(store: Store, files: dict[str, bytes]) -> dict[str, str]:
    return {name: str(store.blobs.put(content)[0]) for name, content in files.items()}


def _make(store: Store, name: ModelName = NAME, **fields: Any) -> list[str]:
    said: list[Progress] = []
    build(Create(model=name, **fields), store, said.append, check_template=lambda _: None)
    return [progress.status for progress in said]


def _contents(store: Store, model: Model) -> dict[str, bytes]:
    return {layer.name: store.blobs.read(layer.blob, 10**6) for layer in model.manifest.of_type(FILE)}


def test_its_files_are_kept_under_their_names(store: Store) -> None:
    files = _put(store, {**FILES, "modeling_foo.py": b"import os", "pytorch_model.bin": b"\x80\x04"})
    said = _make(store, files=files)
    assert KEPT in said
    assert said[-1] == "success"
    model = store.models.read(NAME)
    assert _contents(store, model) == FILES
    config = model.config
    assert (config.model_format, config.model_family, config.model_families, config.model_type, config.file_type) == (
        *("safetensors", "FooForCausalLM", ["FooForCausalLM"], "20", "BF16"),
    )
    assert (model.files.weights, model.manifest.of_type(MODEL)) == ("", [])


def test_another_model_can_be_made_of_it(store: Store) -> None:
    _make(store, files=_put(store, FILES))
    other = ModelName.parse("other")
    _make(store, other, source=NAME, system="Be brief.", parameters={"seed": 1})
    store.delete(NAME)
    model = store.models.read(other)
    assert (_contents(store, model), model.system, model.parameters) == (FILES, "Be brief.", {"seed": 1})
    assert (model.config.model_format, model.config.model_family) == ("safetensors", "FooForCausalLM")
    assert {layer.source for layer in model.manifest.of_type(FILE)} == {"made:latest"}
    assert [listing.parent for listing in store.models.list() if listing.name == other] == ["made:latest"]
    assert model.manifest.of_type(SYSTEM)
    store.delete(other)
    assert list((store.root / "blobs").iterdir()) == []


def test_it_has_as_many_files_as_it_has(store: Store) -> None:
    more = {f"{number}.json": b"%d" % number for number in range(100)}
    _make(store, files=_put(store, FILES | more))
    assert _contents(store, store.models.read(NAME)) == FILES | more


def test_it_goes_from_one_store_to_another_in_an_archive(store: Store, tmp_path: Path) -> None:
    _make(store, files=_put(store, FILES))
    there = Store(tmp_path / "there")
    unpacking = Unpacking(there)
    for piece in pack(store, NAME).pieces:
        unpacking.feed(piece)
    assert unpacking.finish() == NAME
    assert _contents(there, there.models.read(NAME)) == FILES


@pytest.mark.parametrize("fields", [{"quantize": "Q8_0"}, {"adapters": ...}, {"draft_files": ...}])
@pytest.mark.parametrize("again", [False, True])
def test_what_needs_a_gguf_is_refused(store: Store, tmp_path: Path, fields: dict[str, Any], *, again: bool) -> None:
    tiny_llama(tmp_path / "tiny.gguf")
    more = _put(store, {"tiny.gguf": (tmp_path / "tiny.gguf").read_bytes()})
    fields = {name: more if value is ... else value for name, value in fields.items()}
    files = _put(store, FILES)
    if again:
        _make(store, files=files)
        fields["source"] = NAME
    else:
        fields["files"] = files
    with pytest.raises(BadRequest, match=r': unsupported architecture "FooForCausalLM"$'):
        _make(store, ModelName.parse("other"), **fields)


def test_ggufs_beside_it_and_drafts_of_its_kind_are_refused(store: Store, tmp_path: Path) -> None:
    tiny_llama(tmp_path / "tiny.gguf")
    tiny = _put(store, {"tiny.gguf": (tmp_path / "tiny.gguf").read_bytes()})
    files = _put(store, FILES)
    with pytest.raises(BadFile, match=r'^unsupported architecture "FooForCausalLM"$'):
        _make(store, files=files | tiny)
    with pytest.raises(BadFile, match=r'^unsupported architecture "FooForCausalLM"$'):
        _make(store, files=tiny, draft_files=files)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"model-2.safetensors": b""}, "unexpected end of file"),
        ({"model-2.safetensors": FILES["model-1.safetensors"]}, "duplicate tensor name"),
        ({"other.safetensors": b"\x80\x04"}, "unexpected end of file"),
        ({"tokenizer.json": b"\x80\x04"}, "tokenizer.json cannot be read"),
        ({"config.json": json.dumps({"architectures": ["a/b"]}).encode()}, r'^unsupported architecture "a/b"$'),
        (
            {"config.json": json.dumps({"architectures": ["X"], "auto_map": {"A": "b.C"}}).encode()},
            "the model's own code is not run",
        ),
    ],
)
def test_what_is_broken_or_brings_code_is_refused(store: Store, files: dict[str, bytes], message: str) -> None:
    uploaded = _put(store, FILES | files)
    with pytest.raises(BadFile, match=message):
        _make(store, files=uploaded)
    assert store.models.list() == []
