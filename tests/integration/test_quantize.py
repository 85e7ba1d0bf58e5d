"""Quantising by a real child: types, bytes and likelihood as llama.cpp's, and what is left when it ends badly."""

import asyncio
import os
import signal
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from a3s_power.core import manifest as types
from a3s_power.core.errors import BadFile, EngineFailed, EngineMissing, PowerError
from a3s_power.core.events import Progress
from a3s_power.core.model import Model
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create
from a3s_power.create import quantize_rules
from a3s_power.create.build import build
from a3s_power.create.child import Children
from a3s_power.create.quantize_rules import LEVELS, TRAINED_FOR
from a3s_power.gguf.layout import TensorType
from a3s_power.gguf.reader import read_header, read_pairs
from a3s_power.gguf.writer import Tensor, write
from a3s_power.service.transfers import LocalTransfers
from a3s_power.store import Store
from tests.likelihood import likelihoods
from tests.models import llama_key_values, tiny_llama
from tests.served import served, until
from tests.shared import REPOSITORY, shared_file
from tests.stores import files_below
from tests.wide import wide_llama

NAME: Final = ModelName.parse("made")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wide") / "wide.gguf"
    wide_llama(path)
    return path


@pytest.fixture
def slow_work(tmp_path: Path) -> Path:
    """A model that takes seconds to quantise to IQ3_S."""
    path = tmp_path / "slow.gguf"
    wide_llama(path, layers=16)
    return path


def _put(store: Store, path: Path) -> str:
    with path.open("rb") as file:
        return str(store.blobs.put(file)[0])


def _make(
    store: Store,
    path: Path,
    level: str,
    report: Callable[[Progress], None] = lambda _: None,
    children: Children | None = None,
    **fields: Any,
) -> Model:
    request = Create(model=NAME, files={"m.gguf": _put(store, path)}, quantize=level, **fields)
    children = children or Children({"PATH": "/usr/bin"})
    build(request, store, report, check_template=lambda _: None, children=children)
    return store.models.read(NAME)


def _tensors(path: Path | str) -> dict[str, tuple[str, bytes]]:
    content, header = Path(path).read_bytes(), read_header(path)
    start = header.data_offset
    return {one.name: (one.type.name, content[start + one.offset :][: one.size]) for one in header.tensors}


# What comes of it.


@pytest.mark.parametrize(
    ("source", "level", "expected"),
    [
        ("power-tiny/power-tiny-F16", "Q8_0", "power-tiny/power-tiny-Q8_0"),
        ("stories260K/stories260K-F32", "F16", "stories260K/stories260K-F16"),
        ("stories260K/stories260K-F32", "Q8_0", "stories260K/stories260K-Q8_0"),
        ("stories260K/stories260K-F32", "Q4_0", "stories260K/stories260K-Q4_0"),
    ],
)
def test_the_bytes_are_those_of_files_made_elsewhere(store: Store, source: str, level: str, expected: str) -> None:
    made = _make(store, shared_file(f"models/{source}.gguf"), level)
    assert _tensors(made.files.weights) == _tensors(shared_file(f"models/{expected}.gguf"))


@pytest.mark.parametrize(
    ("level", "shape"),
    [
        *((level, {"layers": 1}) for level in LEVELS if level != "F16"),
        *((level, {"layers": 1, "kv_heads": 4, "experts": 4}) for level in ("Q4_K_M", "MXFP4_MOE", "F32")),
        ("Q4_K_S", {"layers": 1, "tied": True}),
    ],
)
def test_every_tensor_has_the_type_that_the_rules_give(
    store: Store, tmp_path: Path, level: str, shape: dict[str, Any]
) -> None:
    source = tmp_path / "source.gguf"
    wide_llama(source, **shape)
    made = _make(store, source, level)
    planned = quantize_rules.types(read_header(source), level)
    found = read_header(made.files.weights)
    types_found = [(one.name, one.type, one.shape) for one in found.tensors]
    assert types_found == [(one.name, kind, one.shape) for one, kind in planned]
    assert made.config.file_type == level
    with source.open("rb") as before, Path(made.files.weights).open("rb") as after:
        old, new = read_pairs(before), read_pairs(after)
    assert list(new) == [*(key for key in old if key != "general.file_type"), *_REWRITTEN]
    assert all(new[key] == old[key] for key in new.keys() - set(_REWRITTEN))
    assert [found.key_values[key] for key in _REWRITTEN] == [2, LEVELS[level].number]


