"""Manifests: found whatever their case, read with mistrust, written at a stroke."""

import logging
import os
import resource
from datetime import UTC, datetime
from pathlib import Path

import pytest

from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadManifest, ModelNotFound, StoreFailed
from a3s_power.core.manifest import CONFIG_TYPE, MODEL, Layer, Manifest, write_manifest
from a3s_power.store.layout import Layout
from a3s_power.store.manifests import Manifests, Scan
from tests.stores import files_below, named

A, B = Digest("a" * 64), Digest("b" * 64)
MANIFEST = Manifest(
    config=Layer(media_type=CONFIG_TYPE, digest=str(A), size=1),
    layers=(Layer(media_type=MODEL, digest=str(B), size=2),),
)
CONTENT = write_manifest(MANIFEST)
DEFAULT = "registry.ollama.ai/library"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "models")


@pytest.fixture
def manifests(layout: Layout) -> Manifests:
    return Manifests(layout)


def lay(layout: Layout, path: str, content: bytes = CONTENT) -> Path:
    """A file below the manifests folder, put there by somebody else."""
    file = layout.manifests / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_a_manifest_is_kept_byte_for_byte_with_its_digest_and_time(layout: Layout, manifests: Manifests) -> None:
    content = (
        b'\n{ "layers": [], "config": {"size":1,"mediaType":"x","digest":"' + str(A).encode() + b'"}, "extra":1 }  '
    )
    os.utime(lay(layout, f"{DEFAULT}/m/latest", content), (0, 1_700_000_000.25))
    stored = manifests.read(named("m"))
    assert (stored.content, stored.digest) == (content, Digest.of(content))
    assert stored.modified == datetime.fromtimestamp(1_700_000_000.25, UTC)
    assert stored.modified.tzinfo is not None


def test_what_was_written_is_read_and_nothing_lies_beside_it(layout: Layout, manifests: Manifests) -> None:
    manifests.write(named("hf.co/u/m:Q8"), CONTENT)
    assert manifests.read(named("hf.co/u/m:Q8")).manifest == MANIFEST
    assert files_below(layout.root) == {"manifests/hf.co/u/m/Q8"}
    manifests.write(named("hf.co/u/m:Q8"), CONTENT + b" ")
    assert manifests.read(named("hf.co/u/m:Q8")).content == CONTENT + b" "
    assert files_below(layout.root) == {"manifests/hf.co/u/m/Q8"}


@pytest.mark.parametrize("text", ["Chat", "chat", "CHAT:LATEST", "registry.OLLAMA.ai/LIBRARY/cHaT"])
def test_case_does_not_matter_for_finding(layout: Layout, manifests: Manifests, text: str) -> None:
    lay(layout, f"{DEFAULT}/Chat/latest")
    assert manifests.find(named(text)) == named("Chat")
    assert manifests.read(named(text)).name == named("Chat")


def test_the_very_spelling_goes_before_another_one(layout: Layout, manifests: Manifests) -> None:
    for name in ("Chat/latest", "chat/latest", "chat/Latest", "CHAT/only"):
        lay(layout, f"{DEFAULT}/{name}")
    for text in ("Chat", "chat", "chat:Latest", "CHAT:only"):
        assert manifests.find(named(text)) == named(text)
    assert manifests.find(named("chat:ONLY")) == named("CHAT:only")
    assert manifests.find(named("cHAT")) == named("Chat")


def test_a_new_name_takes_over_the_spellings_there_are(layout: Layout, manifests: Manifests) -> None:
    lay(layout, "hf.co/Alice/Model/Q8")
    lay(layout, f"{DEFAULT}/Other/latest")
    assert manifests.spelled(named("alice/MODEL:q8")) == named("Alice/Model:Q8")
    assert manifests.spelled(named("HF.co/alice/new:Q8")) == named("hf.co/Alice/new:Q8")
    assert manifests.spelled(named("quite/new:One")) == named("quite/new:One")


@pytest.mark.parametrize("name", ["m", "m:v1", "ns/m", "hf.co/u/m", f"{'h' * 350}/n/m"])
def test_an_unknown_name_is_not_found_under_its_short_form(manifests: Manifests, name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        manifests.read(named(name))
    assert caught.value.message == f"model '{named(name).short}' not found"
    assert manifests.find(named(name)) is None


def test_a_scan_passes_over_what_is_no_manifest_and_says_so(
    layout: Layout, manifests: Manifests, caplog: pytest.LogCaptureFixture
) -> None:
    lay(layout, f"{DEFAULT}/good/latest")
    lay(layout, f"{DEFAULT}/broken/latest", b'{"layers":[{"digest":"' + b"sha256:" + b"C" * 64)
    lay(layout, f"{DEFAULT}/.hidden/latest")
    lay(layout, f"{DEFAULT}/good/.DS_Store", b"\0")
    for path in ("stray", "h/stray", "h/n/stray", "h/n/m/t/too-deep"):
        lay(layout, path)
    scan = manifests.scan()
    assert [stored.name.short for stored in scan.stored] == ["good:latest"]
    assert scan.corrupt == [f"{DEFAULT}/{name}" for name in (".hidden/latest", "broken/latest", "good/.DS_Store")]
    assert scan.mentioned == {A, B, Digest("c" * 64)}
    assert scan.whole
    assert [record.message for record in caplog.records] == ["bad manifest skipped"] * 3


def test_a_scan_that_cannot_open_everything_says_it_is_not_whole(layout: Layout, manifests: Manifests) -> None:
    lay(layout, f"{DEFAULT}/m/latest")
    assert manifests.scan().whole
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    # One descriptor is enough to look into folders, and too few to open a manifest beneath them.
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 1, hard))
    try:
        scan = manifests.scan()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (scan.stored, scan.corrupt, scan.whole) == ([], [], False)


