"""A real server with real models: the whole application on a port of its own, and every model a child process."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from a3s_power.core.manifest import ConfigBlob
from a3s_power.gguf.writer import Writable
from a3s_power.service.local import LocalSettings, open_local
from a3s_power.store import Store
from tests.models import tiny_llama
from tests.running import DEADLINE, running
from tests.stores import add_model


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address. In its store are `m`, which only completes, and `b`, which embeds; `power-tiny` comes with it."""
    folder = tmp_path_factory.mktemp("models")
    _add(Store(folder), "m", folder.parent / "m.gguf")
    _add(Store(folder), "b", folder.parent / "b.gguf", {"llama.pooling_type": 1})
    with running(lambda: open_local(LocalSettings(models=folder))) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def http(server: str) -> Iterator[httpx2.Client]:
    """A client of the real server."""
    with httpx2.Client(base_url=server, timeout=DEADLINE) as client:
        yield client


def _add(store: Store, name: str, path: Path, key_values: dict[str, Writable] | None = None) -> None:
    tiny_llama(path, key_values=dict(key_values or {}))
    add_model(store, name, weights=path.read_bytes(), config=ConfigBlob(model_format="gguf", model_family="llama"))