_REWRITTEN: Final = ("general.quantization_version", "general.file_type")


def test_unchanged_tensors_are_copied_and_others_are_not(store: Store, wide: Path) -> None:
    before, after = _tensors(wide), _tensors(_make(store, wide, "Q4_K_M").files.weights)
    assert before.keys() == after.keys()
    same = {name for name in before if before[name] == after[name]}
    assert same == {name for name in before if "norm" in name}


def test_rows_of_many_parts_are_put_together_in_order(store: Store, tmp_path: Path) -> None:
    """Three million numbers, of which each row differs: every part of the work finds its place."""
    source, rows = tmp_path / "long.gguf", 3001
    data = b"".join(struct.pack("<f", row) * 1024 for row in range(rows))
    key_values = llama_key_values(TensorType.F32)
    write(source, key_values, [Tensor("blk.0.x.weight", TensorType.F32, (1024, rows), [data])])
    ((kind, content),) = _tensors(_make(store, source, "BF16").files.weights).values()
    assert kind == "BF16"
    assert [content[2048 * row + 1] << 8 | content[2048 * row] for row in range(rows)] == [
        struct.unpack("<I", struct.pack("<f", row))[0]
        + 0x7FFF
        + (struct.unpack("<I", struct.pack("<f", row))[0] >> 16 & 1)
        >> 16
        for row in range(rows)
    ]


def test_a_model_of_the_store_is_quantised_with_all_it_has(store: Store, wide: Path) -> None:
    base = Create(
        model=ModelName.parse("base"), files={"m.gguf": _put(store, wide)}, system="Be brief.", parameters={"seed": 1}
    )
    build(base, store, lambda _: None, check_template=lambda _: None)
    request = Create(model=NAME, source=ModelName.parse("base"), quantize="q4_K_M")
    build(request, store, lambda _: None, check_template=lambda _: None)
    made, old = store.models.read(NAME), store.models.read(ModelName.parse("base"))
    assert (made.system, made.parameters, made.config.file_type) == ("Be brief.", {"seed": 1}, "Q4_K_M")
    assert made.config.model_type == old.config.model_type
    assert (old.config.file_type, made.weights == old.weights) == ("F16", False)
    sources = {layer.media_type: layer.source for layer in made.manifest.layers}
    assert sources == {types.MODEL: "", types.SYSTEM: "base:latest", types.PARAMS: "base:latest"}


def test_projectors_and_adapters_stay_as_they_are(store: Store) -> None:
    projector = _put(store, shared_file("models/power-tiny/power-tiny-mmproj.gguf"))
    adapter = _put(store, shared_file("models/power-tiny/power-tiny-lora-arr.gguf"))
    weights = _put(store, shared_file("models/power-tiny/power-tiny-F16.gguf"))
    files = {"m.gguf": weights, "p.gguf": projector}
    request = Create(model=NAME, files=files, adapters={"a.gguf": adapter}, quantize="q4_K_M")
    build(request, store, lambda _: None, check_template=lambda _: None)
    digests = [layer.digest for layer in store.models.read(NAME).manifest.layers]
    assert digests[1:] == [projector, adapter]
    assert digests[0] != weights


