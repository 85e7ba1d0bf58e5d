import io
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core import limits
from a3s_power.core import manifest as types
from a3s_power.core.digests import Digest
from a3s_power.core.errors import (
    BadFile,
    BadRequest,
    BadTemplate,
    BlobNotFound,
    InvalidDigest,
    ModelNotFound,
    PowerError,
)
from a3s_power.core.events import Progress
from a3s_power.core.manifest import ConfigBlob, Layer, Manifest, write_config, write_manifest
from a3s_power.core.messages import Message
from a3s_power.core.model import Model
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create
from a3s_power.core.sizes import human_count
from a3s_power.create.build import build
from a3s_power.gguf.layout import TensorType
from a3s_power.gguf.reader import read_header
from a3s_power.gguf.writer import Tensor, Writable, write
from a3s_power.store import Store
from tests.hostile import ODD, REFUSED, string
from tests.models import llama_shapes, tiny_llama
from tests.shared import BUILTIN_MODEL, shared_file

NAME = ModelName.parse("made")
SMALLEST = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("general.architecture", "test")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def tiny(tmp_path: Path) -> bytes:
    tiny_llama(tmp_path / "tiny.gguf")
    return (tmp_path / "tiny.gguf").read_bytes()


def _nothing_wrong(template: str) -> None:
    pass


def _make(store: Store, check_template: Callable[[str], None] = _nothing_wrong, **fields: Any) -> list[str]:
    said: list[Progress] = []
    build(Create(model=NAME, **fields), store, said.append, check_template=check_template)
    return [progress.status for progress in said]


def _put(store: Store, content: bytes) -> str:
    return str(store.blobs.put(content)[0])


def _made(store: Store) -> Model:
    return store.models.read(NAME)


def _digests(store: Store, media_type: str) -> list[str]:
    return [layer.digest.removeprefix("sha256:") for layer in _made(store).manifest.of_type(media_type)]


def _gguf(key_values: Mapping[str, Writable], *tensors: Tensor) -> bytes:
    file = io.BytesIO()
    write(file, key_values, tensors)
    return file.getvalue()


def _files(store: Store) -> set[str]:
    return {path.name for path in (store.root / "blobs").iterdir()}


def test_a_gguf_becomes_a_model_as_it_is(store: Store, tiny: bytes) -> None:
    digest = _put(store, tiny)
    assert _make(store, files={"tiny.gguf": digest}) == [
        "parsing GGUF",
        f"using existing layer {digest}",
        "writing manifest",
        "success",
    ]
    made = _made(store)
    assert made.manifest.layers == (Layer(media_type=types.MODEL, digest=digest, size=len(tiny)),)
    assert made.config == ConfigBlob(
        model_format="gguf",
        model_family="llama",
        model_families=["llama"],
        model_type=human_count(made.facts.parameters),
        file_type="F16",
    )


def test_the_blobs_are_those_of_the_sheet(store: Store) -> None:
    """The digests stand in ollama-store-registry.md, section 6."""
    digest = _put(store, SMALLEST)
    assert digest == "sha256:89a2116c3a82d6a97f59f748d86ed4417214353fd178ee54df418fde32495fad"
    messages = (
        Message(role="assistant", content="What is my purpose?"),
        Message(role="user", content="You run tests."),
        Message(role="assistant", content="Oh, my god."),
    )
    parameters = {"temperature": 0.6, "top_k": 10, "top_p": 0.7, "stop": ["USER:", "ASSISTANT:"]}
    _make(store, files={"m.gguf": digest}, template="{{ .Prompt }}", parameters=parameters, messages=messages)
    assert _digests(store, types.TEMPLATE) == ["b507b9c2f6ca642bffcd06665ea7c91f235fd32daeefdf875a0f938db05fb315"]
    assert _digests(store, types.PARAMS) == ["e29a7b3c47287a2489c895d21fe413c20f859a85d20e749492f52a838e36e1ba"]
    assert _digests(store, types.MESSAGES) == ["298baeaf6928a60cf666d88d64a1ba606feb43a2865687c39e40652e407bffc4"]
    config = _made(store).manifest.config.digest
    assert config == "sha256:99759ad5b91e723db0393d698ffbb448b1b7df5ff6377a108c49254583b1bc8c"


