"""The engine's private listener: for what it answers over HTTP only, reachable by this process alone.

llama.cpp always listens. On a Unix socket in a folder that only this user may enter nobody else can; where there are no
such sockets, a key that only this process knows stands before a loopback port.
"""

import secrets
import socket
import tempfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from a3s_power.core.errors import EngineFailed
from a3s_power.engines import llamacpp_wire as wire

_SECONDS: Final = 60.0
_LONGEST_PATH: Final = 100  # of sockaddr_un's 108, or 104 on some systems


class Listener(msgspec.Struct, frozen=True):
    """Where the engine shall listen. Exactly one of the two is set."""

    path: str = ""
    key: str = ""


def listener() -> Listener:
    """A place that only this process can talk to."""
    if hasattr(socket, "AF_UNIX"):
        path = Path(tempfile.mkdtemp()) / "e.sock"  # mkdtemp's folders are for their user alone
        if len(str(path)) <= _LONGEST_PATH:
            return Listener(path=str(path))
        path.parent.rmdir()
    return Listener(key=secrets.token_hex(32))


class EngineSocket:
    """Asks the engine's HTTP routes, a connection for each question."""

    def __init__(self, where: Listener, address: str) -> None:
        """`address` is what the engine says it listens on."""
        self._where = where
        self._port = 0 if where.path else urlsplit(address).port or 0

    def ask(self, path: str, body: object = None) -> Any:  # noqa: ANN401 -- JSON
        """The answer's JSON; POSTs when there is a body. Raises what the engine's error means."""
        content = b"" if body is None else wire.encode(body)
        status, answer = self._exchange(_request(path, content, self._where.key))
        if status != 200:
            raise wire.refusal_in(answer)
        return msgspec.json.decode(answer)

    def _exchange(self, request: bytes) -> tuple[int, bytes]:
        received = bytearray()
        try:
            with self._connected() as connection:
                connection.sendall(request)
                while data := connection.recv(1 << 16):
                    received += data
        except OSError as error:
            raise EngineFailed(f"llama.cpp cannot be asked: {error}") from error
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), body

    def _connected(self) -> socket.socket:
        if not self._where.path:
            return socket.create_connection(("127.0.0.1", self._port), _SECONDS)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_SECONDS)
        try:
            connection.connect(self._where.path)
        except OSError:
            connection.close()
            raise
        return connection


def _request(path: str, content: bytes, key: str) -> bytes:
    lines = [
        f"{'POST' if content else 'GET'} {path} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *([f"Authorization: Bearer {key}"] if key else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content