def test_what_is_done_is_told_as_ollama_tells_it(store: Store, wide: Path) -> None:
    said: list[Progress] = []
    made = _make(store, wide, "q4_k", said.append)
    quantizing = [one for one in said if one.status.startswith("quantizing")]
    assert {one.status for one in quantizing} == {"quantizing F16 model to Q4_K_M"}
    assert {(one.digest, one.total) for one in quantizing} == {("0000000000000000000", wide.stat().st_size)}
    done = [one.completed for one in quantizing]
    assert done == sorted(done)
    assert done[-1] >= 0.99 * wide.stat().st_size
    assert done[-1] <= wide.stat().st_size
    assert 4 < len(done) <= 201
    assert [one.status for one in said if one not in quantizing] == [
        "parsing GGUF",
        "verifying conversion",
        f"creating new layer sha256:{made.weights.hex}",
        "writing manifest",
        "success",
    ]


def test_what_is_lost_is_told_to_the_log(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "tiny.gguf"
    tiny_llama(source)
    _make(store, source, "TQ1_0")
    told = [
        (record.getMessage(), record.__dict__["fields"]) for record in caplog.records if record.levelname == "WARNING"
    ]
    assert told == [
        ("only models trained for this level keep their sense in it", {"quantize": "TQ1_0"}),
        (
            "rows are no whole blocks: other types stand in",
            {"quantize": "TQ1_0", "tensors": 16, "first": "output.weight Q8_0"},
        ),
    ]


def test_the_same_weights_are_one_layer(store: Store, wide: Path) -> None:
    first = _make(store, wide, "Q8_0").weights
    said: list[Progress] = []
    assert _make(store, wide, "Q8_0", said.append).weights == first
    assert f"using existing layer sha256:{first.hex}" in [one.status for one in said]


# How well it is done. The bounds were measured with these models and texts, with room for other processors.

_BOUNDS: Final = {
    **dict.fromkeys(("F32", "F16"), 0.002),
    **dict.fromkeys(("BF16", "Q8_0", "MXFP4_MOE"), 0.01),
    "Q6_K": 0.015,
    **dict.fromkeys(("Q5_K_M", "Q5_K_S", "Q5_0", "Q5_1"), 0.04),
    **dict.fromkeys(("Q4_K_M", "Q4_K_S", "Q4_1"), 0.04),
    **dict.fromkeys(("Q4_0", "IQ4_NL", "IQ4_XS"), 0.13),
    **dict.fromkeys(("IQ3_S", "IQ3_M", "Q3_K_M", "Q3_K_L", "Q3_K_S"), 0.13),
    "Q2_K": 0.2,
    **dict.fromkeys(TRAINED_FOR, 8.0),
}
"""By level, how far the mean log-probability of a text may be from that of F16, in nats."""


def _ask(text: str) -> str:
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


_CHAT: Final = (
    (
        _ask("Why is the sky blue?"),
        "The sky is blue because the air scatters blue light more than red light.<|im_end|>",
    ),
    (_ask("What is the capital of France?"), "The capital of France is Paris.<|im_end|>"),
)
_STORY: Final = (("", "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."),)
_SIGNS: Final = (("", "The quick brown fox jumps over the lazy dog"),)


def _differences(folder: Path, source: Path, texts: tuple[tuple[str, str], ...], levels: list[str]) -> dict[str, float]:
    """By level, how much less likely the quantised model finds the texts than its source."""

    def make(level: str) -> str:
        return _make(Store(folder / level), source, level).files.weights

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(make, levels))
    first, *others = likelihoods(texts, [source, *made])
    return {level: first - other for level, other in zip(levels, others, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "texts"), [("power-tiny/power-tiny-F16", _CHAT), ("stories260K/stories260K-F16", _STORY)]
)
def test_every_level_loads_and_finds_a_text_about_as_likely(
    tmp_path: Path, source: str, texts: tuple[tuple[str, str], ...]
) -> None:
    found = _differences(tmp_path, shared_file(f"models/{source}.gguf"), texts, list(LEVELS))
    assert {level: lost for level, lost in found.items() if abs(lost) > _BOUNDS[level]} == {}


