"""Models: all that a manifest's layers say, remembered by its digest."""

import os
from pathlib import Path

import msgspec
import pytest

from a3s_power.core import manifest as types
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadFile, BadManifest, BlobNotFound, ModelNotFound
from a3s_power.core.manifest import ConfigBlob, Layer, Manifest, write_manifest
from a3s_power.core.messages import Message
from a3s_power.core.model import Facts
from a3s_power.store import Store
from tests import hostile
from tests.stores import LLAMA, add_model, gguf, named, put_layer

PROJECTOR = gguf({"general.architecture": "clip", "general.type": "mmproj", "clip.has_vision_encoder": True})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def test_a_model_is_all_that_its_layers_say(store: Store) -> None:
    manifest = add_model(
        store,
        "Full:v1",
        (types.TEMPLATE, b"{{ .System }}{{ .Prompt }}"),
        (types.SYSTEM, "Sé brève.".encode()),
        (types.PARAMS, b'{"num_ctx":4096,"stop":["a"]}'),
        (types.LICENSE, b"one"),
        (types.LICENSE, b"two"),
        (types.MESSAGES, b'[{"role":"user","content":"hi"}]'),
        (types.ADAPTER, b"lora"),
        (types.PROJECTOR, PROJECTOR),
        (types.DRAFT, b"draft"),
        ("application/vnd.ollama.image.unheard-of", b"?"),
        config=ConfigBlob(model_format="gguf", model_family="llama", requires="0.14.0"),
    )
    model = store.models.read(named("full:V1"))
    assert model.name == named("Full:v1")
    assert model.digest == Digest.of(write_manifest(manifest))
    assert (model.manifest, model.config.requires) == (manifest, "0.14.0")
    assert (model.template, model.system) == ("{{ .System }}{{ .Prompt }}", "Sé brève.")
    assert (model.licenses, model.messages) == (("one", "two"), (Message(role="user", content="hi"),))
    assert model.asked.checked().said() == {"num_ctx": 4096, "stop": ("a",)}
    assert model.weights == manifest.layers[0].blob
    blobs = [str(store.blobs.path(layer.blob)) for layer in manifest.layers]
    assert model.files.weights == blobs[0]
    assert (model.files.adapters, model.files.projectors) == (((blobs[7], 1.0),), (blobs[8],))
    assert model.files.draft == blobs[9]
    assert (model.facts.context_length, model.facts.file_type) == (2048, "Q8_0")
    assert set(model.capabilities) >= {"completion", "vision"}


def test_a_bare_model_has_nothing_but_its_weights(store: Store) -> None:
    add_model(store, "bare")
    model = store.models.read(named("bare"))
    assert (model.template, model.system, model.licenses, model.parameters, model.messages) == ("", "", (), {}, ())
    assert model.capabilities == ("completion",)


def test_of_several_weights_templates_and_systems_the_last_one_counts(store: Store) -> None:
    other = gguf({"general.architecture": "qwen2", "qwen2.block_count": 1})
    add_model(
        store,
        "twice",
        (types.TEMPLATE, b"old"),
        (types.PROMPT, b"new"),
        (types.SYSTEM, b"old"),
        (types.SYSTEM, b"new"),
        (types.PARAMS, b'{"top_k":1,"seed":1}'),
        (types.PARAMS, b'{"top_k":2}'),
        (types.MODEL, other),
    )
    model = store.models.read(named("twice"))
    assert (model.template, model.system, model.parameters) == ("new", "new", {"top_k": 2, "seed": 1})
    assert (model.facts.architecture, model.weights) == ("qwen2", Digest.of(other))


def test_an_embedding_model_says_so(store: Store) -> None:
    add_model(
        store, "embed", weights=gguf({"general.architecture": "bert", "bert.block_count": 1, "bert.pooling_type": 1})
    )
    assert store.models.read(named("embed")).capabilities == ("embedding",)


