import io
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core import manifest as types
from a3s_power.core.errors import BadFile, ModelNotFound
from a3s_power.core.events import Progress
from a3s_power.core.limits import MIB
from a3s_power.core.model import Model
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create
from a3s_power.create.build import build
from a3s_power.gguf.layout import TensorType, ValueType
from a3s_power.gguf.reader import read_header, read_pairs
from a3s_power.gguf.writer import Tensor, Typed, Writable, write
from a3s_power.store import Store
from tests.hostile import ODD
from tests.models import tiny_llama
from tests.shared import shared_file
from tests.splitting import split, split_keys

NAME = ModelName.parse("made")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    tiny_llama(path)
    return path.read_bytes()


def _make(store: Store, files: Mapping[str, bytes], **fields: Any) -> list[Progress]:
    said: list[Progress] = []
    digests = {name: str(store.blobs.put(content)[0]) for name, content in files.items()}
    build(Create(model=NAME, files=digests, **fields), store, said.append, check_template=lambda _: None)
    return said


def _made(store: Store) -> Model:
    return store.models.read(NAME)


def _weights(store: Store) -> bytes:
    return Path(_made(store).files.weights).read_bytes()


def _tensors(content: bytes) -> dict[str, bytes]:
    header = read_header(io.BytesIO(content))
    return {one.name: content[header.data_offset + one.offset :][: one.size] for one in header.tensors}


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("prefix", ["m", "a/b/Model-Q4", "x-00001-of-00002"])
def test_parts_are_merged_into_the_file_they_were(store: Store, tiny: bytes, count: int, prefix: str) -> None:
    parts = split(tiny, count, prefix)
    _make(store, dict(reversed(parts.items())), system="x")
    made = _weights(store)
    assert read_pairs(io.BytesIO(made)) == read_pairs(io.BytesIO(tiny))
    assert _tensors(made) == _tensors(tiny)
    assert made == tiny
    assert [layer.media_type for layer in _made(store).manifest.layers] == [types.MODEL, types.SYSTEM]


def test_what_is_done_is_told(store: Store, tiny: bytes) -> None:
    parts = split(tiny, 3)
    said = _make(store, parts)
    assert [progress.status for progress in said[:3]] == ["parsing GGUF"] * 3
    merging = [progress for progress in said if progress.status == "merging 3 parts of m-00001-of-00003.gguf"]
    total = sum(map(len, parts.values()))
    assert {(progress.digest, progress.total) for progress in merging} == {("0000000000000000000", total)}
    assert [progress.completed for progress in merging] == sorted(progress.completed for progress in merging)
    assert merging[-1].completed >= len(tiny) - 100
    assert [progress.status.partition(" sha256")[0] for progress in said[-3:]] == [
        "creating new layer",
        "writing manifest",
        "success",
    ]


def test_files_that_are_no_parts_may_lie_beside(store: Store, tiny: bytes) -> None:
    projector = shared_file("models/power-tiny/power-tiny-mmproj.gguf").read_bytes()
    _make(store, {"p.gguf": projector, **split(tiny, 2)})
    assert [layer.media_type for layer in _made(store).manifest.layers] == [types.MODEL, types.PROJECTOR]


def test_other_alignments_are_kept(store: Store) -> None:
    file = io.BytesIO()
    key_values: dict[str, Writable] = {"general.architecture": "llama", "general.alignment": 256}
    write(file, key_values, [Tensor(name, TensorType.F32, (3,), [bytes(range(12))]) for name in "abc"])
    _make(store, split(file.getvalue(), 2))
    assert _weights(store) == file.getvalue()


def test_a_projector_may_be_split_too(store: Store, tiny: bytes) -> None:
    projector = shared_file("models/power-tiny/power-tiny-mmproj.gguf").read_bytes()
    _make(store, {"m.gguf": tiny, **split(projector, 2, "p")})
    (path,) = _made(store).files.projectors
    assert _tensors(Path(path).read_bytes()) == _tensors(projector)


def _one(**key_values: Writable) -> bytes:
    file = io.BytesIO()
    about: dict[str, Writable] = {"general.architecture": "llama"}
    write(file, about | {name.replace("__", "."): value for name, value in key_values.items()})
    return file.getvalue()


def test_a_name_alone_makes_no_part(store: Store, tiny: bytes) -> None:
    _make(store, {"m-00001-of-00003.gguf": tiny})
    assert _weights(store) == tiny


def test_one_part_of_one_is_a_whole_file(store: Store) -> None:
    content = _one(split__count=1, split__no=0)
    _make(store, {"m.gguf": content})
    assert _weights(store) == content


def _part(index: int, count: int, *, tensors: int = 0, architecture: str = "", names: str = "") -> bytes:
    file = io.BytesIO()
    about: dict[str, Writable] = {"general.architecture": architecture} if architecture else {}
    data = [Tensor(name, TensorType.F32, (8,), [bytes(32)]) for name in names]
    write(file, about | split_keys(index, count, tensors), data)
    return file.getvalue()


