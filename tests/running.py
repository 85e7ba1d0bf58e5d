"""The HTTP application on a real port, in a thread of the test's own process."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from a3s_power.api.app import build
from a3s_power.api.connection import Connection
from a3s_power.api.endpoint import ApiSettings
from a3s_power.service.ports import Service

DEADLINE = 60.0


@contextmanager
def running(opened: Callable[[], AbstractAsyncContextManager[Service]], **settings: Any) -> Iterator[int]:
    """The port of a server over the service that `opened` gives; it is opened and closed in the server's own loop."""
    told: list[uvicorn.Server] = []
    started = threading.Event()

    async def serve() -> None:
        async with opened() as service:
            server = _server(build(service, ApiSettings(**settings)))
            serving = asyncio.ensure_future(server.serve())
            while not server.started:
                await asyncio.sleep(0)
            told.append(server)
            started.set()
            await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(DEADLINE)
        yield told[0].servers[0].sockets[0].getsockname()[1]
    finally:
        for server in told:
            server.should_exit = True
        thread.join(DEADLINE)


@contextmanager
def playing(service: Service, **settings: Any) -> Iterator[int]:
    """The port of a server over a service that needs no opening."""
    with running(lambda: nullcontext(service), **settings) as port:
        yield port


def _server(app: ASGIApp) -> uvicorn.Server:
    options: dict[str, Any] = {"server_header": False, "lifespan": "off", "ws": "none"}
    return uvicorn.Server(uvicorn.Config(app, port=0, http=Connection, log_level="error", **options))