@pytest.mark.parametrize("shape", [{}, {"kv_heads": 4, "experts": 4, "layers": 2}])
def test_our_own_models_load_and_find_a_text_about_as_likely(tmp_path: Path, shape: dict[str, Any]) -> None:
    source = tmp_path / "wide.gguf"
    wide_llama(source, **shape)
    levels = ["Q4_K_M", "Q8_0", "Q3_K_S", "Q6_K", "IQ4_XS", "MXFP4_MOE", "BF16", "Q5_0"]
    found = _differences(tmp_path, source, _SIGNS, levels)
    # Weights of chance spread wider than trained ones.
    assert {level: lost for level, lost in found.items() if abs(lost) > 3 * _BOUNDS[level]} == {}
    assert len(set(found.values())) >= len(levels) - 1


# What stands in its way.


@pytest.mark.parametrize("kind", ["Q4_K_M", "F16"])
def test_weights_that_are_no_numbers_are_refused(store: Store, tmp_path: Path, kind: str) -> None:
    source = tmp_path / "nan.gguf"
    numbers = struct.pack("<256f", *[0.5] * 200, float("nan"), *[0.5] * 55)
    write(source, llama_key_values(TensorType.F32), [Tensor("blk.0.x.weight", TensorType.F32, (256, 2), [numbers * 2])])
    before = _put(store, source)
    with pytest.raises(BadFile, match=r'^tensor "blk\.0\.x\.weight" holds values that are no numbers$'):
        _make(store, source, kind)
    assert files_below(store.root) == {f"blobs/{before.replace(':', '-')}"}


def _stop(during: Callable[[Children], None], children: Children, progress: Progress) -> None:
    """Do something to the children as soon as the first piece came: the child has more, and waits to be rid of it."""
    if progress.status.startswith("quantizing") and progress.completed < progress.total / 2:
        during(children)


def _kill(children: Children) -> None:
    for process in children._running:
        os.kill(process.pid, signal.SIGSEGV)
        process.wait()


@pytest.mark.parametrize(
    ("during", "error", "message"),
    [
        (_kill, EngineFailed, "the process that reads the weights ended with SIGSEGV"),
        (Children.end, EngineFailed, "nobody waits for this model any more"),
    ],
)
def test_a_child_that_dies_leaves_nothing(
    store: Store, wide: Path, during: Callable[[Children], None], error: type[PowerError], message: str
) -> None:
    children = Children()
    before = _put(store, wide)
    with pytest.raises(error) as caught:
        _make(store, wide, "Q4_K_M", partial(_stop, during, children), children)
    assert caught.value.message == message
    assert not children._running
    assert files_below(store.root) == {f"blobs/{before.replace(':', '-')}"}


def test_after_the_end_no_child_starts(store: Store, wide: Path) -> None:
    children = Children()
    children.end()
    with pytest.raises(EngineFailed, match="nobody waits for this model any more"):
        _make(store, wide, "Q8_0", children=children)


def test_a_wheel_without_kernels_is_told_of(store: Store, wide: Path, tmp_path: Path) -> None:
    """A stand-in for a later wheel: a package of the same name whose shared object hides everything."""
    package = tmp_path / "later" / "xllamacpp"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    hidden = next(Path(msgspec.__file__).parent.glob("_core*.so"))
    (package / "xllamacpp.abi3.so").write_bytes(hidden.read_bytes())
    with pytest.raises(EngineMissing, match="this build of xllamacpp does not offer ggml_quantize_chunk"):
        _make(store, wide, "Q4_K_M", children=Children({"PYTHONPATH": str(package.parent)}))


def test_the_child_gets_its_own_environment_and_only_the_file_it_needs(store: Store, wide: Path) -> None:
    seen: dict[str, Any] = {}

    def look(children: Children) -> None:
        (process,) = children._running
        proc = Path(f"/proc/{process.pid}")
        seen["environment"] = set((proc / "environ").read_bytes().strip(b"\0").split(b"\0"))
        seen["files"] = {str(link.readlink()) for link in (proc / "fd").iterdir()}
        seen["niceness"] = os.getpriority(os.PRIO_PROCESS, process.pid) - os.getpriority(os.PRIO_PROCESS, 0)

    children = Children({"PATH": "/usr/bin"})
    before = _put(store, wide)
    _make(store, wide, "Q4_K_M", partial(_stop, look, children), children)
    assert seen["environment"] == {b"PATH=/usr/bin", b"GGML_NO_BACKTRACE=1"}
    regular = {name for name in seen["files"] if name.startswith(str(store.root))}
    assert regular == {str(store.root / "blobs" / before.replace(":", "-"))}
    assert seen["niceness"] == 10


