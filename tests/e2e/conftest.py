"""Servers for the end-to-end tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import Served, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for a module, with room for eight requests at once."""
    home: Path = tmp_path_factory.mktemp("home")
    with served(home, OLLAMA_NUM_PARALLEL="8", OLLAMA_CONTEXT_LENGTH="512") as running:
        yield running
