"""The command in a world of its own."""

from pathlib import Path

import pytest

from tests.scripted import Shell


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Shell:
    """Runs commands; the base folder is empty, and nobody listens where they look."""
    monkeypatch.setenv("A3S_POWER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    monkeypatch.delenv("OLLAMA_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    return Shell(monkeypatch, capsys)