_FIRST = _part(0, 2, tensors=2, architecture="llama", names="a")
_SECOND = _part(1, 2, tensors=2, names="b")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"m.gguf": _one(split__count=3, split__no=0)},
            'split GGUF "m.gguf" must use llama.cpp split filename pattern',
        ),
        (
            {"m-00000-of-00002.gguf": _FIRST},
            'split GGUF "m-00000-of-00002.gguf" must use llama.cpp split filename pattern',
        ),
        ({"m-1-of-2.gguf": _FIRST}, 'split GGUF "m-1-of-2.gguf" must use llama.cpp split filename pattern'),
        (
            {"m-00001-of-00003.gguf": _FIRST},
            'split GGUF "m-00001-of-00003.gguf" filename count 3 does not match metadata count 2',
        ),
        (
            {"m-00002-of-00002.gguf": _FIRST},
            'split GGUF "m-00002-of-00002.gguf" filename index 1 does not match metadata index 0',
        ),
        (
            {"m-00001-of-00002.gguf": _SECOND, "m-00002-of-00002.gguf": _FIRST},
            'split GGUF "m-00001-of-00002.gguf" filename index 0 does not match metadata index 1',
        ),
        (
            {"m-00001-of-00002.gguf": _one(split__count=2)},
            'split GGUF "m-00001-of-00002.gguf" is missing split.no metadata',
        ),
        ({"m-00001-of-00002.gguf": _FIRST}, 'split GGUF "m-00001-of-00002.gguf" has 1 shards, expected 2'),
        ({"m-00002-of-00002.gguf": _SECOND}, 'split GGUF "m-00002-of-00002.gguf" has 1 shards, expected 2'),
        (
            {"m-00001-of-00002.gguf": _FIRST, "n-00002-of-00002.gguf": _SECOND},
            'split GGUF "m-00001-of-00002.gguf" has 1 shards, expected 2',
        ),
        (
            {"a/m-00001-of-00002.gguf": _FIRST, "b/m-00001-of-00002.gguf": _FIRST},
            "split GGUF has duplicate shard index 0",
        ),
        (
            {"m-00002-of-00002.gguf": _SECOND, "m-00003-of-00002.gguf": _part(2, 2)},
            "split GGUF is missing first shard",
        ),
        (
            {"m-00001-of-00002.gguf": _FIRST, "m-00003-of-00002.gguf": _part(2, 2)},
            'split GGUF "m-00003-of-00002.gguf" filename index 2 exceeds metadata count 2',
        ),
        (
            {"a/m-00001-of-00002.gguf": _FIRST, "b/m-00002-of-00002.gguf": _SECOND},
            'split GGUF "b/m-00002-of-00002.gguf" is in another folder than "a/m-00001-of-00002.gguf"',
        ),
        (
            {"m-00001-of-00002.gguf": _FIRST, "m-00002-of-00002.gguf": _part(1, 2, tensors=9)},
            'split GGUF "m-00002-of-00002.gguf" tensor count does not match "m-00001-of-00002.gguf"',
        ),
        (
            {"m-00001-of-00002.gguf": _FIRST, "m-00002-of-00002.gguf": _part(1, 2, tensors=2)},
            'split GGUF "m-00001-of-00002.gguf" has 1 tensors, expected 2',
        ),
        (
            {"m-00001-of-00002.gguf": _FIRST, "m-00002-of-00002.gguf": _part(1, 2, tensors=2, names="a")},
            'split GGUF "m-00002-of-00002.gguf" contains duplicate tensor "a"',
        ),
        (
            {"m-00001-of-00002.gguf": _FIRST, "m-00002-of-00002.gguf": _part(1, 2, architecture="gemma2")},
            'split GGUF "m-00002-of-00002.gguf" architecture does not match "m-00001-of-00002.gguf"',
        ),
        ({"m.gguf": ODD["split-count-65535"]}, 'split GGUF "m.gguf" must use llama.cpp split filename pattern'),
        (
            {"m-00001-of-65535.gguf": ODD["split-count-65535"]},
            'split GGUF "m-00001-of-65535.gguf" has 1 shards, expected 65535',
        ),
        (
            {"m.gguf": b"GGUF\3\0\0\0" + bytes(8) + b"\1" + bytes(7) + _SECOND[24:][:22]},
            "is missing split.count metadata",
        ),
    ],
)
def test_parts_that_are_no_model_are_refused(store: Store, files: dict[str, bytes], message: str) -> None:
    """GGUF-12, and all of Ollama's complaints."""
    with pytest.raises(BadFile) as caught:
        _make(store, files)
    assert caught.value.message.endswith(message)
    with pytest.raises(ModelNotFound):
        _made(store)


def test_a_part_beside_its_folder_is_never_looked_for(store: Store) -> None:
    files = {"m-00001-of-00002.gguf": _FIRST, "../m-00002-of-00002.gguf": _SECOND}
    with pytest.raises(Exception, match=r"^file path must be relative$"):
        _make(store, files)


def test_a_part_without_the_parts_keys_is_none(store: Store, tiny: bytes) -> None:
    files = split(tiny, 2)
    files["m-00002-of-00002.gguf"] = tiny
    with pytest.raises(BadFile, match=r'split GGUF "m-00001-of-00002\.gguf" has 1 shards, expected 2'):
        _make(store, files)


def test_a_failed_merge_leaves_only_what_was_uploaded(store: Store, tiny: bytes) -> None:
    def leave(progress: Progress) -> None:
        if progress.status == "writing manifest":
            raise ConnectionResetError

    digests = {name: str(store.blobs.put(content)[0]) for name, content in split(tiny, 2).items()}
    before = set((store.root / "blobs").iterdir())
    with pytest.raises(ConnectionResetError):
        build(Create(model=NAME, files=digests), store, leave, check_template=lambda _: None)
    assert set((store.root / "blobs").iterdir()) == before


def test_the_merge_needs_little_memory(store: Store) -> None:
    file = io.BytesIO()
    size = 24 * MIB
    write(
        file,
        {"general.architecture": "llama", "x": Typed(ValueType.UINT8, [1, 2])},
        [Tensor(name, TensorType.I8, (size,), [bytes(size)]) for name in "ab"],
    )
    parts = split(file.getvalue(), 2)
    digests = {name: str(store.blobs.put(content)[0]) for name, content in parts.items()}
    del parts, file
    tracemalloc.start()
    build(Create(model=NAME, files=digests), store, lambda _: None, check_template=lambda _: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB
