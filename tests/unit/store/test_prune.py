"""Pruning: what is old and nobody's goes, and nothing else."""

import os
from pathlib import Path

import pytest

from a3s_power.core.digests import Digest
from a3s_power.store import Store
from tests.stores import add_model, files_below, named

NOW = 2_000_000_000.0
HOUR = 3600.0
LOOSE, PART = "1" * 64, "2" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one model; every file of it is years old."""
    store = Store(tmp_path / "models")
    add_model(store, "m")
    for path in files_below(store.root):
        os.utime(store.root / path, (0, 0))
    return store


def _lay(store: Store, path: str, age: float) -> None:
    file = store.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"leftover")
    os.utime(file, (NOW - age, NOW - age))


LEFTOVERS = [
    f"blobs/sha256-{LOOSE}",
    f"blobs/sha256-{PART}-partial",
    f"blobs/sha256-{PART}-partial-0",
    f"blobs/sha256-{PART}.tmp",
    "blobs/sha256-123456789",
    "blobs/split-gguf-77",
    "blobs/.DS_Store",
    "manifests/sha256-123456789",
]


@pytest.mark.parametrize("path", LEFTOVERS)
@pytest.mark.parametrize(("age", "stays"), [(0.0, True), (-HOUR, True), (HOUR, True), (HOUR + 1, False)])
def test_a_leftover_goes_once_it_is_older_than_an_hour(store: Store, path: str, age: float, stays: bool) -> None:
    whole = files_below(store.root)
    _lay(store, path, age)
    store.start(NOW)
    assert files_below(store.root) == whole | ({path} if stays else set())


def test_a_model_s_blobs_stay_however_old(store: Store) -> None:
    whole = files_below(store.root)
    store.start(NOW)
    assert files_below(store.root) == whole
    assert store.models.read(named("m")).facts.architecture == "llama"


@pytest.mark.parametrize("youngest", [f"blobs/sha256-{PART}-partial", f"blobs/sha256-{PART}-partial-1"])
def test_all_parts_of_a_download_stay_while_one_is_young(store: Store, youngest: str) -> None:
    parts = {f"blobs/sha256-{PART}-partial{end}" for end in ("", "-0", "-1", "-15")}
    whole = files_below(store.root)
    for part in parts:
        _lay(store, part, 5 * HOUR)
    _lay(store, youngest, 10.0)
    store.start(NOW)
    assert files_below(store.root) == whole | parts
    store.start(NOW + 2 * HOUR)
    assert files_below(store.root) == whole


@pytest.mark.parametrize("broken", ["registry.ollama.ai/library/other/latest", "registry.ollama.ai/library/m/.swp"])
def test_nothing_goes_while_a_manifest_cannot_be_read(
    store: Store, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    for path in LEFTOVERS:
        _lay(store, path, 5 * HOUR)
    _lay(store, f"manifests/{broken}", 5 * HOUR)
    before = files_below(store.root)
    store.start(NOW)
    assert files_below(store.root) == before
    assert "corrupt manifests detected, skipping prune operation.  Re-pull or delete to clear" in caplog.messages


def test_a_store_that_keeps_what_is_unused_is_only_brought_up_to_date(store: Store) -> None:
    for path in LEFTOVERS:
        _lay(store, path, 5 * HOUR)
    _lay(store, f"blobs/sha256:{'3' * 64}", 5 * HOUR)
    before = files_below(store.root)
    Store(store.root, keep_unused=True).start(NOW)
    assert files_below(store.root) == (before - {f"blobs/sha256:{'3' * 64}"}) | {f"blobs/sha256-{'3' * 64}"}


def test_old_names_are_renamed_wherever_they_lie_and_never_over_another(store: Store) -> None:
    old = [f"blobs/sha256:{'4' * 64}", f"blobs/sub/sha256:{'5' * 64}", f"blobs/sha256:{'6' * 64}-partial"]
    for path in old:
        _lay(store, path, 1.0)
    taken = store.blobs.path(Digest("7" * 64))
    taken.write_bytes(b"the newer one")
    os.utime(taken, (NOW, NOW))
    _lay(store, f"blobs/sha256:{'7' * 64}", 1.0)
    store.start(NOW)
    assert {path.replace(":", "-") for path in old} <= files_below(store.root)
    assert taken.read_bytes() == b"the newer one"


def test_links_and_folders_among_the_blobs_harm_nobody(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"untouched")
    (store.root / "blobs/link").symlink_to(outside / "file")
    (store.root / "blobs/folder-link").symlink_to(outside)
    os.mkfifo(store.root / "blobs/pipe")
    _lay(store, "blobs/folder/inside", 5 * HOUR)
    store.start(NOW + 10 * 365 * 24 * HOUR)
    assert (outside / "file").read_bytes() == b"untouched"
    assert "blobs/folder/inside" in files_below(store.root)
    assert not {"blobs/link", "blobs/folder-link", "blobs/pipe"} & files_below(store.root)


def test_empty_manifest_folders_go(store: Store) -> None:
    (store.root / "manifests/a/b/c").mkdir(parents=True)
    store.start(NOW)
    assert [path.name for path in (store.root / "manifests").iterdir()] == ["registry.ollama.ai"]


def test_starting_where_nothing_is_makes_nothing(tmp_path: Path) -> None:
    Store(tmp_path / "models").start(NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_cleaned_does_not_stop_the_start(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    (store.root / ".lock").unlink()
    (store.root / ".lock").mkdir()
    store.start(NOW)
    assert "models folder was not cleaned up" in caplog.messages
    assert [listing.name.short for listing in store.models.list()] == ["m:latest"]