def test_a_scan_that_met_a_manifest_over_the_limit_says_it_is_not_whole(layout: Layout, manifests: Manifests) -> None:
    lay(layout, f"{DEFAULT}/huge/latest", CONTENT[:-2] + b" " * 2**20 + b"}")
    assert manifests.scan() == Scan([], [f"{DEFAULT}/huge/latest"], frozenset({A, B}), whole=False)


def test_an_empty_store_has_no_manifests(manifests: Manifests) -> None:
    assert manifests.scan() == ([], [], frozenset(), True)


@pytest.mark.parametrize("link_at", ["registry.ollama.ai", DEFAULT, f"{DEFAULT}/m", f"{DEFAULT}/m/latest"])
def test_a_link_below_the_folder_is_not_followed(
    layout: Layout, manifests: Manifests, tmp_path: Path, link_at: str
) -> None:
    outside = Layout(tmp_path / "outside")
    lay(outside, f"{DEFAULT}/m/latest")
    link = layout.manifests / link_at
    link.parent.mkdir(parents=True)
    link.symlink_to(outside.manifests / link_at)
    assert manifests.scan().stored == []
    assert manifests.find(named("m")) is None
    with pytest.raises(ModelNotFound):
        manifests.read(named("m"))


def test_the_folder_itself_may_be_a_link(layout: Layout, manifests: Manifests, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    layout.root.mkdir()
    layout.manifests.symlink_to(tmp_path / "disk")
    manifests.write(named("m"), CONTENT)
    assert manifests.read(named("m")).manifest == MANIFEST
    assert files_below(tmp_path / "disk") == {f"{DEFAULT}/m/latest"}


@pytest.mark.parametrize("link_at", ["registry.ollama.ai", DEFAULT, f"{DEFAULT}/m"])
def test_nothing_is_written_through_a_link_to_a_folder(
    layout: Layout, manifests: Manifests, tmp_path: Path, link_at: str
) -> None:
    (tmp_path / "outside").mkdir()
    link = layout.manifests / link_at
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "outside")
    with pytest.raises(StoreFailed, match=r"^models folder: "):
        manifests.write(named("m"), CONTENT)
    assert list((tmp_path / "outside").iterdir()) == []
    assert files_below(layout.manifests) == set()


def test_a_link_in_a_manifest_s_place_is_replaced(layout: Layout, manifests: Manifests, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"untouched")
    link = layout.manifests / DEFAULT / "m/latest"
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    manifests.write(named("m"), CONTENT)
    assert manifests.read(named("m")).content == CONTENT
    assert outside.read_bytes() == b"untouched"


def test_removing_takes_empty_folders_along_and_leaves_others(layout: Layout, manifests: Manifests) -> None:
    for name in ("m", "m:v1", "hf.co/u/m"):
        manifests.write(named(name), CONTENT)
    manifests.remove(named("m"))
    manifests.remove(named("hf.co/u/m"))
    manifests.remove(named("never:there"))
    assert files_below(layout.manifests) == {f"{DEFAULT}/m/v1"}
    assert os.listdir(layout.manifests) == ["registry.ollama.ai"]  # noqa: PTH208 -- names are what is asked for
    manifests.remove(named("m:v1"))
    assert list(layout.manifests.iterdir()) == []


def test_empty_folders_go_and_others_stay(layout: Layout, manifests: Manifests, tmp_path: Path) -> None:
    manifests.write(named("m"), CONTENT)
    for empty in ("a", "b/c", "b/d/e", f"{DEFAULT}/x"):
        (layout.manifests / empty).mkdir(parents=True)
    (layout.manifests / "link").symlink_to(tmp_path)
    manifests.remove_empty_folders()
    assert sorted(path.name for path in layout.manifests.iterdir()) == ["link", "registry.ollama.ai"]
    assert files_below(layout.manifests) == {f"{DEFAULT}/m/latest"}


def test_a_broken_manifest_is_told_when_its_model_is_asked_for(layout: Layout, manifests: Manifests) -> None:
    lay(layout, f"{DEFAULT}/m/latest", b"{}")
    with pytest.raises(BadManifest, match=r"^manifest cannot be read: "):
        manifests.read(named("m"))


def test_a_manifest_that_does_not_fit_is_not_written_in_part(layout: Layout, manifests: Manifests) -> None:
    manifests.write(named("m"), CONTENT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, hard))
    try:
        with pytest.raises(StoreFailed, match="no space left"):
            manifests.write(named("m"), CONTENT + b" ")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert manifests.read(named("m")).content == CONTENT
    assert files_below(layout.root) == {f"manifests/{DEFAULT}/m/latest"}


def test_logs_name_the_file_and_no_folder(
    layout: Layout, manifests: Manifests, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    lay(layout, f"{DEFAULT}/m/latest", b"{}")
    manifests.scan()
    (record,) = caplog.records
    assert str(layout.root) not in str(vars(record)["fields"])