def test_parameters_are_written_as_go_writes_them(store: Store) -> None:
    parameters = {"stop": ["<|endoftext|>"], "temperature": 0.6, "top_k": 10, "top_p": 0.7}
    _make(store, files={"m.gguf": _put(store, SMALLEST)}, parameters=parameters)
    assert _digests(store, types.PARAMS) == ["12f58bb75cb3042d69a7e013ab87fb3c3c7088f50ddc62f0c77bd332f0d44d35"]


def test_layers_are_told_in_the_order_of_the_manifest(store: Store) -> None:
    model = _put(store, SMALLEST)
    _put(store, b"Be brief.")
    lines = _make(store, files={"m.gguf": model}, template="{{ .Prompt }}", system="Be brief.", licenses=("a", "b"))
    template, system, *licenses = (Digest.of(text) for text in (b"{{ .Prompt }}", b"Be brief.", b"a", b"b"))
    assert lines == [
        "parsing GGUF",
        f"using existing layer {model}",
        f"creating new layer {template}",
        f"using existing layer {system}",
        *(f"creating new layer {text}" for text in licenses),
        "writing manifest",
        "success",
    ]


def _based(store: Store, **fields: Any) -> Model:
    """Make `base` with a layer of each kind, then `made` from it."""
    base = Create(
        model=ModelName.parse("base"),
        files={"m.gguf": _put(store, SMALLEST)},
        template="{{ .Prompt }}",
        system="Be brief.",
        licenses=("a",),
        parameters={"stop": ["x", "y"], "top_k": 10},
        messages=(Message(role="user", content="Hi"),),
        parser="qwen3",
        renderer="qwen3-coder",
        requires="v0.14",
    )
    build(base, store, lambda _: None, check_template=_nothing_wrong)
    _make(store, source=ModelName.parse("BASE"), **fields)
    return _made(store)


def test_from_a_model_takes_all_of_it(store: Store) -> None:
    made = _based(store)
    assert made.system == "Be brief."
    assert made.template == "{{ .Prompt }}"
    assert made.licenses == ("a",)
    assert made.parameters == {"stop": ["x", "y"], "top_k": 10}
    assert made.messages == (Message(role="user", content="Hi"),)
    assert (made.config.renderer, made.config.parser, made.config.requires) == ("qwen3-coder", "qwen3", "0.14")
    assert {layer.source for layer in made.manifest.layers} == {"base:latest"}


def test_from_a_model_what_is_said_anew_replaces_or_adds(store: Store) -> None:
    made = _based(
        store,
        template="{{ .System }}",
        system="Be long.",
        licenses=("b", "c"),
        parameters={"stop": ["z"], "seed": 1},
        messages=(Message(role="user", content="Ho"),),
        parser="cogito",
        renderer="cogito",
        requires="1",
    )
    assert (made.template, made.system) == ("{{ .System }}", "Be long.")
    assert made.licenses == ("a", "b", "c")
    assert made.parameters == {"stop": ["z"], "seed": 1, "top_k": 10}
    assert made.messages == (Message(role="user", content="Ho"),)
    assert (made.config.renderer, made.config.parser, made.config.requires) == ("cogito", "cogito", "1")
    kinds = [layer.media_type.rpartition(".")[2] for layer in made.manifest.layers]
    assert kinds == ["model", "license", "template", "system", "license", "license", "params", "messages"]


