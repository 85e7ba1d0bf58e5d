"""A small real HTTP server that answers what a test tells it to; and the command, run in this process."""

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

import pytest

from a3s_power.cli.main import run


class Answer(NamedTuple):
    """What the server says: a JSON value, or bytes as they are, or lines of JSON when `lines` are given.

    The connection breaks behind `most` bytes of it.
    """

    body: Any = None
    status: int = 200
    lines: tuple[Any, ...] | None = None
    most: int | None = None

    def content(self) -> bytes:
        if self.lines is not None:
            return b"".join(json.dumps(line).encode() + b"\n" for line in self.lines)
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.body is None else json.dumps(self.body).encode()


class Asked(NamedTuple):
    """What the server was asked. `body` is the JSON of the request, or its bytes when it is no JSON."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


class Scripted:
    """The server: what it answers by method and path, and all it was asked."""

    def __init__(self, answers: Mapping[str, Answer | Callable[[Asked], Answer]]) -> None:
        self.answers = answers
        self.asked: list[Asked] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def address(self) -> str:
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def bodies(self, path: str) -> list[Any]:
        """The bodies of all requests for a path."""
        return [asked.body for asked in self.asked if asked.path == path]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = Asked(self.command, self.path, dict(self.headers), _json_or_bytes(content))
                scripted.asked.append(asked)
                found = scripted.answers.get(f"{self.command} {self.path}", Answer({"error": "not found"}, 404))
                said = found(asked) if callable(found) else found
                body = said.content()
                self.send_response(said.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body[: said.most])

            do_GET = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815 -- the names http.server looks for

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 -- its signature
                """Say nothing."""

        return Handler


def _json_or_bytes(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content


@contextmanager
def scripted(answers: Mapping[str, Answer | Callable[[Asked], Answer]]) -> Iterator[Scripted]:
    """The server, while the context lasts."""
    with Scripted(answers) as server:
        yield server


class Ran(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str


class Shell:
    """Runs commands in this process, against a server, with what is piped into them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *args: str, server: Scripted | None = None, piped: str = "") -> Ran:
        if server is not None:
            self._monkeypatch.setenv("OLLAMA_HOST", server.address)
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped.encode())))
        self._capsys.readouterr()
        status = run(args)
        return Ran(status, *self._capsys.readouterr())

    def said(self) -> str:
        """What was printed since the last command, where that did not end by itself."""
        return self._capsys.readouterr().out
