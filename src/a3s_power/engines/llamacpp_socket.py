"""The engine's private listener: for what it answers over HTTP only, reachable by this process alone.

llama.cpp always listens. On a Unix socket in a folder that only this user may enter nobody else can; where there are no
such sockets, a key that only this process knows stands before a loopback port.
"""

import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from a3s_power.core.errors import EngineFailed
from a3s_power.engines import llamacpp_wire as wire

_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.1
"""How often somebody who waits looks whether anybody still wants the answer."""
_DONE: Final = b"[DONE]"
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


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


class EngineSocket:
    """Asks the engine's HTTP routes, a connection for each question."""

    def __init__(self, where: Listener, address: str) -> None:
        """`address` is what the engine says it listens on."""
        self._where = where
        self._port = 0 if where.path else urlsplit(address).port or 0

    def ask(self, path: str, body: object = None) -> Any:  # noqa: ANN401 -- JSON
        """The answer's JSON; POSTs when there is a body. Raises what the engine's error means."""
        content = b"" if body is None else wire.encode(body)
        status, answer = self._exchange(_request(path, content, self._where.key), _SECONDS)
        if status != 200:
            raise wire.refusal_in(answer)
        return msgspec.json.decode(answer)

    def answer(self, path: str, body: bytes) -> bytes:
        """The answer to a POST, an error's JSON included, however long it takes."""
        return self._exchange(_request(path, body, self._where.key), None)[1]

    def ready(self) -> bool:
        """Whether the engine listens, and has its model."""
        try:
            return self._exchange(_request("/health", b"", self._where.key), _SECONDS)[0] == 200
        except EngineFailed:
            return False

    def stream(self, path: str, body: bytes, take: Callable[[bytes], bool], cancelled: Callable[[], bool]) -> None:
        """POST a body and hand on the events of the answer, until `take` returns True or somebody has `cancelled`.

        The engine lets go of its work when the connection closes. Raises what the engine's error means.
        """
        try:
            with self._connected() as connection:
                connection.sendall(_request(path, body, self._where.key))
                answer = _Answer(_pieces(connection, cancelled))
                if cancelled():
                    return
                if answer.status != 200:
                    raise wire.refusal_in(b"".join(answer.content()))
                for event in _events(answer.content()):
                    if take(event):
                        return
        except EOFError as error:
            if not cancelled():
                raise EngineFailed("llama.cpp broke off an answer") from error
        except OSError as error:
            raise EngineFailed(f"llama.cpp cannot be asked: {error}") from error

    def _exchange(self, request: bytes, seconds: float | None) -> tuple[int, bytes]:
        """Status and body; 0 of an answer that ends before either. At most so long without a byte."""
        received = bytearray()
        try:
            with self._connected() as connection:
                connection.settimeout(seconds)
                connection.sendall(request)
                while data := connection.recv(1 << 16):
                    received += data
        except OSError as error:
            raise EngineFailed(f"llama.cpp cannot be asked: {error}") from error
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        first = head.split(b" ", 2)
        return int(first[1]) if len(first) > 1 else 0, body

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


class _Answer:
    """An HTTP answer as it arrives."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        """Reads the head; an answer that ends before it has no status."""
        self._pieces = pieces
        self._held = bytearray()
        while b"\r\n\r\n" not in self._held:
            if not self._more():
                break
        head, _, rest = bytes(self._held).partition(b"\r\n\r\n")
        self._held[:] = rest
        self._chunked = b"transfer-encoding: chunked" in head.lower()
        first = head.split(b" ", 2)
        self.status = int(first[1]) if len(first) > 1 else 0

    def content(self) -> Iterator[bytes]:
        """The body in pieces of any size. Raises EOFError where it breaks off."""
        if self._chunked:
            yield from self._chunks()
            return
        yield bytes(self._held)
        yield from self._pieces

    def _chunks(self) -> Iterator[bytes]:
        while (size := int(self._line().split(b";")[0] or b"0", 16)) > 0:
            while len(self._held) < size + 2:
                if not self._more():
                    raise EOFError
            yield bytes(self._held[:size])
            del self._held[: size + 2]

    def _line(self) -> bytes:
        while (end := self._held.find(b"\r\n")) < 0:
            if not self._more():
                raise EOFError
        line = bytes(self._held[:end])
        del self._held[: end + 2]
        return line

    def _more(self) -> bool:
        piece = next(self._pieces, b"")
        self._held += piece
        return bool(piece)


def _pieces(connection: socket.socket, cancelled: Callable[[], bool]) -> Iterator[bytes]:
    """What arrives, for as long as it is wanted."""
    connection.settimeout(_LOOK_SECONDS)
    while not cancelled():
        try:
            data = connection.recv(1 << 16)
        except TimeoutError:
            continue
        if not data:
            return
        yield data


def _events(content: Iterator[bytes]) -> Iterator[bytes]:
    """The data of server-sent events."""
    held = bytearray()
    for piece in content:
        held += piece
        *lines, rest = held.split(b"\n")
        held = bytearray(rest)
        for line in lines:
            name, _, data = bytes(line).partition(b": ")
            if name == b"data" and data != _DONE:
                yield data


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