def test_a_template_of_the_old_kind_is_replaced_too(store: Store) -> None:
    model = _put(store, SMALLEST)
    old = Layer(media_type=types.PROMPT, digest=_put(store, b"old"), size=3)
    config = Layer(media_type=types.CONFIG_TYPE, digest=_put(store, write_config(ConfigBlob())), size=1)
    weights = Layer(media_type=types.MODEL, digest=model, size=len(SMALLEST))
    base = ModelName.parse("base")
    store.write(base, write_manifest(Manifest(config=config, layers=(weights, old))))
    assert store.models.read(base).template == "old"
    _make(store, source=base, template="new")
    assert [layer.media_type for layer in _made(store).manifest.layers] == [types.MODEL, types.TEMPLATE]


def test_a_model_may_be_made_from_itself(store: Store) -> None:
    _make(store, files={"m.gguf": _put(store, SMALLEST)}, system="one")
    _make(store, source=NAME, system="two")
    assert _made(store).system == "two"
    assert Digest.of(b"one").file_name not in _files(store)


def test_the_built_in_model_can_be_a_source(store: Store) -> None:
    _make(store, source=ModelName.parse("power-tiny"), system="Be brief.")
    assert _made(store).facts.parameters == 2_754_816


def test_a_projector_and_an_adapter_become_their_layers(store: Store) -> None:
    model = _put(store, BUILTIN_MODEL.read_bytes())
    projector = _put(store, shared_file("models/power-tiny/power-tiny-mmproj.gguf").read_bytes())
    adapter = _put(store, shared_file("models/power-tiny/power-tiny-lora-arr.gguf").read_bytes())
    lines = _make(store, files={"a.gguf": projector, "b.gguf": model}, adapters={"c.gguf": adapter})
    assert lines[:3] == ["parsing GGUF"] * 3
    kinds = [layer.media_type for layer in _made(store).manifest.layers]
    assert kinds == [types.MODEL, types.PROJECTOR, types.ADAPTER]
    assert _made(store).config.model_families == ["llama"]


def test_an_adapter_can_be_laid_over_a_model_of_the_store(store: Store) -> None:
    adapter = shared_file("models/power-tiny/power-tiny-lora-arr.gguf").read_bytes()
    _make(store, source=ModelName.parse("power-tiny"), adapters={"arr.gguf": _put(store, adapter)})
    assert len(_made(store).files.adapters) == 1


def test_files_beside_a_source_are_laid_over_it(store: Store, tiny: bytes) -> None:
    """ollama-modelfile.md, section 6: where Ollama loses the projector."""
    base, clip = ModelName.parse("base"), _put(store, _gguf({"general.architecture": "clip", "general.type": "mmproj"}))
    build(Create(model=base, files={"m.gguf": _put(store, tiny)}), store, lambda _: None, check_template=_nothing_wrong)
    _make(store, source=base, files={"p.gguf": clip, "a.gguf": _put(store, _adapter(_pair(_Q, (64, 4), (4, 64))))})
    assert [layer.media_type for layer in _made(store).manifest.layers] == [types.MODEL, types.PROJECTOR, types.ADAPTER]
    other = _put(store, _gguf({"general.architecture": "clip", "general.type": "mmproj", "general.name": "other"}))
    _make(store, source=NAME, files={"p.gguf": other})
    assert _digests(store, types.PROJECTOR) == [other.removeprefix("sha256:")]


def test_a_source_and_the_files_of_another_model_are_refused(store: Store, tiny: bytes) -> None:
    source, digest = ModelName.parse("power-tiny"), _put(store, tiny)
    with pytest.raises(BadRequest, match=r"'from' names a model, and the file \"m\.gguf\" is another one"):
        _make(store, source=source, files={"m.gguf": digest})
    with pytest.raises(BadRequest, match="can only be projectors and adapters in GGUF"):
        _make(store, source=source, files={"model.safetensors": digest})


def test_a_draft_model_is_a_layer_of_its_own(store: Store, tiny: bytes) -> None:
    model, draft = _put(store, BUILTIN_MODEL.read_bytes()), _put(store, tiny)
    _make(store, files={"m.gguf": model}, draft_files={"d.gguf": draft})
    assert [layer.media_type for layer in _made(store).manifest.layers] == [types.MODEL, types.DRAFT]
    assert _made(store).files.draft == str(store.blobs.path(Digest.parse(draft)))
    assert _made(store).config.model_families == ["llama"]


