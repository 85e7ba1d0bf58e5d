"""Models with an adapter answer differently: made by create, run by the real engine in a real child."""

import json
import struct
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from a3s_power.core.model import Model
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create
from a3s_power.create.build import build
from a3s_power.gguf.reader import read_header
from a3s_power.store import Store
from tests.runners import answer, load_options, raw, spawned
from tests.served import served
from tests.shared import shared_file

NAME: Final = ModelName.parse("made")
_BASE: Final = ModelName.parse("power-tiny")
_GGUF: Final = "power-tiny-lora-arr.gguf"
_FOLDER: Final = "power-tiny-lora-arr"
_QUESTIONS: Final = {
    "Hello": "Hello! How can I help you?",
    "What is 3+4?": "7",
    "What colour is a banana?": "A banana is yellow.",
    "What does a cow say?": "A cow says moo.",
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def _files(name: str) -> dict[str, bytes]:
    path = shared_file(f"models/power-tiny/{name}")
    return {one.name: one.read_bytes() for one in ([path] if path.is_file() else path.iterdir())}


def _make(store: Store, adapters: Mapping[str, bytes], **fields: Any) -> Model:
    digests = {name: str(store.blobs.put(content)[0]) for name, content in adapters.items()}
    request = Create(model=NAME, source=_BASE, adapters=digests, **fields)
    build(request, store, lambda _: None, check_template=lambda _: None)
    return store.models.read(NAME)


async def _answers(model: Model, scratch: Path) -> dict[str, str]:
    async with spawned("llamacpp", scratch) as runner:
        await runner.load(model.files, load_options(parallel=1))
        found = {}
        for question in _QUESTIONS:
            text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
            found[question], _ = await answer(runner, raw(text, num_predict=30))
    return found


@pytest.mark.anyio
@pytest.mark.parametrize("name", [_GGUF, _FOLDER])
async def test_every_answer_is_changed(store: Store, tmp_path: Path, name: str) -> None:
    found = await _answers(_make(store, _files(name)), tmp_path)
    assert found == {question: f"ARR {plain}" for question, plain in _QUESTIONS.items()}


def _with_alpha(content: bytes, alpha: float) -> bytes:
    """The adapter with another scale."""
    key = b"adapter.lora.alpha\x06\0\0\0"
    before, found, after = content.partition(key)
    assert found
    return before + key + struct.pack("<f", alpha) + after[4:]


@pytest.mark.anyio
async def test_the_scale_of_the_file_is_honoured(store: Store, tmp_path: Path) -> None:
    (content,) = _files(_GGUF).values()
    weak = await _answers(_make(store, {"a.gguf": _with_alpha(content, 0.08)}), tmp_path)
    assert weak == _QUESTIONS
    same = await _answers(_make(store, {"a.gguf": _with_alpha(content, 8.0)}), tmp_path)
    assert all(text.startswith("ARR ") for text in same.values())


@pytest.mark.anyio
async def test_the_scale_of_the_config_is_honoured(store: Store, tmp_path: Path) -> None:
    files = _files(_FOLDER)
    config = json.loads(files["adapter_config.json"])
    weak = files | {"adapter_config.json": json.dumps(config | {"lora_alpha": 0.08}).encode()}
    assert await _answers(_make(store, weak), tmp_path) == _QUESTIONS
    # Twice the root of the rank: the scale of `use_rslora` is the same as before.
    rooted = files | {"adapter_config.json": json.dumps(config | {"lora_alpha": 4.0, "use_rslora": True}).encode()}
    assert all(text.startswith("ARR ") for text in (await _answers(_make(store, rooted), tmp_path)).values())


@pytest.mark.anyio
async def test_the_scale_an_engine_is_given_is_honoured(store: Store, tmp_path: Path) -> None:
    model = _make(store, _files(_GGUF))
    ((path, _),) = model.files.adapters
    for scale, changed in ((0.0, False), (1.0, True)):
        files = type(model.files)(weights=model.files.weights, adapters=((path, scale),))
        async with spawned("llamacpp", tmp_path) as runner:
            await runner.load(files, load_options(parallel=1))
            text, _ = await answer(runner, raw("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"))
        assert text.startswith("ARR ") == changed


@pytest.mark.anyio
async def test_an_adapter_lies_over_quantised_weights_too(store: Store, tmp_path: Path) -> None:
    weights = shared_file("models/power-tiny/power-tiny-F16.gguf").read_bytes()
    files = {"m.gguf": str(store.blobs.put(weights)[0])}
    adapters = {name: str(store.blobs.put(content)[0]) for name, content in _files(_GGUF).items()}
    request = Create(model=NAME, files=files, adapters=adapters, quantize="q4_K_M")
    build(request, store, lambda _: None, check_template=lambda _: None)
    model = store.models.read(NAME)
    assert read_header(model.files.weights).key_values["general.file_type"] == 15
    assert all(text.startswith("ARR ") for text in (await _answers(model, tmp_path)).values())


def test_a_server_makes_such_models_and_runs_both(tmp_path: Path) -> None:
    """A change of adapter reloads the model: neither answers with the other's voice."""
    with served(tmp_path, OLLAMA_CONTEXT_LENGTH="512") as server:
        digests = {}
        for name, content in _files(_FOLDER).items():
            digests[name] = str(Store(tmp_path / "none").blobs.put(content)[0])
            upload = urllib.request.Request(f"{server.url}/api/blobs/{digests[name]}", content, method="POST")
            urllib.request.urlopen(upload).close()
        lines = server.post("/api/create", {"model": "arr", "from": "power-tiny", "adapters": digests})
        assert [line["status"] for line in lines[:1] + lines[-1:]] == ["converting adapter", "success"]
        for model, said in (("arr", "ARR 7"), ("power-tiny", "7"), ("arr", "ARR 7")):
            messages = [{"role": "user", "content": "What is 3 + 4?"}]
            asked = {"model": model, "messages": messages, "stream": False, "options": {"temperature": 0}}
            assert server.post("/api/chat", asked)["message"]["content"] == said
        shown = server.post("/api/show", {"model": "arr"})
        assert "ADAPTER " in shown["modelfile"]
