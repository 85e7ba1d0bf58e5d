"""Blobs: whole or not at all, once, and only ever regular files."""

import io
import logging
import os
import resource
import shutil
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadManifest, BlobNotFound, DigestMismatch, DiskFull, StoreFailed
from a3s_power.store import Store
from tests.stores import files_below

HELLO = b"hello, blob"
DIGEST = Digest.of(HELLO)
OLD = 1_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def _content(store: Store, digest: Digest) -> bytes:
    size, file = store.blobs.open(digest)
    with file:
        content = file.read()
    assert size == len(content)
    return content


@pytest.mark.parametrize(
    "source",
    [HELLO, io.BytesIO(HELLO), [HELLO[:3], b"", HELLO[3:]], iter((HELLO,))],
    ids=["bytes", "file", "list", "iterator"],
)
def test_a_blob_is_stored_under_its_digest_and_nothing_beside_it(store: Store, source: bytes) -> None:
    """PATH-17."""
    assert store.blobs.put(source) == (DIGEST, True)
    assert _content(store, DIGEST) == HELLO
    assert store.blobs.size(DIGEST) == len(HELLO)
    assert files_below(store.root) == {f"blobs/{DIGEST.file_name}"}
    assert stat.S_IMODE(store.blobs.path(DIGEST).stat().st_mode) & ~0o644 == 0


def test_a_blob_that_is_there_is_not_written_again_but_made_young(store: Store) -> None:
    store.blobs.put(HELLO)
    path = store.blobs.path(DIGEST)
    before = path.stat()
    for source, expected in ((HELLO, None), ([HELLO], None), ([b"never read"], DIGEST)):
        os.utime(path, (OLD, OLD))
        assert store.blobs.put(source, expected) == (DIGEST, False)
        assert path.stat().st_ino == before.st_ino
        assert path.stat().st_mtime >= before.st_mtime
    assert files_below(store.root) == {f"blobs/{DIGEST.file_name}"}


def test_a_blob_of_another_size_than_its_content_is_mended(store: Store) -> None:
    store.blobs.put(HELLO)
    store.blobs.path(DIGEST).write_bytes(b"")
    assert store.blobs.put([HELLO]) == (DIGEST, True)
    assert _content(store, DIGEST) == HELLO


def test_another_content_than_promised_is_refused_and_leaves_nothing(store: Store) -> None:
    with pytest.raises(DigestMismatch) as caught:
        store.blobs.put([b"something else"], DIGEST)
    assert caught.value.message == f'digest mismatch, expected "{DIGEST}", got "{Digest.of(b"something else")}"'
    assert files_below(store.root) == set()


def test_a_source_that_breaks_leaves_nothing(store: Store) -> None:
    def broken() -> Iterator[bytes]:
        yield HELLO
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.blobs.put(broken())
    assert files_below(store.root) == set()


def test_a_blob_arrives_in_pieces_and_is_not_there_before_the_last(store: Store) -> None:
    with store.blobs.writing(DIGEST, len(HELLO)) as writer:
        for at in range(len(HELLO)):
            writer.write(HELLO[at : at + 1])
        assert not store.blobs.has(DIGEST)
        (partial,) = files_below(store.root)
    assert (writer.digest, writer.created) == (DIGEST, True)
    assert _content(store, DIGEST) == HELLO
    # As Ollama names what its start-up removes: no digest, and not to be taken for one.
    assert partial.startswith("blobs/sha256-")
    assert len(partial) < len(f"blobs/{DIGEST.file_name}")


def test_a_writer_that_is_closed_or_left_by_an_error_leaves_nothing(store: Store) -> None:
    writer = store.blobs.writing()
    writer.write(HELLO)
    writer.close()
    writer.close()
    with suppress(KeyError), store.blobs.writing() as failing:
        failing.write(HELLO)
        raise KeyError
    assert files_below(store.root) == set()


def test_two_writers_of_one_blob_both_succeed_and_one_made_it(store: Store) -> None:
    with store.blobs.writing(DIGEST) as first:
        first.write(HELLO)
        with store.blobs.writing(DIGEST) as second:
            second.write(HELLO)
    assert (first.created, second.created) == (False, True)
    assert files_below(store.root) == {f"blobs/{DIGEST.file_name}"}


def test_many_threads_put_one_blob_once(store: Store) -> None:
    together = threading.Barrier(8)

    def put(_: int) -> bool:
        together.wait(10)
        return store.blobs.put([HELLO])[1]

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(put, range(8))) == [False] * 7 + [True]
    assert files_below(store.root) == {f"blobs/{DIGEST.file_name}"}


