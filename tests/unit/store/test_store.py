"""The store: names change, blobs follow, and what somebody still uses stays."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from a3s_power.core import manifest as types
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadManifest, BlobNotFound, InUse, ModelNotFound
from a3s_power.core.manifest import write_manifest
from a3s_power.store import Store
from tests.stores import add_model, files_below, gguf, named

WEIGHTS = Digest.of(gguf())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def _names(store: Store) -> set[str]:
    return {listing.name.short for listing in store.models.list()}


def _blobs(store: Store) -> set[Digest]:
    return {Digest.parse(path.rpartition("/")[2]) for path in files_below(store.root) if path.startswith("blobs/")}


def test_a_manifest_is_written_only_over_blobs_that_are_there(store: Store) -> None:
    manifest = add_model(store, "m")
    store.blobs.remove(WEIGHTS)
    with pytest.raises(BlobNotFound, match=str(WEIGHTS)):
        store.write(named("other"), write_manifest(manifest))
    with pytest.raises(BadManifest):
        store.write(named("other"), b"{}")
    assert _names(store) == {"m:latest"}


def test_writing_says_under_which_spelling(store: Store) -> None:
    manifest = add_model(store, "Chat:V1")
    assert store.write(named("CHAT:v1"), write_manifest(manifest)) == named("Chat:V1")
    assert store.write(named("chat:other"), write_manifest(manifest)) == named("Chat:other")
    assert _names(store) == {"Chat:V1", "Chat:other"}


def test_what_only_the_old_manifest_used_goes_when_it_is_replaced(store: Store) -> None:
    shared, lonely = (types.SYSTEM, b"shared"), (types.LICENSE, b"lonely")
    add_model(store, "other", shared)
    add_model(store, "m", shared, lonely)
    manifest = add_model(store, "m", weights=b"GGUF else")
    assert not store.blobs.has(Digest.of(b"lonely"))
    assert store.blobs.has(Digest.of(b"shared"))
    assert manifest.blobs <= _blobs(store)
    assert store.models.read(named("other")).system == "shared"


def test_nothing_goes_at_a_replacement_where_the_unused_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "models", keep_unused=True)
    add_model(store, "m", (types.SYSTEM, b"old"))
    add_model(store, "m", (types.SYSTEM, b"new"))
    assert {Digest.of(b"old"), Digest.of(b"new")} <= _blobs(store)


@pytest.mark.parametrize("keep_unused", [False, True])
def test_deleting_takes_along_what_no_other_model_uses(tmp_path: Path, keep_unused: bool) -> None:
    store = Store(tmp_path / "models", keep_unused=keep_unused)
    add_model(store, "one", (types.SYSTEM, b"one"))
    two = add_model(store, "two", (types.SYSTEM, b"two"))
    store.delete(named("ONE"))
    assert _names(store) == {"two:latest"}
    assert _blobs(store) == two.blobs
    store.delete(named("two"))
    assert files_below(store.root) == set()
    assert list((store.root / "manifests").iterdir()) == []


def test_deleting_what_is_not_there_is_told(store: Store) -> None:
    with pytest.raises(ModelNotFound, match=r"^model 'nope:latest' not found$"):
        store.delete(named("nope"))


def test_a_broken_manifest_can_be_deleted_and_what_it_spoke_of_stays_for_the_next_start(store: Store) -> None:
    manifest = add_model(store, "m")
    store.manifests.write(named("m"), write_manifest(manifest)[:-20])
    store.delete(named("m"))
    assert _names(store) == set()
    assert _blobs(store) == manifest.blobs


def test_a_blob_that_a_broken_manifest_speaks_of_survives_the_deletion_of_others(store: Store) -> None:
    manifest = add_model(store, "m", (types.SYSTEM, b"mine"))
    store.manifests.write(named("broken"), write_manifest(add_model(store, "n"))[:-3])
    store.delete(named("n"))
    store.delete(named("m"))
    assert _blobs(store) == manifest.blobs - {Digest.of(b"mine")}


def test_nothing_of_a_deleted_model_goes_while_a_manifest_cannot_be_read_to_its_end(store: Store) -> None:
    manifest = add_model(store, "m")
    store.manifests.write(named("huge"), b" " * 2**20 + write_manifest(manifest))
    store.delete(named("m"))
    assert _names(store) == set()
    assert _blobs(store) == manifest.blobs
    with pytest.raises(InUse):
        store.remove_blob(WEIGHTS)


def test_a_copy_is_a_second_name_for_the_same_bytes(store: Store) -> None:
    add_model(store, "m", (types.SYSTEM, b"s"))
    before = _blobs(store)
    store.copy(named("M"), named("hf.co/u/copy:v1"))
    assert _names(store) == {"m:latest", "hf.co/u/copy:v1"}
    assert store.manifests.read(named("hf.co/u/copy:v1")).content == store.manifests.read(named("m")).content
    store.delete(named("m"))
    assert _blobs(store) == before
    assert store.models.read(named("hf.co/u/copy:v1")).system == "s"


@pytest.mark.parametrize("onto", ["m", "M:LATEST"])
def test_a_copy_onto_itself_is_nothing(store: Store, onto: str) -> None:
    add_model(store, "m")
    before = store.models.read(named("m"))
    store.copy(named("m"), named(onto))
    assert store.models.read(named("m")) is before


def test_a_copy_over_another_model_replaces_it(store: Store) -> None:
    add_model(store, "m", (types.SYSTEM, b"m"))
    add_model(store, "n", (types.SYSTEM, b"n"))
    store.copy(named("m"), named("N"))
    assert store.models.read(named("n")).system == "m"
    assert not store.blobs.has(Digest.of(b"n"))


def test_copying_what_is_not_there_is_told(store: Store) -> None:
    with pytest.raises(ModelNotFound, match=r"^model 'nope:latest' not found$"):
        store.copy(named("nope"), named("m"))


def test_a_blob_is_removed_only_when_nobody_uses_it(store: Store) -> None:
    manifest = add_model(store, "m")
    loose, _ = store.blobs.put(b"loose")
    for digest in manifest.blobs:
        with pytest.raises(InUse, match=rf'^blob "{digest}" is in use$'):
            store.remove_blob(digest)
    store.remove_blob(loose)
    with pytest.raises(BlobNotFound):
        store.remove_blob(loose)
    assert _blobs(store) == manifest.blobs


def test_threads_that_create_and_delete_leave_whole_models(store: Store) -> None:
    together = threading.Barrier(4)

    def work(number: int) -> int:
        together.wait(10)
        failed = 0
        for turn in range(15):
            try:
                add_model(store, f"m{number}", (types.SYSTEM, b"%d" % (turn % 3)))
                store.copy(named(f"m{number}"), named("common"))
                store.delete(named(f"m{number}"))
            except (BlobNotFound, ModelNotFound):
                # Another thread removed a blob between its put and the manifest: nothing was written, all is whole.
                failed += 1
        return failed

    with ThreadPoolExecutor(4) as pool:
        failed = sum(pool.map(work, range(4)))
    assert failed < 60
    for listing in store.models.list():
        assert store.models.read(listing.name).facts.architecture == "llama"
    assert "common:latest" in _names(store)
