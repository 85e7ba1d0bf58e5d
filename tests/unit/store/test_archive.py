"""Archives: out of one store and into another, and all that is refused on the way."""

import io
import tarfile
from pathlib import Path

import pytest

from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadFile, BadManifest, DigestMismatch, DiskFull, ModelNotFound, PowerError
from a3s_power.core.manifest import MODEL, SYSTEM, TEMPLATE
from a3s_power.core.names import ModelName
from a3s_power.store import Store, blobs, tar
from a3s_power.store.archive import Unpacking, pack
from tests.archives import BLOBS, CONFIG, HEAD, PLACE, SAID, WEIGHTS, WHOLE, archive, file, layer, manifest, place
from tests.stores import add_model, files_below, named

_MOVED = named("moved")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Empty."""
    return Store(tmp_path / "models")


def _unpacked(store: Store, content: bytes, *, cut: int = 1 << 20) -> ModelName:
    unpacking = Unpacking(store)
    try:
        for start in range(0, len(content), cut):
            unpacking.feed(content[start : start + cut])
        return unpacking.finish()
    finally:
        unpacking.close()


def _packed(store: Store, name: str, *, blobs: bool = True) -> bytes:
    size, pieces = pack(store, named(name), blobs=blobs)
    content = b"".join(pieces)
    assert len(content) == size
    return content


@pytest.mark.parametrize("name", ["m", "hf.co/some/one:Q8_0", "127.0.0.1:5000/a/b:c"])
def test_a_model_is_the_same_in_another_store(store: Store, tmp_path: Path, name: str) -> None:
    add_model(store, name, (TEMPLATE, b"{{ .Prompt }}"), (SYSTEM, b"x" * 1000))
    other = Store(tmp_path / "other")
    assert _unpacked(other, _packed(store, name)) == named(name)
    assert files_below(other.root) == files_below(store.root)
    assert other.manifests.read(named(name)).content == store.manifests.read(named(name)).content


def test_it_is_a_tar_file_and_a_piece_of_a_models_folder(store: Store, tmp_path: Path) -> None:
    add_model(store, "m", (SYSTEM, b"hi"))
    with tarfile.open(fileobj=io.BytesIO(_packed(store, "m"))) as found:
        assert found.getnames()[0] == "manifests/registry.ollama.ai/library/m/latest"
        found.extractall(tmp_path / "by-hand", filter="data")
    assert files_below(tmp_path / "by-hand") == files_below(store.root)
    assert Store(tmp_path / "by-hand").models.read(named("m")).system == "hi"


def test_a_long_name_and_a_large_size_are_said_as_pax_says_them(store: Store, tmp_path: Path) -> None:
    name = f"{'h' * 100}.example/{'n' * 80}/{'m' * 80}:{'t' * 80}"
    add_model(store, name)
    content = _packed(store, name)
    with tarfile.open(fileobj=io.BytesIO(content)) as found:
        assert found.getnames()[0].startswith(f"manifests/{'h' * 100}.example/")
    assert _unpacked(Store(tmp_path / "other"), content) == named(name)
    info = tarfile.TarInfo.frombuf(tar.header("x", 8**11 - 1), "ascii", "strict")
    assert (info.name, info.size) == ("x", 8**11 - 1)
    with tarfile.open(fileobj=io.BytesIO(tar.header("x", 8**11) + bytes(2048))) as found:
        assert (first := found.next())
        assert first.size == 8**11


@pytest.mark.parametrize("cut", [1, 511, 512, 513, 10**6])
def test_it_may_come_in_pieces_of_any_size(store: Store, cut: int) -> None:
    assert _unpacked(store, WHOLE, cut=cut) == _MOVED
    assert files_below(store.root) == {PLACE, *(place(content) for content in (CONFIG, WEIGHTS, SAID))}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_other_programs_archives_are_read(store: Store, form: int) -> None:
    info, content = HEAD
    info = tarfile.TarInfo(info.name)
    info.size, info.mtime = len(content), 1.5  # pax writes a fraction of a second as a record
    assert _unpacked(store, archive((info, content), *BLOBS, format=form)) == _MOVED


def test_what_is_here_need_not_come(store: Store) -> None:
    for content in (CONFIG, WEIGHTS, SAID):
        store.blobs.put(content)
    before = {path: (store.root / path).stat().st_ino for path in files_below(store.root)}
    assert _unpacked(store, archive(HEAD)) == _MOVED
    assert _unpacked(store, WHOLE) == _MOVED
    assert {path: (store.root / path).stat().st_ino for path in before} == before


def test_without_blobs_there_is_only_the_manifest(store: Store, tmp_path: Path) -> None:
    add_model(store, "m")
    content = _packed(store, "m", blobs=False)
    with tarfile.open(fileobj=io.BytesIO(content)) as found:
        assert found.getnames() == ["manifests/registry.ollama.ai/library/m/latest"]
    with pytest.raises(BadFile, match="is without blob"):
        _unpacked(Store(tmp_path / "other"), content)
    assert _unpacked(store, content) == named("m")


def test_a_model_that_is_not_there_or_not_whole_is_not_packed(store: Store) -> None:
    with pytest.raises(ModelNotFound):
        pack(store, named("nope"))
    made = add_model(store, "m")
    store.blobs.path(made.layers[0].blob).unlink()
    with pytest.raises(ModelNotFound):
        pack(store, named("m"))


def test_a_blob_that_lost_its_end_is_not_packed(store: Store) -> None:
    made = add_model(store, "m", (SYSTEM, b"hello"))
    store.blobs.path(made.layers[1].blob).write_bytes(b"hell")
    with pytest.raises(BadManifest, match="has 4 bytes and should have 5"):
        pack(store, named("m"))


def test_the_model_inside_the_package_can_be_packed(store: Store, tmp_path: Path) -> None:
    assert _unpacked(Store(tmp_path / "other"), _packed(store, "power-tiny")).short == "power-tiny:latest"


def test_an_older_model_of_the_name_stays_until_the_new_one_is_whole(store: Store) -> None:
    add_model(store, "moved", (SYSTEM, b"old"))
    old = store.manifests.read(_MOVED).content
    with pytest.raises(DigestMismatch):
        _unpacked(store, archive(HEAD, BLOBS[0], BLOBS[1], file(place(SAID), b"be brief.")))
    assert store.manifests.read(_MOVED).content == old
    assert store.models.read(_MOVED).system == "old"
    _unpacked(store, WHOLE)
    assert store.manifests.read(_MOVED).content == manifest()


def test_blobs_that_another_model_got_meanwhile_stay_when_it_fails(store: Store) -> None:
    unpacking = Unpacking(store)
    unpacking.feed(WHOLE[: 512 * 6])
    add_model(store, "m", weights=WEIGHTS)
    unpacking.close()
    assert store.blobs.has(Digest.of(WEIGHTS))


def test_a_disk_that_is_too_small_is_told_before_the_first_blob(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = manifest(layer(MODEL, WEIGHTS, size=2**60))
    with pytest.raises(DiskFull):
        _unpacked(store, archive(file(PLACE, huge)))
    monkeypatch.setattr(blobs, "check_room", lambda *_: None)
    with pytest.raises(PowerError, match="the archive is cut off"):
        _unpacked(store, tar.header(PLACE, len(huge)) + huge)


_OTHER = b"something else"
_SIZE_FIELD = slice(124, 136)
_BROKEN_SUM = b"M" + WHOLE[1:]


def _with_size(field: bytes) -> bytes:
    """An archive whose first header says this size, and has the right sum."""
    head = bytearray(WHOLE[:512])
    head[_SIZE_FIELD] = field
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + WHOLE[512:]


def _pax(records: bytes) -> bytes:
    """An archive with this block of records before the manifest."""
    said = tarfile.TarInfo("pax")
    said.type, said.size = tarfile.XHDTYPE, len(records)
    return said.tobuf(tarfile.USTAR_FORMAT) + records + bytes(tar.padding(len(records))) + WHOLE


_REFUSED = {
    "empty": (b"", "the archive is cut off"),
    "no-files": (archive(), "the archive is empty"),
    "no-tar": (b"PK\x03\x04" + bytes(600), "this is no archive of a model"),
    "half-a-header": (WHOLE[:300], "the archive is cut off"),
    "broken-sum": (_BROKEN_SUM, "this is no archive of a model"),
    "cut-in-a-blob": (WHOLE[: 512 * 5 + 10], "the archive is cut off"),
    "no-end": (WHOLE[: 512 * 9], "the archive is cut off"),
    "more-after-the-end": (WHOLE + b"x", "the archive goes on after its end"),
    "zeros-for-ever": (WHOLE + bytes(1 << 20), "the archive goes on after its end"),
    "another-archive-behind": (WHOLE + WHOLE, "the archive goes on after its end"),
    "blob-first": (archive(BLOBS[0], HEAD), "which is no manifest's place"),
    "two-manifests": (archive(HEAD, HEAD), "which is no blob's place"),
    "manifest-last": (archive(*BLOBS, HEAD), "which is no manifest's place"),
    "a-blob-twice": (archive(HEAD, BLOBS[0], BLOBS[0]), "not in its manifest, or not of this size, or there twice"),
    "a-blob-too-many": (archive(HEAD, *BLOBS, file(place(_OTHER), _OTHER)), "not in its manifest"),
    "a-blob-too-few": (archive(HEAD, *BLOBS[:2]), "the archive is without blob sha256:[0-9a-f]{64}, which is not here"),
    "another-size": (archive(HEAD, file(place(WEIGHTS), WEIGHTS + b"!")), "not of this size"),
    "no-manifest": (archive(file(PLACE, b"[]")), "manifest cannot be read"),
    "manifest-too-large": (archive(file(PLACE, bytes(limits.MANIFEST_BYTES + 1))), "manifest is larger than"),
    "two-sizes": (
        archive(file(PLACE, manifest(layer(MODEL, WEIGHTS), layer(SYSTEM, WEIGHTS, size=1)))),
        "two sizes for",
    ),
    "config-is-no-json": (
        archive(
            file(
                PLACE, manifest().replace(str(Digest.of(CONFIG)).encode(), str(Digest.of(b"{" * len(CONFIG))).encode())
            ),
            *BLOBS[1:],
            file(place(b"{" * len(CONFIG)), b"{" * len(CONFIG)),
        ),
        "config cannot be read",
    ),
    "digest-is-a-path": (
        archive(file(PLACE, manifest().replace(b"sha256:", b"sha256:../", 1))),
        "manifest cannot be read",
    ),
    "size-not-octal": (_with_size(b"99999999999\0"), "a size that cannot be read"),
    "size-binary": (_with_size(b"\x80" + bytes(10) + b"\1"), "a size that cannot be read"),
    "size-negative": (_with_size(b"\xff" * 12), "a size that cannot be read"),
    "size-huge": (_with_size(b"77777777777\0"), "manifest is larger than"),
    "pax-path": (_pax(b"22 path=/etc/cron.d/x\n"), "which is no manifest's place"),
    "pax-size": (_pax(b"16 size=1000000\n"), "manifest cannot be read|cut off|manifest is larger"),
    "pax-size-negative": (_pax(b"11 size=-1\n"), "a size that cannot be read"),
    "pax-link": (_pax(b"24 linkpath=/etc/passwd\n"), "of a kind that is not read"),
    "pax-sparse": (_pax(b"22 GNU.sparse.major=1\n"), "extended header that cannot be read"),
    "pax-length-lies": (_pax(b"99 path=x\n"), "extended header that cannot be read"),
    "pax-not-ascii": (_pax("10 path=é\n".encode()), "a name that is not ASCII|cannot be read"),
    "pax-twice": (_pax(b"9 path=x\n")[:1024] + _pax(b"9 path=x\n"), "something other than regular files"),
    "pax-too-large": (_pax(bytes(5000)), "extended header of more than"),
    "pax-global": (
        tarfile.TarInfo.create_pax_global_header({"path": "x"}) + WHOLE,
        "something other than regular files",
    ),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_is_no_whole_and_honest_archive_is_refused_and_leaves_nothing(store: Store, name: str) -> None:
    content, complaint = _REFUSED[name]
    with pytest.raises(PowerError, match=complaint) as caught:
        _unpacked(store, content)
    assert caught.value.status == 400
    assert files_below(store.root) == set()


_KINDS = {
    name: getattr(tarfile, name)
    for name in ("SYMTYPE", "LNKTYPE", "CHRTYPE", "BLKTYPE", "DIRTYPE", "FIFOTYPE", "CONTTYPE", "GNUTYPE_SPARSE")
}


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("place_", [PLACE, place(WEIGHTS), "../x"])
def test_only_regular_files_are_read(store: Store, kind: str, place_: str) -> None:
    """PATH-14."""
    odd = file(place_, b"", type=_KINDS[kind], linkname="/etc/passwd")
    for files in ((odd,), (HEAD, odd), (HEAD, *BLOBS, odd)):
        with pytest.raises(PowerError, match=r"something other than regular files|which is no"):
            _unpacked(store, archive(*files))
    assert files_below(store.root) == set()


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/cron.d/x", "../x", "manifests/../../../x/y", "manifests/a/b/c/../d", "manifests/a/b/c", "blobs/../x"),
        *("manifests/a/b/c/d/e", "manifests//b/c/d", "./" + PLACE, "/" + PLACE, PLACE + "/", "manifests/a/b/c/.d"),
        *("blobs/sha256-" + "a" * 63, "blobs/sha256:" + "a" * 64, "blobs/sha256-" + "A" * 64, "blobs/x/sha256-a"),
        *("C:\\x", "manifests\\a\\b\\c\\d", "manifests/a/b/c/d\n", "manifests/a/b/c/-rf", ""),
    ],
)
def test_only_the_places_of_a_models_folder_are_names(store: Store, name: str) -> None:
    """PATH-14: whether the name stands first or later."""
    for files in ((file(name, manifest()),), (HEAD, file(name, WEIGHTS))):
        with pytest.raises(PowerError, match=r"which is no (manifest|blob)'s place|something other"):
            _unpacked(store, archive(*files))
    assert files_below(store.root) == set()