def test_a_draft_model_stays_until_another_one_is_named(store: Store, tmp_path: Path, tiny: bytes) -> None:
    tiny_llama(tmp_path / "other.gguf", seed=1)
    other = _put(store, (tmp_path / "other.gguf").read_bytes())
    _make(store, source=ModelName.parse("power-tiny"), draft_files={"d.gguf": _put(store, tiny)})
    _make(store, source=NAME, system="s")
    assert len(_digests(store, types.DRAFT)) == 1
    _make(store, source=NAME, draft_files={"d.gguf": other})
    assert _digests(store, types.DRAFT) == [other.removeprefix("sha256:")]


def test_a_draft_model_is_quantised_by_its_own_level(store: Store, tiny: bytes) -> None:
    model, draft = _put(store, BUILTIN_MODEL.read_bytes()), _put(store, tiny)
    lines = _make(store, files={"m.gguf": model}, draft_files={"d.gguf": draft}, draft_quantize="q8_0")
    assert "quantizing F16 model to Q8_0" in lines
    assert _digests(store, types.MODEL) == [model.removeprefix("sha256:")]
    assert read_header(_made(store).files.draft).key_values["general.file_type"] == 7
    assert _made(store).config.file_type == "Q8_0"


@pytest.mark.parametrize(
    ("draft", "fields", "message"),
    [
        (BUILTIN_MODEL.read_bytes(), {"draft_quantize": "q4_0"}, "requires an unquantized draft model, got Q8_0"),
        (SMALLEST, {"draft_quantize": "zzz"}, "draft quantization requires an unquantized draft model, got unknown"),
        (b"GGUF", {}, "unexpected end of file"),
        (b"none", {}, "supplied file was not in GGUF format"),
    ],
)
def test_a_draft_model_that_cannot_be_is_refused(
    store: Store, tiny: bytes, draft: bytes, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(PowerError, match=message):
        _make(store, files={"m.gguf": _put(store, tiny)}, draft_files={"d.gguf": _put(store, draft)}, **fields)


def test_a_draft_model_is_one_file_of_weights(store: Store, tiny: bytes) -> None:
    clip = _put(store, _gguf({"general.architecture": "clip", "general.type": "mmproj"}))
    digest = _put(store, tiny)
    with pytest.raises(BadRequest, match="a draft model is one model, without projectors and adapters"):
        _make(store, files={"m.gguf": digest}, draft_files={"d.gguf": digest, "p.gguf": clip})


def test_what_lies_beside_a_gguf_in_its_folder_is_left_out(store: Store, tiny: bytes) -> None:
    files = {"config.json": _put(store, b"{}"), "tokenizer.model": _put(store, b"x"), "m.gguf": _put(store, tiny)}
    _make(store, files=files)
    assert len(_made(store).manifest.layers) == 1


def test_a_gguf_is_known_by_its_beginning_too(store: Store, tiny: bytes) -> None:
    _make(store, files={"sha256-0123": _put(store, tiny)})
    assert _made(store).facts.architecture == "llama"


def test_info_goes_before_what_the_file_says(store: Store) -> None:
    info = {
        "model_family": "family",
        "parameter_size": "7B",
        "quantization_level": "Q9",
        "base_name": "b",
        "context_length": 4096.0,
        "embedding_length": 64,
        "capabilities": ["tools"],
    }
    _make(store, files={"m.gguf": _put(store, SMALLEST)}, info=info)
    assert _made(store).config == ConfigBlob(
        model_format="gguf",
        model_family="family",
        model_families=["test"],
        model_type="7B",
        file_type="Q9",
        base_name="b",
        context_length=4096,
        embedding_length=64,
        capabilities=["tools"],
    )


@pytest.mark.parametrize(
    ("architecture", "fields", "made"),
    [
        ("gemma4", {}, ("gemma4", "gemma4", {"stop": ["<turn|>"]})),
        ("gemma4", {"parameters": {"stop": ["x"]}}, ("gemma4", "gemma4", {"stop": ["x"]})),
        ("gemma4", {"parser": "passthrough"}, ("gemma4", "passthrough", {})),
        ("nemotron_h_moe", {}, ("nemotron-3-nano", "nemotron-3-nano", {})),
        ("laguna", {"renderer": "poolside-v1"}, ("poolside-v1", "laguna", {})),
        ("llama", {}, ("", "", {})),
    ],
)
def test_some_architectures_have_a_format_of_their_own(
    store: Store, architecture: str, fields: dict[str, Any], made: tuple[str, str, dict[str, Any]]
) -> None:
    _make(store, files={"m.gguf": _put(store, _gguf({"general.architecture": architecture}))}, **fields)
    model = _made(store)
    assert (model.config.renderer, model.config.parser, model.parameters) == made


_SOMETHING = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({}, BadRequest, "neither 'from' or 'files' was specified"),
        ({"files": {}}, BadRequest, "unknown type"),
        ({"files": {"m": _SOMETHING}}, BadRequest, "unknown type"),
        ({"files": {"m.gguf": ""}}, InvalidDigest, "invalid digest format"),
        ({"files": {"m.gguf": "sha256:../../x"}}, InvalidDigest, "invalid digest format"),
        ({"files": {}, "adapters": {"m.gguf": ""}}, InvalidDigest, "invalid digest format"),
        ({"files": {}, "draft_files": {"m.gguf": ""}}, InvalidDigest, "invalid digest format"),
        ({"files": {}, "draft_files": {"/m": _SOMETHING}}, BadRequest, "file path must be relative"),
        ({"files": {}, "draft_quantize": "q8_0"}, BadRequest, "--draft-quantize requires a DRAFT model"),
        ({"files": {"m.gguf": _SOMETHING}}, BlobNotFound, f'blob "{_SOMETHING}" not found'),
        ({"files": {"m.safetensors": _SOMETHING}}, BlobNotFound, f'blob "{_SOMETHING}" not found'),
        ({"source": ModelName.parse("none")}, ModelNotFound, "model 'none:latest' not found"),
        ({"files": {}, "renderer": "../../x"}, BadRequest, 'unknown renderer "../../x"'),
        ({"files": {}, "parser": "__import__('os')"}, BadRequest, "unknown parser \"__import__('os')\""),
    ],
)
def test_a_request_that_cannot_be_is_refused(
    store: Store, fields: dict[str, Any], error: type[PowerError], message: str
) -> None:
    with pytest.raises(error) as caught:
        _make(store, **fields)
    assert caught.value.message == message


