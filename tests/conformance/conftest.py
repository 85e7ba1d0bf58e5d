"""A real server with real models: the whole application on a port of its own, and every model a child process."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import uvicorn

from a3s_power.api.app import build
from a3s_power.api.endpoint import ApiSettings
from a3s_power.core.manifest import ConfigBlob
from a3s_power.gguf.writer import Writable
from a3s_power.service.local import LocalSettings, open_local
from a3s_power.store import Store
from tests.models import tiny_llama
from tests.stores import add_model

DEADLINE = 60.0


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address. In its store are `m`, which only completes, and `b`, which embeds; `power-tiny` comes with it."""
    folder = tmp_path_factory.mktemp("models")
    _add(Store(folder), "m", folder.parent / "m.gguf")
    _add(Store(folder), "b", folder.parent / "b.gguf", {"llama.pooling_type": 1})
    running = _Running(folder)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve()))
    thread.start()
    try:
        yield running.address()
    finally:
        running.server.should_exit = True
        thread.join(DEADLINE)


@pytest.fixture
def http(server: str) -> Iterator[httpx2.Client]:
    """A client of the real server."""
    with httpx2.Client(base_url=server, timeout=DEADLINE) as client:
        yield client


class _Running:
    """A server in a thread."""

    def __init__(self, folder: Path) -> None:
        self._settings = LocalSettings(models=folder)
        self._started = threading.Event()
        self.server: uvicorn.Server

    async def serve(self) -> None:
        """Serve until told to stop."""
        async with open_local(self._settings) as service:
            app = build(service, ApiSettings())
            config = uvicorn.Config(app, port=0, log_level="error", server_header=False, lifespan="off", ws="none")
            self.server = uvicorn.Server(config)
            serving = asyncio.ensure_future(self.server.serve())
            while not self.server.started:
                await asyncio.sleep(0)
            self._started.set()
            await serving

    def address(self) -> str:
        """Where it listens."""
        assert self._started.wait(DEADLINE)
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"


def _add(store: Store, name: str, path: Path, key_values: dict[str, Writable] | None = None) -> None:
    tiny_llama(path, key_values=dict(key_values or {}))
    add_model(store, name, weights=path.read_bytes(), config=ConfigBlob(model_format="gguf", model_family="llama"))
