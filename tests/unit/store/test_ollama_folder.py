"""A folder that Ollama left behind is listed and read as it is."""

import hashlib
import json
from pathlib import Path

import pytest

from a3s_power.core.errors import ModelNotFound
from a3s_power.core.messages import Message
from a3s_power.store import Store
from a3s_power.store.bundled import bundled_gguf
from tests.ollama_folder import NAMES, RUNNABLE, lay_out
from tests.stores import files_below, named

HOUR = 3600


@pytest.fixture
def root(tmp_path: Path) -> Path:
    lay_out(tmp_path / "models", bundled_gguf().read_bytes())
    return tmp_path / "models"


@pytest.fixture
def now(root: Path) -> float:
    """When the youngest file was written."""
    return max(path.stat().st_mtime for path in root.rglob("*"))


def test_every_model_is_listed_with_its_manifest_s_digest(root: Path, now: float) -> None:
    store = Store(root)
    store.start(now)
    listed = store.models.list()
    assert {listing.name.short for listing in listed} == NAMES
    for listing in listed:
        content = root.joinpath("manifests", *listing.name.parts).read_bytes()
        assert listing.digest.hex == hashlib.sha256(content).hexdigest()
        fields = json.loads(content)
        assert listing.size == sum(layer["size"] for layer in [fields["config"], *(fields["layers"] or [])])


def test_every_model_with_weights_is_read_once_old_blobs_have_their_new_names(root: Path, now: float) -> None:
    store = Store(root)
    with pytest.raises(ModelNotFound):
        store.models.read(named("orca:7b"))
    store.start(now)
    for name in RUNNABLE:
        model = store.models.read(named(name))
        assert model.facts.architecture == "llama"
        assert Path(model.files.weights).read_bytes()[:4] == b"GGUF"
        assert "completion" in model.capabilities
    assert not any(":" in path for path in files_below(root / "blobs"))


def test_the_layers_mean_what_they_mean_to_ollama(root: Path, now: float) -> None:
    store = Store(root)
    store.start(now)
    mine = store.models.read(named("MINE"))
    assert mine.system == "You are Ann."
    assert mine.licenses == ("MIT", "and more")
    assert mine.parameters == {"num_ctx": 512, "stop": ["<|im_end|>"], "temperature": 0}
    assert mine.messages == (Message(role="user", content="Hello"), Message(role="assistant", content="Hi <3"))
    assert store.models.read(named("orca:7b")).template == "{{ .System }} {{ .Prompt }}"
    (listing,) = [listing for listing in store.models.list() if listing.name == named("mine")]
    assert (listing.parent, listing.config.file_type) == ("tiny:latest", "Q8_0")


def test_a_model_that_runs_elsewhere_can_still_be_looked_at(root: Path) -> None:
    stub = Store(root).models.read(named("gpt-oss:20b-cloud"))
    assert (stub.files.weights, stub.config.remote_model) == ("", "gpt-oss:20b")
    assert "tools" in stub.capabilities


def test_a_young_start_keeps_downloads_and_a_later_one_clears_them(root: Path, now: float) -> None:
    before = {path.replace("sha256:", "sha256-") for path in files_below(root)}
    store = Store(root)
    store.start(now + HOUR - 1)
    assert files_below(root) == before
    store.start(now + HOUR + 1)
    gone = before - files_below(root)
    assert gone == {
        "blobs/sha256-1234567890",
        f"blobs/sha256-{'d' * 64}-partial",
        f"blobs/sha256-{'d' * 64}-partial-0",
    }
    assert {listing.name.short for listing in store.models.list()} == NAMES


def test_ollama_s_own_manifests_stay_byte_for_byte(root: Path, now: float) -> None:
    before = {path: path.read_bytes() for path in (root / "manifests").rglob("*") if path.is_file()}
    store = Store(root)
    store.start(now)
    store.models.list()
    store.copy(named("tiny"), named("TINY:copy"))
    assert {path: path.read_bytes() for path in before} == before
    copied = root / "manifests/registry.ollama.ai/library/tiny/copy"
    assert copied.read_bytes() == before[copied.with_name("latest")]
