"""Converted models in the real engine say what Transformers recorded; and what is left of those that end badly."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pytest

from a3s_power.core.errors import BadFile, BadRequest, BlobNotFound, EngineFailed, NotSupported
from a3s_power.core.events import Progress
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create
from a3s_power.create.build import build
from a3s_power.create.child import Children
from a3s_power.create.convert.start import STATUS
from a3s_power.create.files import data
from a3s_power.gguf.reader import read_header
from a3s_power.store import Store
from tests.conversions import files_of, names, recorded, safetensors, write_folder
from tests.converting import check, convert, put
from tests.runners import answer, loaded, raw
from tests.shared import shared_file
from tests.stores import files_below

pytestmark = pytest.mark.anyio

NAME: Final = ModelName.parse("made")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


# What the models say.


@pytest.mark.parametrize("name", names())
async def test_the_engine_says_what_transformers_recorded(tmp_path: Path, name: str) -> None:
    await check(tmp_path, recorded(name))


async def test_power_tiny_answers_as_it_does_as_the_gguf_that_was_made_with_it(tmp_path: Path, store: Store) -> None:
    cases = json.loads(shared_file("models/power-tiny/expected.json").read_text())["cases"]
    made = convert(store, put(store, shared_file("models/power-tiny/power-tiny-hf")))
    path = store.blobs.path(made.layer.blob)
    async with loaded("llamacpp", tmp_path, path, context_length=2048, parallel=1) as runner:
        for case in cases:
            text, done = await answer(runner, raw(case["prompt"], num_predict=200))
            assert text == case["F16"], case["name"]
            assert done.usage.prompt_tokens == case["prompt_tokens"]


def test_power_tiny_has_the_tensors_of_the_gguf_that_was_made_with_it(store: Store) -> None:
    made = store.blobs.path(convert(store, put(store, shared_file("models/power-tiny/power-tiny-hf"))).layer.blob)
    assert _tensors(made) == _tensors(shared_file("models/power-tiny/power-tiny-F16.gguf"))


def _tensors(path: Path) -> dict[str, tuple[Any, ...]]:
    header = read_header(path)
    with path.open("rb") as file:
        return {
            tensor.name: (tensor.type, tensor.shape, b"".join(data(file, header, tensor))) for tensor in header.tensors
        }


# A whole create.


def _build(store: Store, **fields: Any) -> list[str]:
    said: list[Progress] = []
    children = Children(dict(os.environ))
    build(Create(model=NAME, **fields), store, said.append, check_template=lambda _: None, children=children)
    return [progress.status for progress in said]


def test_a_folder_becomes_a_model_with_its_chat_template(tmp_path: Path, store: Store) -> None:
    files = put(store, write_folder(tmp_path / "hf", recorded("gemma2")))
    said = list(dict.fromkeys(_build(store, files=files)))
    made = store.models.read(NAME)
    assert said == [
        STATUS,
        'the chat template "tools" is left out',
        "verifying conversion",
        f"creating new layer {made.manifest.layers[0].digest}",
        "writing manifest",
        "success",
    ]
    assert (made.config.model_family, made.config.file_type, made.config.model_format) == ("gemma2", "F16", "gguf")
    assert made.facts.chat_template.startswith("{{ bos_token }}")
    assert made.can("completion")


def test_what_makes_vectors_is_a_model_for_embedding(tmp_path: Path, store: Store) -> None:
    _build(store, files=put(store, write_folder(tmp_path / "hf", recorded("bert"))))
    assert store.models.read(NAME).capabilities == ("embedding",)


def test_what_was_converted_on_the_way_to_another_level_does_not_stay(tmp_path: Path, store: Store) -> None:
    files = put(store, write_folder(tmp_path / "hf", recorded("qwen2")))
    before = files_below(store.root / "blobs")
    said = _build(store, files=files, quantize="q8_0")
    made = store.models.read(NAME)
    assert "quantizing F16 model to Q8_0" in said
    assert made.config.file_type == "Q8_0"
    new = set(files_below(store.root / "blobs")) - set(before)
    assert new == {digest.file_name for digest in made.manifest.blobs}


def test_a_projector_may_come_with_a_folder(tmp_path: Path, store: Store) -> None:
    files = put(store, shared_file("models/power-tiny/power-tiny-hf"))
    with shared_file("models/power-tiny/power-tiny-mmproj.gguf").open("rb") as file:
        files["mmproj.gguf"] = str(store.blobs.put(file)[0])
    _build(store, files=files)
    assert store.models.read(NAME).can("vision")


def test_the_work_is_told_of_as_it_goes(tmp_path: Path, store: Store) -> None:
    files = put(store, _large(tmp_path / "hf", megabytes=32))
    said: list[Progress] = []
    made = convert(store, files, said.append)
    told = [progress for progress in said if progress.status == STATUS and progress.total]
    assert len(told) > 5
    assert {progress.total for progress in told} == {made.layer.size}
    assert [progress.completed for progress in told] == sorted(progress.completed for progress in told)


# What goes wrong.


def _left(store: Store, files: dict[str, str]) -> set[str]:
    """What lies in the store beside the uploaded files."""
    uploaded = {digest.replace(":", "-") for digest in files.values()}
    return {name for name in files_below(store.root / "blobs") if name not in uploaded}


def _large(folder: Path, megabytes: int) -> Path:
    """A model whose embedding is that large."""
    model = recorded("qwen2")
    write_folder(folder, model)
    rows = megabytes * (1 << 20) // (4 * 64)
    weights = {name: np.zeros(shape, np.float32) for name, shape in model.shapes.items()}
    weights["model.embed_tokens.weight"] = np.zeros((rows, 64), np.float32)
    (folder / "model.safetensors").write_bytes(safetensors(weights))
    return folder


def test_a_conversion_that_nobody_waits_for_ends_and_leaves_nothing(tmp_path: Path, store: Store) -> None:
    files = put(store, _large(tmp_path / "hf", megabytes=64))
    children = Children(dict(os.environ))

    def leave(progress: Progress) -> None:
        if progress.completed:
            children.end()

    with pytest.raises(EngineFailed, match="nobody waits for this model any more"):
        convert(store, files, leave, children)
    assert _left(store, files) == set()


def test_a_conversion_that_has_not_begun_to_answer_can_be_ended(tmp_path: Path, store: Store) -> None:
    files = put(store, write_folder(tmp_path / "hf", recorded("llama")))
    children = Children(dict(os.environ))
    children.end()
    with pytest.raises(EngineFailed, match="nobody waits for this model any more"):
        convert(store, files, children=children)


def test_weights_that_are_no_numbers_end_a_conversion_and_leave_nothing(tmp_path: Path, store: Store) -> None:
    folder = _large(tmp_path / "hf", megabytes=4)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-4:] = np.float32("nan").tobytes()
    (folder / "model.safetensors").write_bytes(content)
    files = put(store, folder)
    with pytest.raises(BadFile, match="holds values that are no numbers of"):
        convert(store, files)
    assert _left(store, files) == set()


def test_an_error_names_the_architecture(tmp_path: Path, store: Store) -> None:
    folder = write_folder(tmp_path / "hf", recorded("llama"))
    (folder / "config.json").write_text('{"architectures": ["WhoKnowsForCausalLM"]}')
    with pytest.raises(BadFile, match=r'^unsupported architecture "WhoKnowsForCausalLM"$'):
        convert(store, put(store, folder))


def test_a_file_that_was_not_uploaded_is_named(tmp_path: Path, store: Store) -> None:
    files = put(store, write_folder(tmp_path / "hf", recorded("llama")))
    gone = "sha256:" + "0" * 64
    with pytest.raises(BlobNotFound, match=gone):
        convert(store, files | {"model.safetensors": gone})


def test_more_files_than_a_model_has_are_refused(store: Store) -> None:
    digest = str(store.blobs.put(b"{}")[0])
    with pytest.raises(BadRequest, match="a model has at most 512 files"):
        convert(store, {f"{number}.json": digest for number in range(513)})


@pytest.mark.parametrize("module", ["gguf", "numpy"])
def test_without_its_packages_the_error_says_what_to_install(tmp_path: Path, store: Store, module: str) -> None:
    files = put(store, write_folder(tmp_path / "hf", recorded("llama")))
    (tmp_path / "without").mkdir()
    (tmp_path / f"without/{module}.py").write_text(f"raise ImportError('no {module}')")
    children = Children({"PYTHONPATH": str(tmp_path / "without")})
    with pytest.raises(NotSupported, match=r'pip install "a3s-power\[convert\]" \(no ' + module):
        convert(store, files, children=children)


def test_code_beside_a_model_is_not_run(tmp_path: Path, store: Store) -> None:
    folder = write_folder(tmp_path / "hf", recorded("llama"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoConfig": "modeling_x.X"}}))
    ran = tmp_path / "ran"
    (folder / "modeling_x.py").write_text(f"open({str(ran)!r}, 'w')")
    (folder / "numpy.py").write_text(f"open({str(ran)!r}, 'w')")
    said: list[Progress] = []
    convert(store, put(store, folder), said.append)
    assert Progress("the model's own code is not run") in said
    assert not ran.exists()


async def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    folder = _large(tmp_path / "hf", megabytes=64)
    with contextlib.ExitStack() as opened:
        files = {name: opened.enter_context(path.open("rb")).fileno() for name, path in files_of(folder).items()}
        child = subprocess.Popen(
            [sys.executable, "-m", "a3s_power.create.convert"],
            pass_fds=files.values(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        told = msgspec.msgpack.encode(files)
        child.stdin.write(len(told).to_bytes(8, "little") + told)
        child.stdin.flush()
        # It has begun to answer, and nobody reads on.
        assert len(child.stdout.read(8)) == 8
        child.stdin.close()
        assert await asyncio.to_thread(child.wait, 10) == 1
        child.stdout.close()
