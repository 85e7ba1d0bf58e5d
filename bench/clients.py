"""Many streams from a server at once, by one thread and bare sockets: a client that costs next to nothing itself."""

import heapq
import json
import random
import selectors
import socket
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

_READ_BYTES: Final = 1 << 16
_DEADLINE_SECONDS: Final = 600.0
_END: Final = b"0\r\n\r\n"
_LONGEST_PAUSE: Final = 0.03
"""Seconds, several steps of a small model: requests then come at any moment of one, as those of people do."""


class Answer(msgspec.Struct):
    """One stream as its client saw it: seconds to the first piece and to the end, and the last line's JSON."""

    first: float
    whole: float
    last: dict[str, Any]


class _Stream:
    """A request on a connection that stands before the clock starts."""

    def __init__(self, port: int, path: str, body: object, connection: socket.socket | None = None) -> None:
        content = json.dumps(body).encode()
        head = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(content)}", "", ""]
        self._request = "\r\n".join(head).encode() + content
        self.socket = connection or socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._first = 0.0
        self._head = b""
        self._tail = b""

    def ask(self) -> None:
        self._began = time.perf_counter()
        self.socket.sendall(self._request)

    def read(self) -> Answer | None:
        """Take what is there; the answer when that was its end. Raises RuntimeError for one that is no stream."""
        data = self.socket.recv(_READ_BYTES)
        now = time.perf_counter() - self._began
        if not data:
            raise RuntimeError(f"the server closed the connection after {self._tail[-500:]!r}")
        if not self._first:
            self._head += data
            head, _, content = self._head.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the server refused: {self._head[:500]!r}")
            if not content:
                return None
            self._first, data = now, self._head
        self._tail = (self._tail + data)[-_READ_BYTES:]
        if not self._tail.endswith(_END):
            return None
        lines = [line for line in self._tail.split(b"\n") if line.startswith(b"{")]
        return Answer(self._first, now, json.loads(lines[-1]))


class Answers(NamedTuple):
    """What each client got, one answer after the other, and seconds from the first request to the end of all."""

    of: list[list[Answer]]
    seconds: float


def pause(client: int, request: int) -> float:
    """Seconds that a client waits before its next request, the same in every run and on every side."""
    return random.Random(f"{client} {request}").uniform(0.0, _LONGEST_PAUSE)


def stream_all(port: int, path: str, bodies: Sequence[object]) -> list[Answer]:
    """The answers to requests that are sent at once, in their order. Raises RuntimeError when one fails."""
    return [answers[0] for answers in relay(port, path, [[body] for body in bodies]).of]


def relay(port: int, path: str, clients: Sequence[Sequence[object]]) -> Answers:
    """Clients that begin at once and send their requests one after the other, each on a connection of its own.

    Between two requests a client makes a `pause`.

    Raises RuntimeError when one fails.
    """
    later: list[tuple[float, int, _Stream]] = []
    streams = [_Stream(port, path, bodies[0]) for bodies in clients]
    answers: list[list[Answer]] = [[] for _ in clients]
    began = time.perf_counter()
    with selectors.DefaultSelector() as waiting:
        for number, stream in enumerate(streams):
            waiting.register(stream.socket, selectors.EVENT_READ, (number, stream))
            stream.ask()
        while waiting.get_map() or later:
            if time.perf_counter() - began > _DEADLINE_SECONDS:
                raise RuntimeError(f"{len(waiting.get_map())} of {len(clients)} clients do not come to an end")
            while later and later[0][0] <= time.perf_counter():
                _, number, stream = heapq.heappop(later)
                waiting.register(stream.socket, selectors.EVENT_READ, (number, stream))
                stream.ask()
            for key, _ in waiting.select(max(0.0, later[0][0] - time.perf_counter()) if later else 1.0):
                number, stream = key.data
                answer = stream.read()
                if answer is None:
                    continue
                answers[number].append(answer)
                waiting.unregister(stream.socket)
                told = len(answers[number])
                if told == len(clients[number]):
                    stream.socket.close()
                else:
                    following = _Stream(port, path, clients[number][told], stream.socket)
                    heapq.heappush(later, (time.perf_counter() + pause(number, told), number, following))
    return Answers(answers, time.perf_counter() - began)
