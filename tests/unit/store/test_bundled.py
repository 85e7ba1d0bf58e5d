"""The model that comes with the package: there once it is named, and not before."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from a3s_power.core.errors import ModelNotFound
from a3s_power.store import Store
from a3s_power.store.bundled import NAME, bundled_gguf
from tests.shared import BUILTIN_MODEL, shared_file
from tests.stores import add_model, files_below, named


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def test_it_lies_where_tests_and_tools_look_for_it() -> None:
    assert bundled_gguf() == BUILTIN_MODEL
    assert bundled_gguf().read_bytes()[:4] == b"GGUF"


def test_it_is_the_one_that_was_trained_and_measured() -> None:
    trained = shared_file("models/power-tiny/power-tiny-Q8_0.gguf")
    assert bundled_gguf().read_bytes() == trained.read_bytes()


@pytest.mark.parametrize("text", ["power-tiny", "Power-Tiny:LATEST", "registry.ollama.ai/library/power-tiny"])
def test_it_is_installed_when_it_is_named_and_not_before(store: Store, text: str) -> None:
    assert store.models.list() == []
    model = store.models.read(named(text))
    assert model.name == NAME
    assert [listing.name for listing in store.models.list()] == [NAME]
    for layer in (model.manifest.config, *model.manifest.layers):
        content = store.blobs.path(layer.blob).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (layer.blob.hex, layer.size)


def test_it_says_what_it_is(store: Store) -> None:
    model = store.models.read(NAME)
    assert (model.config.model_family, model.config.model_type, model.config.file_type) == ("llama", "2.75M", "Q8_0")
    assert model.capabilities == ("completion", "tools", "thinking")
    assert model.parameters == {"temperature": 0}
    (license_text,) = model.licenses
    assert "test and demonstration model" in license_text.partition("\n")[0]
    assert "MIT License" in license_text


@pytest.mark.parametrize("text", ["power-tiny:7b", "me/power-tiny", "hf.co/library/power-tiny", "power"])
def test_other_names_are_not_it(store: Store, text: str) -> None:
    with pytest.raises(ModelNotFound):
        store.models.read(named(text))
    assert not store.root.exists()


def test_it_can_be_copied_at_once_and_deleted_and_named_again(store: Store) -> None:
    store.copy(NAME, named("mine"))
    assert {listing.name.short for listing in store.models.list()} == {"power-tiny:latest", "mine:latest"}
    store.delete(NAME)
    assert [listing.name.short for listing in store.models.list()] == ["mine:latest"]
    assert store.models.read(NAME).name == NAME
    store.delete(NAME)
    with pytest.raises(ModelNotFound):
        store.delete(NAME)


def test_a_copy_over_it_needs_no_copy_of_it(store: Store) -> None:
    add_model(store, "m")
    store.copy(named("m"), NAME)
    assert store.models.read(NAME).digest == store.models.read(named("m")).digest


def test_what_a_user_called_so_stays(store: Store) -> None:
    manifest = add_model(store, "Power-Tiny")
    assert store.models.read(NAME).manifest == manifest
    store.blobs.remove(manifest.layers[0].blob)
    with pytest.raises(ModelNotFound):
        store.models.read(NAME)
    assert store.manifests.read(NAME).manifest == manifest


def test_it_mends_itself_when_its_weights_went_away(store: Store) -> None:
    first = store.models.read(NAME)
    store.blobs.remove(first.weights)
    again = store.models.read(NAME)
    assert (again.digest, again.modified) == (first.digest, first.modified)
    assert store.blobs.has(first.weights)


def test_many_ask_for_it_at_once_and_all_get_it(tmp_path: Path) -> None:
    together = threading.Barrier(6)

    def read(_: int) -> str:
        together.wait(10)
        return Store(tmp_path / "models").models.read(NAME).digest.hex

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(read, range(6)))) == 1
    assert len(files_below(tmp_path / "models")) == 5
