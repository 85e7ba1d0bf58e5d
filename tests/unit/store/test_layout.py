"""Where things lie."""

from pathlib import Path

import pytest

from a3s_power.core.digests import Digest
from a3s_power.store.layout import Layout
from tests.stores import named


def test_names_and_digests_lie_where_ollama_has_them(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert layout.manifest(named("llama3.2:1b")) == tmp_path / "manifests/registry.ollama.ai/library/llama3.2/1b"
    assert layout.manifest(named("hf.co/u/M:Q8_0")) == tmp_path / "manifests/hf.co/u/M/Q8_0"
    assert layout.blob(Digest("0" * 64)) == tmp_path / f"blobs/sha256-{'0' * 64}"


def test_its_places_do_not_move_with_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    layout = Layout(Path("models"))
    monkeypatch.chdir("/")
    assert layout.blob(Digest("0" * 64)) == tmp_path / f"models/blobs/sha256-{'0' * 64}"
