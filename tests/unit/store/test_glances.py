"""Glances: a model is taken as read while its files lie as they did, and read again as soon as one of them does not."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from a3s_power.core.digests import Digest
from a3s_power.core.model import Model
from a3s_power.store import Store
from a3s_power.store.glances import Glances
from a3s_power.store.layout import Layout
from tests.stores import add_model, gguf, named

NAME = named("m")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("a3s_power.store.glances._YOUNG_NS", 0)
    return Store(tmp_path / "models")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is opened from now on."""
    paths: list[object] = []
    really = os.open

    def noting(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        paths.append(path)
        return really(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", noting)
    return paths


def kept(store: Store) -> tuple[Glances, Model]:
    """Glances that hold the one model of a store."""
    add_model(store, "m")
    glances, model = Glances(Layout(store.root)), store.models.read(NAME)
    glances.keep(model, glances.manifest(NAME))
    return glances, model


def manifest(store: Store) -> Path:
    return store.root.joinpath("manifests", *NAME.parts)


def blob(store: Store) -> Path:
    return store.blobs.path(Digest.of(gguf()))


def test_a_model_that_lies_as_it_did_is_known_without_opening_anything(store: Store, opened: list[object]) -> None:
    add_model(store, "m")
    model = store.models.read(NAME)
    assert store.models.known(NAME) is model
    assert opened
    opened.clear()
    assert store.models.known(NAME) is model
    assert opened == []


def rewritten(store: Store) -> None:
    """In place, with as many bytes."""
    manifest(store).write_bytes(manifest(store).read_bytes())


def replaced(store: Store) -> None:
    other = manifest(store).with_name("other")
    other.write_bytes(manifest(store).read_bytes())
    other.replace(manifest(store))


def dated(store: Store) -> None:
    os.utime(manifest(store), (0, 1_500_000_000))


def removed(store: Store) -> None:
    manifest(store).unlink()


def without_weights(store: Store) -> None:
    blob(store).unlink()


def with_linked_weights(store: Store) -> None:
    elsewhere = store.root / "elsewhere"
    blob(store).replace(elsewhere)
    blob(store).symlink_to(elsewhere)


def with_a_record(store: Store) -> None:
    """A command has made some blob a reference."""
    (store.root / "references").mkdir()


@pytest.mark.parametrize(
    "change", [rewritten, replaced, dated, removed, without_weights, with_linked_weights, with_a_record]
)
def test_whatever_changes_is_seen(store: Store, change: Callable[[Store], None]) -> None:
    glances, model = kept(store)
    assert glances.model(NAME) is model
    change(store)
    assert glances.model(NAME) is None
    assert glances.model(NAME) is None


def test_a_manifest_that_changed_while_it_was_read_is_not_believed(store: Store) -> None:
    add_model(store, "m")
    glances, model = Glances(Layout(store.root)), store.models.read(NAME)
    before = glances.manifest(NAME)
    rewritten(store)
    glances.keep(model, before)
    assert glances.model(NAME) is None


def test_what_was_written_a_moment_ago_is_read_each_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a3s_power.store.glances._YOUNG_NS", 3600 * 10**9)
    glances, _ = kept(store)
    assert glances.model(NAME) is None


def test_a_model_whose_file_lies_elsewhere_is_read_each_time(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "weights.gguf"
    file.write_bytes(gguf())
    store.blobs.link(file, hard=False)
    glances, model = kept(store)
    assert model.files.weights == str(file)
    assert glances.model(NAME) is None


def test_only_so_many_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a3s_power.store.glances._KEPT", 1)
    glances, _ = kept(store)
    add_model(store, "n")
    second = store.models.read(named("n"))
    glances.keep(second, glances.manifest(named("n")))
    assert glances.model(NAME) is None
    assert glances.model(named("n")) is second
