import os
from pathlib import Path

import pytest

from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadFile, BlobNotFound
from a3s_power.core.manifest import CONFIG_TYPE, MODEL, ConfigBlob, Layer, Manifest, write_config, write_manifest
from a3s_power.core.names import ModelName
from a3s_power.store import Store
from a3s_power.store.layers import put
from a3s_power.store.prune import YOUNG_SECONDS
from tests.models import tiny_llama

NAME = ModelName.parse("mine")
_CONTENT = b"GGUF and so on"
_LATER_NS = 1_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Written long ago."""
    path = tmp_path / "file.gguf"
    path.write_bytes(_CONTENT)
    os.utime(path, (1000, 1000))
    return path


def _change(file: Path, content: bytes) -> None:
    """In place, with another time."""
    changed = file.stat().st_mtime_ns + _LATER_NS
    file.write_bytes(content)
    os.utime(file, ns=(changed, changed))


def _read(store: Store, digest: Digest) -> bytes:
    _, content = store.blobs.open(digest)
    with content:
        return content.read()


@pytest.mark.parametrize("hard", [True, False])
def test_a_linked_file_is_a_blob_and_stays_as_it_is(store: Store, file: Path, hard: bool) -> None:
    before = file.stat()
    digest, done = store.blobs.link(file, hard=hard)
    assert (digest, done) == (Digest.of(_CONTENT), True)
    assert (store.blobs.has(digest), store.blobs.keep(digest)) == (True, True)
    assert (store.blobs.size(digest), _read(store, digest)) == (len(_CONTENT), _CONTENT)
    assert store.blobs.find(digest) == (store.blobs.path(digest) if hard else file)
    assert (file.stat().st_mtime_ns, file.stat().st_nlink) == (before.st_mtime_ns, 2 if hard else 1)
    assert store.blobs.link(file, hard=hard) == (digest, False)


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("content", [b"GGUF and so oN", b"shorter"])
def test_a_changed_file_is_noticed_before_it_is_used(store: Store, file: Path, hard: bool, content: bytes) -> None:
    digest, _ = store.blobs.link(file, hard=hard)
    _change(file, content)
    for use in (store.blobs.find, store.blobs.open, store.blobs.size):
        with pytest.raises(BadFile, match=f"^blob {digest} is a reference to a file: that file was changed"):
            use(digest)
    assert not store.blobs.has(digest)


@pytest.mark.parametrize("hard", [True, False])
def test_another_time_alone_is_no_change_and_is_remembered(store: Store, file: Path, hard: bool) -> None:
    digest, _ = store.blobs.link(file, hard=hard)
    record = store.root / "references" / digest.file_name
    before = record.read_bytes()
    _change(file, _CONTENT)
    assert store.blobs.find(digest).is_file()
    assert record.read_bytes() != before


def test_a_file_that_is_gone_is_missed_and_one_with_a_hard_link_is_not(store: Store, file: Path) -> None:
    digest, _ = store.blobs.link(file, hard=False)
    file.rename(file.with_name("elsewhere"))
    with pytest.raises(BadFile, match="that file is gone"):
        store.blobs.find(digest)
    store.blobs.remove(digest)
    store.blobs.link(file.with_name("elsewhere"), hard=True)
    file.with_name("elsewhere").unlink()
    assert _read(store, digest) == _CONTENT


def test_nothing_but_a_regular_file_stands_in_for_one(store: Store, file: Path) -> None:
    digest, _ = store.blobs.link(file, hard=False)
    file.unlink()
    file.symlink_to("/etc/passwd")
    with pytest.raises(BadFile, match="that file is gone"):
        store.blobs.open(digest)
    with pytest.raises(BadFile, match="not a regular file"):
        store.blobs.link(file, hard=False)
    with pytest.raises(BadFile, match="not a regular file"):
        store.blobs.link(Path("/dev/zero"), hard=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("hard", [True, False])
def test_a_record_that_another_user_made_opens_nothing(store: Store, file: Path, hard: bool) -> None:
    """PATH-08."""
    digest, _ = store.blobs.link(file, hard=hard)
    os.chown(store.root / "references" / digest.file_name, 1, -1)
    assert not store.blobs.has(digest)
    with pytest.raises(BadFile, match="another user made it"):
        store.blobs.open(digest)


@pytest.mark.parametrize("hard", [True, False])
def test_real_content_takes_the_place_of_a_link(store: Store, file: Path, hard: bool) -> None:
    digest, _ = store.blobs.link(file, hard=hard)
    _change(file, b"GGUF and so oN")
    assert store.blobs.put(_CONTENT) == (digest, True)
    assert _read(store, digest) == _CONTENT
    assert file.read_bytes() == b"GGUF and so oN"
    assert list((store.root / "references").iterdir()) == []


@pytest.mark.parametrize("hard", [True, False])
def test_removing_the_blob_leaves_the_file(store: Store, file: Path, hard: bool) -> None:
    digest, _ = store.blobs.link(file, hard=hard)
    store.remove_blob(digest)
    assert (file.read_bytes(), store.blobs.has(digest)) == (_CONTENT, False)
    with pytest.raises(BlobNotFound):
        store.blobs.open(digest)


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize(("age", "stays"), [(0, True), (YOUNG_SECONDS + 5, False)])
def test_a_link_that_no_model_needs_goes_when_it_is_old(
    store: Store, file: Path, hard: bool, age: float, stays: bool
) -> None:
    digest, _ = store.blobs.link(file, hard=hard)
    store.start((store.root / "references" / digest.file_name).stat().st_mtime + age)
    assert (store.blobs.has(digest), file.read_bytes()) == (stays, _CONTENT)


def _model_of(store: Store, file: Path, *, hard: bool = False) -> Digest:
    """A model whose weights are that file."""
    digest, _ = store.blobs.link(file, hard=hard)
    config, _ = put(store.blobs, CONFIG_TYPE, write_config(ConfigBlob(model_format="gguf")))
    layer = Layer(media_type=MODEL, digest=str(digest), size=store.blobs.size(digest))
    store.write(NAME, write_manifest(Manifest(config=config, layers=(layer,))))
    return digest


def test_a_model_that_was_read_before_follows_its_file_to_a_new_place(store: Store, tmp_path: Path) -> None:
    one, two = tmp_path / "one.gguf", tmp_path / "two.gguf"
    tiny_llama(one)
    _model_of(store, one)
    assert store.models.read(NAME).files.weights == str(one)
    one.rename(two)
    _model_of(store, two)
    assert store.models.read(NAME).files.weights == str(two)


@pytest.mark.parametrize("hard", [True, False])
def test_a_model_runs_on_the_file_where_it_lies(store: Store, tmp_path: Path, hard: bool) -> None:
    tiny_llama(tmp_path / "tiny.gguf")
    digest = _model_of(store, tmp_path / "tiny.gguf", hard=hard)
    weights = store.models.read(NAME).files.weights
    assert weights == str(store.blobs.path(digest) if hard else tmp_path / "tiny.gguf")
    store.start(2e9 + YOUNG_SECONDS)
    assert store.models.read(NAME).facts.architecture == "llama"
    _change(tmp_path / "tiny.gguf", b"x" * 100)
    with pytest.raises(BadFile, match=r"that file was changed\. Create the model again"):
        store.models.read(NAME)
    store.delete(NAME)
    assert ((tmp_path / "tiny.gguf").is_file(), list((store.root / "references").iterdir())) == (True, [])


def test_a_record_that_cannot_be_read_is_told_of(store: Store, file: Path) -> None:
    digest, _ = store.blobs.link(file, hard=False)
    (store.root / "references" / digest.file_name).write_bytes(b"{")
    with pytest.raises(BadFile, match="its record cannot be read"):
        store.blobs.find(digest)