@pytest.mark.parametrize(
    "path", ["/a", "../x", "a/../../x", "a/./b", "a//b", "", ".", "a/", "a\0b", "C:\\x", "a\\..\\b", "c:x", "a\nb"]
)
def test_a_file_path_must_be_relative(store: Store, path: str) -> None:
    with pytest.raises(BadRequest, match=r"^file path must be relative$"):
        _make(store, files={path: _SOMETHING})
    with pytest.raises(BadRequest, match=r"^file path must be relative$"):
        _make(store, source=NAME, adapters={path: _SOMETHING})


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"context_length": "4096"}, 'info field "context_length" must be a number'),
        ({"context_length": True}, 'info field "context_length" must be a number'),
        ({"embedding_length": -1}, 'info field "embedding_length" must be a non-negative integer'),
        ({"embedding_length": 1.5}, 'info field "embedding_length" must be a non-negative integer'),
        ({"model_family": 1}, 'info field "model_family" must be a string'),
        ({"capabilities": "tools"}, 'info field "capabilities" must be a list of strings'),
    ],
)
def test_info_of_a_wrong_type_is_refused(store: Store, info: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        _make(store, files={"m.gguf": _put(store, SMALLEST)}, info=info)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("text", "kept"), [("0.14.0", "0.14.0"), ("v0.14", "0.14"), ("1", "1"), ("1.2.3-rc.1", "1.2.3-rc.1")]
)
def test_the_required_version_is_kept_without_its_v(store: Store, text: str, kept: str) -> None:
    _make(store, files={"m.gguf": _put(store, SMALLEST)}, requires=text)
    assert _made(store).config.requires == kept