def test_a_deprecated_layer_is_told_to_the_log(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    add_model(store, "old", ("application/vnd.ollama.image.embed", b"[]"))
    store.models.read(named("old"))
    assert "deprecated embed layer ignored" in caplog.messages


def test_a_model_without_a_gguf_is_known_by_its_config(store: Store) -> None:
    config = ConfigBlob(
        model_format="safetensors", model_family="gemma4", capabilities=["completion", "flying"], context_length=9
    )
    add_model(store, "mlx", (types.TENSOR, b"tensor"), (types.JSON, b"{}"), weights=b"", config=config)
    model = store.models.read(named("mlx"))
    assert (model.files.weights, model.weights) == ("", model.digest)
    assert model.facts == Facts(architecture="gemma4", context_length=9)
    assert model.capabilities == ("completion",)


def test_reading_again_reads_nothing_again(store: Store) -> None:
    add_model(store, "m")
    first = store.models.read(named("m"))
    assert store.models.read(named("m")) is first
    store.copy(named("m"), named("n"))
    second = store.models.read(named("n"))
    assert second == msgspec.structs.replace(first, name=named("n"), modified=second.modified)
    assert second.facts is first.facts


def test_a_model_is_known_once_it_was_read_and_under_its_own_spelling_only(store: Store) -> None:
    assert store.models.known(named("m")) is None
    add_model(store, "m")
    assert store.models.known(named("m")) is None
    first = store.models.read(named("m"))
    assert store.models.known(named("m")) is first
    assert store.models.read(named("M")) is first
    assert store.models.known(named("M")) is None
    add_model(store, "m", (types.SYSTEM, b"new"))
    assert store.models.known(named("m")) is None


def test_a_new_time_is_seen_and_a_new_manifest_too(store: Store) -> None:
    add_model(store, "m")
    before = store.models.read(named("m"))
    os.utime(store.root.joinpath("manifests", *named("m").parts), (0, 1_500_000_000))
    assert store.models.read(named("m")).modified.timestamp() == 1_500_000_000
    add_model(store, "m", (types.SYSTEM, b"new"))
    after = store.models.read(named("m"))
    assert (before.system, after.system) == ("", "new")


def test_only_so_many_models_are_remembered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a3s_power.store.models._KEPT", 2)
    for number in range(3):
        add_model(store, f"m{number}", (types.SYSTEM, b"%d" % number))
    first, second, _ = (store.models.read(named(f"m{number}")) for number in range(3))
    assert store.models.read(named("m1")) is second
    assert store.models.read(named("m0")) is not first


@pytest.mark.parametrize(
    "media_type", [types.MODEL, types.PROJECTOR, types.ADAPTER, types.TEMPLATE, types.PARAMS, "config"]
)
def test_a_model_with_a_blob_missing_is_not_found(
    store: Store, media_type: str, caplog: pytest.LogCaptureFixture
) -> None:
    layers = [(types.PROJECTOR, PROJECTOR), (types.ADAPTER, b"a"), (types.TEMPLATE, b"t"), (types.PARAMS, b"{}")]
    manifest = add_model(store, "m", *layers)
    missing = manifest.config if media_type == "config" else manifest.of_type(media_type)[0]
    store.blobs.remove(missing.blob)
    with pytest.raises(ModelNotFound) as caught:
        store.models.read(named("m"))
    assert caught.value.message == "model 'm:latest' not found"
    assert "model is not whole" in caplog.messages


def test_a_remembered_model_whose_weights_went_away_is_not_found(store: Store) -> None:
    manifest = add_model(store, "m")
    store.models.read(named("m"))
    store.blobs.remove(manifest.layers[0].blob)
    with pytest.raises(ModelNotFound):
        store.models.read(named("m"))
    with pytest.raises(BlobNotFound):
        store.models.known(named("m"))


def test_weights_that_are_a_link_are_not_read(store: Store, tmp_path: Path) -> None:
    manifest = add_model(store, "m")
    path = store.blobs.path(manifest.layers[0].blob)
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(ModelNotFound):
        store.models.read(named("m"))


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        (types.PARAMS, b"[1]"),
        (types.PARAMS, b"{"),
        (types.MESSAGES, b"{}"),
        (types.TEMPLATE, b"\xff"),
        (types.SYSTEM, b"\xff"),
        (types.LICENSE, b"\xff"),
        (types.TEMPLATE, b" " * (2**20 + 1)),
        (types.SYSTEM, b" " * (2**24 + 1)),
    ],
)
def test_a_layer_that_cannot_be_read_is_an_error_of_the_model(store: Store, media_type: str, content: bytes) -> None:
    add_model(store, "m", (media_type, content))
    with pytest.raises(BadManifest):
        store.models.read(named("m"))
    assert [listing.name for listing in store.models.list()] == [named("m")]


@pytest.mark.parametrize("kind", sorted(hostile.REFUSED))
def test_hostile_weights_are_refused_and_harm_nothing(store: Store, kind: str) -> None:
    add_model(store, "good")
    add_model(store, "bad", weights=hostile.REFUSED[kind] or b"\0")
    with pytest.raises(BadFile):
        store.models.read(named("bad"))
    assert store.models.read(named("good")).facts.architecture == "llama"
    assert {listing.name.short for listing in store.models.list()} == {"good:latest", "bad:latest"}
    store.delete(named("bad"))
    assert [listing.name.short for listing in store.models.list()] == ["good:latest"]


def test_the_list_is_newest_first_and_by_name_within_a_second(store: Store) -> None:
    times = {"old": 1000.9, "new": 3000.0, "b": 2000.1, "a": 2000.9, "c": 2000.5}
    for name, when in times.items():
        add_model(store, name)
        os.utime(store.root.joinpath("manifests", *named(name).parts), (when, when))
    listed = store.models.list()
    assert [listing.name.model for listing in listed] == ["new", "a", "b", "c", "old"]
    assert listed[0].modified.tzinfo is not None


def test_the_list_leaves_out_what_has_no_readable_config(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    good = add_model(store, "good", source="base:latest")
    bad_config = put_layer(store, types.CONFIG_TYPE, b"no json")
    store.write(named("bad"), write_manifest(Manifest(config=bad_config, layers=good.layers)))
    gone = Layer(media_type=types.CONFIG_TYPE, digest=f"sha256:{'e' * 64}", size=1)
    store.manifests.write(named("gone"), write_manifest(Manifest(config=gone, layers=good.layers)))
    (listing,) = store.models.list()
    assert (listing.name, listing.parent, listing.size) == (named("good"), "base:latest", good.size)
    assert caplog.messages == ["model left out of the list"] * 2


def test_nothing_is_listed_where_nothing_is(store: Store) -> None:
    assert store.models.list() == []
    assert not store.root.exists()


@pytest.mark.parametrize(
    ("prefer_go", "able"), [(True, {"completion", "insert"}), (False, {"completion", "tools", "thinking"})]
)
def test_a_go_template_is_weighed_against_the_file_s_own_as_the_setting_says(
    tmp_path: Path, prefer_go: bool, able: set[str]
) -> None:
    weights = gguf({**LLAMA, "tokenizer.chat_template": "{{ messages }} {{ tools }} <think></think>"})
    store = Store(tmp_path / "models", prefer_go=prefer_go)
    add_model(store, "m", (types.TEMPLATE, b"{{ .Prompt }}{{ .Suffix }}"), weights=weights)
    assert set(store.models.read(named("m")).capabilities) == able
