"""Processor time of one streamed token in the HTTP layer: the application and uvicorn, over a real connection.

    python bench/api_stream.py [tokens [streams [path]]]

The path is that of any dialect's chat; Ollama's when none is given.

The model is played: its events come one by one, each in its own turn of the loop, as they do from a child process.
"""

import asyncio
import json
import multiprocessing
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path

import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from a3s_power.api.app import build
from a3s_power.api.connection import Connection
from a3s_power.api.endpoint import ApiSettings
from a3s_power.core.events import Done, Event, Text
from a3s_power.core.requests import Chat
from a3s_power.core.usage import Usage
from tests.fakes import FakeInference, service


class Paced(FakeInference):
    """Plays its script, one event in each turn of the loop."""

    @asynccontextmanager
    async def chat(self, request: Chat) -> AsyncIterator[AsyncIterator[Event]]:
        """The script."""
        yield self._played()

    async def _played(self) -> AsyncIterator[Event]:
        for each in self.script:
            await asyncio.sleep(0)
            assert not isinstance(each, Exception)
            yield each


def with_clock(app: ASGIApp) -> ASGIApp:
    """The application, and a route that tells the processor time of this process."""

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/clock":
            await PlainTextResponse(repr(time.process_time()))(scope, receive, send)
        else:
            await app(scope, receive, send)

    return told


def serve(listener: socket.socket, tokens: int) -> None:
    """Serve until killed."""
    script = [Text(f" token{number}") for number in range(tokens)]
    done = Done("stop", Usage(prompt_tokens=9, output_tokens=tokens, total_ns=1, prompt_ns=1, output_ns=1))
    with tempfile.TemporaryDirectory() as folder:
        app = with_clock(build(service(Path(folder), Paced(*script, done)), ApiSettings()))
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", http=Connection)
        uvicorn.Server(config).run([listener])


def stream(connection: HTTPConnection, path: str) -> int:
    """The bytes of one streamed chat."""
    messages = [{"role": "user", "content": "hello"}]
    body = json.dumps({"model": "m", "messages": messages, "stream": True, "max_tokens": 10**6})
    connection.request("POST", path, body)
    return len(connection.getresponse().read())


def clock(connection: HTTPConnection) -> float:
    """Seconds of processor time the server has used."""
    connection.request("GET", "/clock")
    return float(connection.getresponse().read())


def measured(tokens: int, streams: int, path: str) -> float:
    """Microseconds of the server's processor time for one stream of so many tokens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.Process(target=serve, args=(listener, tokens))
        process.start()
        connection = HTTPConnection("127.0.0.1", listener.getsockname()[1])
        stream(connection, path)
        began = clock(connection)
        for _ in range(streams):
            stream(connection, path)
        spent = clock(connection) - began
        connection.close()
        process.kill()
        process.join()
    return spent / streams * 1e6


def main() -> None:
    """Print the figures."""
    asked = sys.argv[1:]
    tokens, streams, path = [*asked, *("2000", "20", "/api/chat")[len(asked) :]]
    whole, empty = (measured(count, int(streams), path) for count in (int(tokens), 0))
    each = (whole - empty) / int(tokens)
    print(f"{path}: {empty:.0f} us a request, {each:.1f} us a token ({tokens} tokens, {streams} streams)")


if __name__ == "__main__":
    main()