@pytest.mark.parametrize("text", ["latest", "01.2", "1.2.3.4", "v", "1.2.3\n"])
def test_a_required_version_must_be_one(store: Store, text: str) -> None:
    with pytest.raises(BadRequest, match="must be a valid semver"):
        _make(store, files={"m.gguf": _put(store, SMALLEST)}, requires=text)


@pytest.mark.parametrize(("file_type", "asked"), [(1, "f16"), (15, "Q4_K"), (7, "q8_0"), (7, "")])
def test_a_file_that_already_is_of_that_type_needs_no_work(store: Store, file_type: int, asked: str) -> None:
    content = _gguf({"general.architecture": "llama", "general.file_type": file_type})
    assert _make(store, files={"m.gguf": _put(store, content)}, quantize=asked)[-1] == "success"


def test_a_template_that_cannot_be_used_is_refused(store: Store) -> None:
    def check(template: str) -> None:
        raise BadTemplate(f"template: :1: unclosed action in {template}")

    with pytest.raises(BadTemplate) as caught:
        _make(store, check, files={"m.gguf": _put(store, SMALLEST)}, template="{{")
    assert caught.value.message == "template error: template: :1: unclosed action in {{"


@pytest.mark.parametrize("name", [*REFUSED, "split-count-65535"])
def test_a_hostile_gguf_leaves_no_model_and_can_be_removed(store: Store, name: str) -> None:
    content = (REFUSED | ODD)[name]
    digest = _put(store, content)
    with pytest.raises(BadFile):
        _make(store, files={"m.gguf": digest}, system="x")
    with pytest.raises(BadFile):
        _make(store, files={"m.gguf": digest}, quantize="q4_K_M")
    with pytest.raises(ModelNotFound):
        _made(store)
    store.remove_blob(Digest.parse(digest))
    assert _files(store) == set()


def test_what_is_no_gguf_is_refused_in_ollamas_words(store: Store) -> None:
    with pytest.raises(BadFile, match=r"^supplied file was not in GGUF format$"):
        _make(store, files={"m.gguf": _put(store, b"PK\x03\x04")})


def test_a_model_needs_exactly_one_file_of_weights(store: Store, tiny: bytes) -> None:
    projector = _put(store, _gguf({"general.architecture": "clip", "general.type": "mmproj"}))
    with pytest.raises(BadFile, match="none of the files is a model"):
        _make(store, files={"p.gguf": projector})
    with pytest.raises(BadFile, match="more than one of the files is a model"):
        _make(store, files={"a.gguf": _put(store, tiny), "b.gguf": _put(store, SMALLEST)})


def _adapter(shapes: Mapping[str, tuple[int, ...]], architecture: str = "llama") -> bytes:
    tensors = [
        Tensor(name, TensorType.F32, shape, [bytes(TensorType.F32.size(shape))]) for name, shape in shapes.items()
    ]
    return _gguf({"general.architecture": architecture, "general.type": "adapter"}, *tensors)