_BUILDER = """
import sys
from pathlib import Path
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create
from a3s_power.create.build import build
from a3s_power.create.child import Children
from a3s_power.store import Store
children = Children()
def report(progress):
    if progress.completed:
        print(*[process.pid for process in children._running], flush=True)
request = Create(model=ModelName.parse("made"), files={"m.gguf": sys.argv[2]}, quantize="IQ3_S")
build(request, Store(Path(sys.argv[1])), report, check_template=lambda _: None, children=children)
"""


def test_a_sigkill_leaves_no_child_and_no_model(store: Store, slow_work: Path) -> None:
    digest = _put(store, slow_work)
    command = [sys.executable, "-c", _BUILDER, str(store.root), digest]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as builder:
        assert builder.stdout is not None
        child = Path("/proc", builder.stdout.readline().decode().split()[0])
        builder.kill()
        builder.wait()
    until(lambda: not child.exists())
    assert not store.models.list()
    left = files_below(store.root) - {f"blobs/{digest.replace(':', '-')}"}
    assert all(len(name) == len("blobs/sha256-") + 18 for name in left)
    store.start(4e9)
    assert files_below(store.root) == set()


def test_a_caller_that_leaves_ends_the_work(store: Store, slow_work: Path) -> None:
    digest = _put(store, slow_work)

    async def leave() -> float:
        transfers = LocalTransfers(store, {"PATH": "/usr/bin"})
        request = Create(model=NAME, files={"m.gguf": digest}, quantize="IQ3_S")
        loop = asyncio.get_running_loop()
        async with transfers.create(request) as events:
            async for event in events:
                if isinstance(event, Progress) and event.completed:
                    break
            left = loop.time()
        return loop.time() - left

    assert asyncio.run(leave()) < 2
    assert files_below(store.root) == {f"blobs/{digest.replace(':', '-')}"}
    assert _children_of_ours() == []


def _children_of_ours() -> list[int]:
    own = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in own if b"quantize_child" in _command(pid)]


def _command(pid: str) -> bytes:
    """The command line of a process, empty for one that has just ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


# From outside.


def test_a_server_quantises_and_the_model_answers(tmp_path: Path) -> None:
    source = shared_file("models/power-tiny/power-tiny-F16.gguf")
    with served(tmp_path, OLLAMA_CONTEXT_LENGTH="512") as server:
        digest = str(Store(tmp_path / "none").blobs.put(source.read_bytes())[0])
        upload = urllib.request.Request(f"{server.url}/api/blobs/{digest}", source.read_bytes(), method="POST")
        urllib.request.urlopen(upload).close()
        lines = server.post("/api/create", {"model": "small", "files": {"m.gguf": digest}, "quantize": "q4_K_M"})
        assert lines[1]["status"] == "quantizing F16 model to Q4_K_M"
        assert lines[-1] == {"status": "success"}
        shown = server.post("/api/show", {"model": "small"})
        assert shown["details"]["quantization_level"] == "Q4_K_M"
        assert shown["model_info"]["general.file_type"] == 15
        asked = {"model": "small", "prompt": "What is 3 + 4?", "stream": False, "options": {"temperature": 0}}
        assert server.post("/api/generate", asked)["response"] == "7"
        request = urllib.request.Request(f"{server.url}/api/create", b'{"model":"x","from":"small","quantize":"Q8_0"}')
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == 500
        assert caught.value.read() == b'{"error":"quantization is only supported for F16, BF16 and F32 models"}'
