"""A client may leave at any moment, and then the work for it ends; all of it over a real connection."""

import asyncio
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from a3s_power.api import connection
from a3s_power.core.events import Event, Progress, Text
from a3s_power.core.requests import Chat, Embed, Embeddings
from tests.fakes import FakeInference, service
from tests.running import playing

_DEADLINE = 20.0
_DATA_SEGMENTS_IN = 152
"""Where `struct tcp_info` of Linux counts the packets with words in them that came in."""


class Endless(FakeInference):
    """Says some events and then waits, or says one for ever; tells when it began and when it was left."""

    def __init__(self, *script: Event, for_ever: bool = False) -> None:
        super().__init__(*script)
        self.for_ever = for_ever
        self.said = 0
        self.began = threading.Event()
        self.ended = threading.Event()

    @asynccontextmanager
    async def chat(self, request: Chat) -> AsyncIterator[AsyncIterator[Event]]:
        """The script, without an end."""
        try:
            yield self._events()
        finally:
            self.ended.set()

    async def embed(self, request: Embed) -> Embeddings:
        """Never."""
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        return Embeddings(vectors=())

    async def _events(self) -> AsyncIterator[Event]:
        for event in self.script:
            assert not isinstance(event, Exception)
            yield event
        self.began.set()
        while self.for_ever:
            self.said += 1
            yield Text("word " * 1000)
            await asyncio.sleep(0)
        await asyncio.Event().wait()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are given up quickly."""
    monkeypatch.setattr(connection.Connection, "stall_seconds", 0.3)
    monkeypatch.setattr(connection.Connection, "head_seconds", 0.3)


def _asked(port: int, path: str = "/api/chat", **body: object) -> socket.socket:
    content = json.dumps({"model": "m", "messages": [{"content": "x"}]} | body).encode()
    connection = socket.create_connection(("127.0.0.1", port))
    connection.settimeout(_DEADLINE)
    connection.sendall(
        b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(content))
    )
    connection.sendall(content)
    return connection


@pytest.mark.parametrize("script", [(), (Progress("loading"),), (Text("a"),)])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_the_work(tmp_path: Path, script: tuple[Event, ...], *, stream: bool) -> None:
    inference = Endless(*script)
    with playing(service(tmp_path, inference)) as port:
        with _asked(port, stream=stream) as client:
            assert inference.began.wait(_DEADLINE)
            if stream and script == (Text("a"),):
                assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
            assert not inference.ended.is_set()
        assert inference.ended.wait(_DEADLINE)


def test_a_client_that_leaves_ends_an_embedding(tmp_path: Path) -> None:
    inference = Endless()
    with playing(service(tmp_path, inference)) as port:
        with _asked(port, "/api/embed", input="x"):
            assert inference.began.wait(_DEADLINE)
        assert inference.ended.wait(_DEADLINE)


@pytest.mark.skipif(sys.platform != "linux", reason="counts packets by what Linux tells of a connection")
@pytest.mark.parametrize("path", ["/api/chat", "/api/show"])
def test_an_answer_begins_with_a_single_packet(tmp_path: Path, path: str) -> None:
    """Its head comes with its first words, and so wakes its client once."""
    with playing(service(tmp_path, Endless(Text("a")))) as port, _asked(port, path) as client:
        assert client.recv(65536).partition(b"\r\n\r\n")[2]
        told = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        assert struct.unpack_from("=I", told, _DATA_SEGMENTS_IN) == (1,)


@pytest.mark.usefixtures("quick")
def test_a_client_that_takes_nothing_is_left(tmp_path: Path) -> None:
    """Security NET-15: the slot is free, and little was made that nobody takes."""
    inference = Endless(for_ever=True)
    with playing(service(tmp_path, inference)) as port, _asked(port):
        assert inference.ended.wait(_DEADLINE)
        assert inference.said * 5000 < 100 * 2**20


@pytest.mark.usefixtures("quick")
def test_a_client_that_takes_a_pause_is_not_left(tmp_path: Path) -> None:
    inference = Endless(for_ever=True)
    with playing(service(tmp_path, inference)) as port, _asked(port) as client:
        taken, end = 0, time.monotonic() + 1.5
        while time.monotonic() < end:
            taken += len(client.recv(2**20))
        assert taken > 10**6
        assert not inference.ended.is_set()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("begun", [b"", b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nX"])
def test_a_head_that_does_not_come_is_not_waited_for(tmp_path: Path, begun: bytes) -> None:
    """Security NET-15."""
    with playing(service(tmp_path)) as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(_DEADLINE)
        client.sendall(begun)
        assert client.recv(65536) == b""


def test_a_slow_head_does_not_get_time_by_dripping(tmp_path: Path, quick: None) -> None:
    """Security NET-15: the clock begins with the request, not with each byte."""
    with playing(service(tmp_path)) as port, socket.create_connection(("127.0.0.1", port)) as client:
        began = time.monotonic()
        assert _dripped(client, iter(b"GET /" + b"a" * 10_000)) < 1000
        assert time.monotonic() - began < 5


def _dripped(client: socket.socket, text: Iterator[int]) -> int:
    """How many bytes are sent before the server closes."""
    client.settimeout(0.05)
    for count, byte in enumerate(text):
        try:
            client.sendall(bytes([byte]))
            if client.recv(1) == b"":
                return count
        except TimeoutError:
            continue
        except ConnectionError:
            return count
    return 10_000


def test_a_body_that_stops_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Security NET-15."""
    monkeypatch.setattr("a3s_power.api.bodies.IDLE_SECONDS", 0.3)
    with playing(service(tmp_path)) as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(_DEADLINE)
        client.sendall(b"POST /api/copy HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        assert client.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_many_clients_that_leave_leave_nothing_behind(tmp_path: Path) -> None:
    """Security DOS-17."""
    inference = Endless(Text("a"))
    with playing(service(tmp_path, inference)) as port:
        before = threading.active_count()
        clients = [_asked(port) for _ in range(200)]
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
            client.close()
        _until(lambda: _answers(port))
        assert threading.active_count() <= before + 1


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(_DEADLINE)
        client.sendall(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return client.recv(65536).startswith(b"HTTP/1.1 200 ")


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _DEADLINE
    while not holds():
        assert time.monotonic() < end
