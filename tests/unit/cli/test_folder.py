"""`df`, `prune` and `list --all`: commands that look at this machine's models folder, a real one."""

import json
import os
import time
from pathlib import Path

import pytest

from a3s_power.core.manifest import SYSTEM
from a3s_power.store import Store
from tests.scripted import Answer, Shell, scripted
from tests.stores import add_model, gguf

_OLD = time.time() - 2 * 3600


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two models with the same weights, a third, a blob of nobody's and half a download, both two hours old."""
    store = Store(tmp_path / "home" / "models")
    add_model(store, "one")
    add_model(store, "two", (SYSTEM, b"Be brief."))
    add_model(store, "big", weights=gguf() + bytes(5000))
    blobs = tmp_path / "home" / "models" / "blobs"
    for name, content in ((f"sha256-{'a' * 64}", b"x" * 4096), (f"sha256-{'b' * 64}-partial", b"y" * 8192)):
        (blobs / name).write_bytes(content)
        os.utime(blobs / name, (_OLD, _OLD))
    return store


def test_df_tells_what_is_shared_and_what_goes_with_a_model(shell: Shell, store: Store) -> None:
    found = json.loads(shell("df", "--json").out)
    sizes = {model["name"]: model for model in found["models"]}
    weights = len(gguf())
    assert found["folder"] == str(store.root)
    assert set(sizes) == {"one:latest", "two:latest", "big:latest"}
    assert sizes["big:latest"]["unique"] == weights + 5000
    assert sizes["two:latest"]["unique"] == len(b"Be brief.")
    assert sizes["one:latest"]["shared"] == sizes["two:latest"]["shared"] == sizes["one:latest"]["size"]
    assert found["total"] == sum(path.stat().st_size for path in (store.root / "blobs").iterdir()) - 4096 - 8192
    assert found["unused"] == [{"file": f"sha256-{'a' * 64}", "size": 4096}]
    assert found["unfinished"] == [{"digest": "b" * 12, "size": 8192}]


def test_df_says_what_to_do_about_what_no_model_needs(shell: Shell, store: Store) -> None:
    lines = shell("df").out.splitlines()
    assert lines[0].split() == ["NAME", "SIZE", "SHARED", "UNIQUE"]
    assert lines[1].startswith("big:latest")
    assert any(line.startswith("unfinished downloads    8.2 KB") and "prune --partials" in line for line in lines)
    assert any(line.startswith("used by no model        4.1 KB") for line in lines)
    assert lines[-1] == f"in {store.root}"


def test_kept_prompts_are_told_and_removed_only_when_asked(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "prompts" / "of-a-model"
    folder.mkdir(parents=True)
    (folder / "slot-0.bin").write_bytes(bytes(4096))
    assert json.loads(shell("df", "--json").out)["prompts"] == 4096
    assert any("4.1 KB" in line and "prune --prompts" in line for line in shell("df").out.splitlines())
    for words in (["prune"], ["prune", "--prompts", "--dry-run"]):
        shell(*words)
        assert [file.name for file in folder.iterdir()] == ["slot-0.bin"]
    assert shell("prune", "--prompts").out.splitlines()[-1].startswith("freed 4.1 KB in ")
    assert not list(folder.iterdir())


def test_an_empty_folder_is_told_as_such(shell: Shell) -> None:
    assert json.loads(shell("df", "--json").out)["models"] == []
    assert shell("prune").out.startswith("freed 0 B in ")


def test_prune_removes_blobs_and_downloads_only_when_asked(shell: Shell, store: Store) -> None:
    blobs = store.root / "blobs"
    before = {path.name for path in blobs.iterdir()}
    assert shell("prune", "--dry-run", "--partials").out.splitlines()[-1].startswith("would free 12 KB")
    assert {path.name for path in blobs.iterdir()} == before
    assert shell("prune").out.splitlines()[-1] == f"freed 4.1 KB in {store.root}"
    assert before - {path.name for path in blobs.iterdir()} == {f"sha256-{'a' * 64}"}
    assert shell("prune", "--partials").out.splitlines()[-1] == f"freed 8.2 KB in {store.root}"
    assert [listing.name.short for listing in store.models.list()] != []


@pytest.mark.parametrize(("age", "count"), [("3h", 0), ("1h", 1), ("0s", 1)])
def test_prune_leaves_what_is_younger(shell: Shell, store: Store, age: str, count: int) -> None:
    assert len(shell("prune", "--dry-run", "--age", age).out.splitlines()) == 1 + count


@pytest.mark.parametrize(
    ("age", "error"),
    [("-1h", 'invalid value for --age: "-1h" (must not be negative)'), ("10", 'time: missing unit in duration "10"')],
)
def test_prune_refuses_an_age_that_is_none(shell: Shell, age: str, error: str) -> None:
    assert shell("prune", f"--age={age}") == (1, "", f"Error: {error}\n")


def test_prune_removes_nothing_beside_a_manifest_it_cannot_read(shell: Shell, store: Store) -> None:
    (store.root / "manifests/registry.ollama.ai/library/one/latest").write_bytes(b"{")
    assert shell("prune", "--age", "0s", "--partials").out.splitlines()[-1].startswith("freed 0 B")
    assert (store.root / "blobs" / f"sha256-{'a' * 64}").exists()


def test_list_all_tells_of_unfinished_downloads(shell: Shell, store: Store) -> None:
    with scripted({"GET /api/tags": Answer({"models": []})}) as server:
        assert shell("list", server=server).out.count("\n") == 1
        line = shell("list", "--all", server=server).out.splitlines()[1]
        assert line.split() == ["(unfinished)", "b" * 12, "8.2", "KB"]
        unfinished = json.loads(shell("list", "--all", "--json", server=server).out)["unfinished"]
        assert unfinished == [{"digest": "b" * 12, "size": 8192}]