def test_what_is_not_there_is_not_found(store: Store) -> None:
    assert not store.blobs.has(DIGEST)
    for ask in (store.blobs.open, store.blobs.size):
        with pytest.raises(BlobNotFound, match=f'^blob "{DIGEST}" not found$'):
            ask(DIGEST)


Maker = Callable[[Path, Path], None]


def _link(path: Path, secret: Path) -> None:
    path.symlink_to(secret)


def _dangling(path: Path, secret: Path) -> None:
    path.symlink_to(secret.with_name("nothing"))


def _folder(path: Path, secret: Path) -> None:
    path.mkdir()


def _pipe(path: Path, secret: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path, secret: Path) -> None:
    # A socket's path has to be short.
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("s")
        Path("s").rename(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize("put_there", [_link, _dangling, _folder, _pipe, _socket])
def test_nothing_but_a_regular_file_is_read_under_a_digest(store: Store, tmp_path: Path, put_there: Maker) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(HELLO)
    store.blobs.put(b"another")
    put_there(store.blobs.path(DIGEST), secret)
    assert not store.blobs.has(DIGEST)
    with pytest.raises(BlobNotFound):
        store.blobs.open(DIGEST)


def test_a_link_in_a_blob_s_place_is_replaced_and_not_written_through(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"untouched")
    store.blobs.put(b"another")
    store.blobs.path(DIGEST).symlink_to(outside)
    assert store.blobs.put(HELLO) == (DIGEST, True)
    assert _content(store, DIGEST) == HELLO
    assert outside.read_bytes() == b"untouched"


def test_a_small_blob_is_read_up_to_its_limit(store: Store) -> None:
    store.blobs.put(HELLO)
    assert store.blobs.read(DIGEST, len(HELLO)) == HELLO
    with pytest.raises(BadManifest, match="larger than"):
        store.blobs.read(DIGEST, len(HELLO) - 1)


def test_removing_is_final_and_may_be_repeated(store: Store) -> None:
    store.blobs.put(HELLO)
    store.blobs.remove(DIGEST)
    store.blobs.remove(DIGEST)
    assert not store.blobs.has(DIGEST)


def test_the_store_and_its_folders_may_be_links(tmp_path: Path) -> None:
    (tmp_path / "disk/blobs").mkdir(parents=True)
    (tmp_path / "real").mkdir()
    (tmp_path / "real/blobs").symlink_to(tmp_path / "disk/blobs")
    (tmp_path / "models").symlink_to(tmp_path / "real")
    store = Store(tmp_path / "models")
    store.blobs.put(HELLO)
    assert _content(store, DIGEST) == HELLO
    assert (tmp_path / "disk/blobs" / DIGEST.file_name).is_file()


def test_what_cannot_fit_is_refused_before_anything_is_written(store: Store) -> None:
    with pytest.raises(DiskFull, match=r"^not enough disk space: 1000 TB to write, .* free, .* of it to be kept$"):
        store.blobs.writing(DIGEST, 10**15)
    assert files_below(store.root) == set()


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_an_endless_upload_stops_before_the_disk_is_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter(range(10**9, 0, -(10**8)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(10**11, 0, next(free)))
    monkeypatch.setattr("a3s_power.store.blobs._LOOK_EVERY_BYTES", 1000)
    monkeypatch.setattr("a3s_power.core.limits.DISK_KEEP_FREE_BYTES", 5 * 10**8)

    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(600)

    with pytest.raises(DiskFull):
        store.blobs.put(endless())
    assert next(free) >= 3 * 10**8
    assert files_below(store.root) == set()


def test_a_disk_that_runs_full_on_the_way_is_told_as_such(store: Store) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(DiskFull, match="no space left on device"):
            store.blobs.put([bytes(700_000), bytes(700_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files_below(store.root) == set()


def test_a_blob_is_on_the_disk_before_it_has_its_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        done.append(f"sync {kind}")
        fsync(descriptor)

    def record_replace(source: str, target: str, **folders: int | None) -> None:
        done.append("rename")
        replace(source, target, **folders)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    store.blobs.put(HELLO)
    assert done == ["sync file", "rename", "sync folder"]


@pytest.mark.parametrize("root", ["file", "file/below", "dangling"])
def test_a_folder_that_cannot_be_made_is_told_without_its_path(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "dangling").symlink_to("/nowhere/at/all")
    store = Store(tmp_path / root)
    with pytest.raises(StoreFailed, match=r"ensure path elements are traversable$") as caught:
        store.blobs.writing()
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(BlobNotFound):
        store.blobs.open(DIGEST)


def test_a_chunk_of_any_size_is_counted_and_logged_nowhere(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    digest, _ = store.blobs.put([b"", b"a" * 3_000_000, b"b"])
    assert store.blobs.size(digest) == 3_000_001
    assert not caplog.records