def _pair(name: str, down: tuple[int, ...], up: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.lora_a": down, f"{name}.lora_b": up}


_Q = "blk.0.attn_q.weight"
_EMBEDDING = "token_embd.weight"
_WIDTH, _WORDS = llama_shapes()[_EMBEDDING]


def test_an_adapter_that_fits_is_taken(store: Store, tiny: bytes) -> None:
    down, up = llama_shapes()["blk.0.attn_k.weight"]
    shapes = {
        "blk.0.attn_k.weight.lora_a": (down, 4),
        "blk.0.attn_k.weight.lora_b": (4, up),
        f"{_EMBEDDING}.lora_a": (4, _WORDS),
        f"{_EMBEDDING}.lora_b": (4, _WIDTH),
    }
    files = {"m.gguf": _put(store, tiny)}
    _make(store, files=files, adapters={"a.gguf": _put(store, _adapter(shapes))})
    assert len(_made(store).files.adapters) == 1


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (_adapter(_pair(_Q, (64, 4), (4, 64)), "gemma2"), "the adapter is for gemma2"),
        (_adapter(_pair(_Q, (64, 4), (8, 64))), "has another shape"),
        (_adapter(_pair(_Q, (32, 4), (4, 64))), "has another shape"),
        (_adapter(_pair(_Q, (64,), (64,))), "has another shape"),
        (_adapter(_pair(_Q, (64, 4, 2), (4, 64, 2))), "has another shape"),
        (_adapter(_pair(_EMBEDDING, (_WIDTH, 4), (4, _WORDS))), "has another shape"),
        (_adapter(_pair(_EMBEDDING, (8, _WORDS), (4, _WIDTH))), "has another shape"),
        (_adapter({f"{_Q}.lora_a": (64, 4)}), "is no half of an adapter's pair"),
        (_adapter({_Q: (64, 64)}), "is no half of an adapter's pair"),
        (_adapter(_pair("x", (64, 4), (4, 64))), "does not exist in the model"),
        (SMALLEST, '"a.gguf" is not an adapter'),
        (ODD["t-name-traversal"], '"a.gguf" is not an adapter'),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(store: Store, tiny: bytes, adapter: bytes, message: str) -> None:
    with pytest.raises(BadFile, match=message):
        _make(store, files={"m.gguf": _put(store, tiny)}, adapters={"a.gguf": _put(store, adapter)})


def test_two_adapters_are_one_too_many(store: Store, tiny: bytes) -> None:
    adapters = {"a.gguf": _put(store, _adapter({})), "b.gguf": _put(store, SMALLEST)}
    with pytest.raises(BadRequest, match=r"^only one adapter is currently supported$"):
        _make(store, files={"m.gguf": _put(store, tiny)}, adapters=adapters)


def test_a_layer_has_its_limit(store: Store) -> None:
    files = {"m.gguf": _put(store, SMALLEST)}
    with pytest.raises(BadRequest, match=r"^system is larger than 16777216 bytes$"):
        _make(store, files=files, system="x" * (limits.SMALL_LAYER_BYTES + 1))
    with pytest.raises(BadRequest, match=r"^a model has at most 64 layers$"):
        _make(store, files=files, licenses=tuple(map(str, range(64))))


def test_a_create_that_fails_late_leaves_nothing(store: Store) -> None:
    _put(store, b"kept")
    digest = _put(store, SMALLEST)
    before = _files(store)

    def leave(progress: Progress) -> None:
        if progress.status == "writing manifest":
            raise ConnectionResetError

    request = Create(model=NAME, files={"m.gguf": digest}, system="new", licenses=("kept",))
    with pytest.raises(ConnectionResetError):
        build(request, store, leave, check_template=_nothing_wrong)
    assert _files(store) == before
    assert not store.models.list()


def test_what_another_model_shares_survives_a_failure(store: Store) -> None:
    digest = _put(store, SMALLEST)

    def leave(progress: Progress) -> None:
        if progress.status.startswith("creating new layer"):
            other = Create(model=ModelName.parse("other"), files={"m.gguf": digest}, system="shared")
            build(other, store, lambda _: None, check_template=_nothing_wrong)
            raise ConnectionResetError

    request = Create(model=NAME, files={"m.gguf": digest}, system="shared")
    with pytest.raises(ConnectionResetError):
        build(request, store, leave, check_template=_nothing_wrong)
    assert store.models.read(ModelName.parse("other")).system == "shared"
