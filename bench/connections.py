"""What many connections cost: the server's memory, and how late its event loop is, with most of them idle.

    python -m bench.connections [--idle 2000] [--active 200] [--seconds 10]

The built-in model streams to the active connections; the idle ones are streams too, which wait for their turn and are
told their position. In the last row the active ones end after 64 tokens and ask again, so that the line of those who
wait moves all the time. The delay is that of `GET /api/version`, asked every ten milliseconds over a connection of its
own; beside it stands that of a bare event loop which does nothing else, in a process of its own at the same time: what
of the delay is the machine's.
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import multiprocessing.connection
import resource
import selectors
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from bench.sides import processor_seconds
from tests.served import Served, served

_MODEL: Final = "power-tiny"
_CONTEXT: Final = 256
_EVERY: Final = 0.01
_TURN: Final = 64
_READ_BYTES: Final = 1 << 16
_END: Final = b"0\r\n\r\n"
_WANTED: Final = 20.0
"""Milliseconds of delay at the 99th percentile that must not be passed."""
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Row(NamedTuple):
    """What was seen for a while: MiB of the server, its share of a core, pieces a second, and delays in ms."""

    memory: float
    processor: float
    pieces: float
    server: list[float]
    bare: list[float]


def main() -> None:
    """Measure and print."""
    asked = _arguments()
    _raise_limit(2 * (asked.idle + asked.active) + 256)
    settings = {
        "OLLAMA_NUM_PARALLEL": str(asked.active),
        "OLLAMA_MAX_QUEUE": str(2 * (asked.idle + asked.active)),
        "OLLAMA_CONTEXT_LENGTH": str(_CONTEXT),
        "OLLAMA_KEEP_ALIVE": "-1",
    }
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), **settings) as server, _bare_loop() as bare:
        server.post("/api/generate", {"model": _MODEL})
        rows = dict(_rows(server, bare, asked))
    _print(rows, asked)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--active", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each row is measured")
    return parser.parse_args()


def _raise_limit(descriptors: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (resource.RLIM_INFINITY, -1) and hard < descriptors:
        raise SystemExit(f"{descriptors} open files are needed, and {hard} are allowed: raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, descriptors), hard))


def _rows(server: Served, bare: int, asked: argparse.Namespace) -> Iterator[tuple[str, Row]]:
    def row(crowd: Crowd | None) -> Row:
        return _measured(server, bare, asked.seconds, crowd)

    yield "nobody", row(None)
    with Crowd(server.port, asked.active, _body(_CONTEXT * 10), "") as active:
        yield f"{asked.active} active", row(active)
        with Crowd(server.port, asked.idle, _body(1, progress=True), "X-Power-Priority: batch\r\n"):
            yield f"{asked.active} active, {asked.idle} idle", row(active)
            active.stop()
            with Crowd(server.port, asked.active, _body(_TURN), "", again=True) as turns:
                yield f"{asked.active} in turns, {asked.idle} idle", row(turns)


def _body(tokens: int, **more: object) -> dict[str, Any]:
    options = {"num_predict": tokens, "ignore_eos": True}
    return {"model": _MODEL, "prompt": "Once upon a time", "raw": True, "options": options, **more}


def _measured(server: Served, bare: int, seconds: float, crowd: "Crowd | None") -> Row:
    """Ask both loops in turn for so long."""
    pid = server.process.pid
    before, pieces = processor_seconds(pid), crowd.pieces() if crowd else 0
    began = time.perf_counter()
    ours, theirs = _delays(seconds, server.port, bare)
    took = time.perf_counter() - began
    share = (processor_seconds(pid) - before) / took
    said = (crowd.pieces() - pieces) / took if crowd else 0.0
    return Row(server.memory_mib(), share, said, ours, theirs)


def _delays(seconds: float, *ports: int) -> list[list[float]]:
    """Milliseconds that each port took to answer, asked in turn."""
    request = b"GET /api/version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    found: list[list[float]] = [[] for _ in ports]
    connections = [socket.create_connection(("127.0.0.1", port)) for port in ports]
    end = time.perf_counter() + seconds
    for turn in itertools.count():
        began = time.perf_counter()
        if began >= end:
            break
        connection = connections[turn % len(ports)]
        connection.sendall(request)
        connection.recv(_READ_BYTES)
        now = time.perf_counter()
        found[turn % len(ports)].append((now - began) * 1e3)
        time.sleep(max(0.0, began + _EVERY - now))
    for connection in connections:
        connection.close()
    return found


class Crowd:
    """So many streams at once, read by a process of their own, that ask `again` when they end, or no more.

    Entering it waits until every one has been sent and those that stream have said something.
    """

    def __init__(self, port: int, count: int, body: dict[str, Any], headers: str, *, again: bool = False) -> None:
        ours, theirs = multiprocessing.Pipe()
        content = json.dumps(body).encode()
        head = f"POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Length: {len(content)}\r\n\r\n"
        self._pipe = ours
        self._process = multiprocessing.Process(
            target=_read_all, args=(theirs, port, count, head.encode() + content), kwargs={"again": again}
        )

    def __enter__(self) -> Self:
        self._process.start()
        self._pipe.recv()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def pieces(self) -> int:
        """How many pieces have come so far."""
        self._pipe.send("pieces")
        return int(self._pipe.recv())

    def stop(self) -> None:
        """Close every connection."""
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _read_all(
    pipe: "multiprocessing.connection.Connection[Any, Any]", port: int, count: int, request: bytes, *, again: bool
) -> None:
    """Open the connections, say so once each has its first piece, count pieces, and answer questions, until killed."""
    with selectors.DefaultSelector() as ready:
        silent = set()
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(request)
            ready.register(connection, selectors.EVENT_READ)
            silent.add(connection.fileno())
        ready.register(pipe, selectors.EVENT_READ)
        pieces = 0
        while True:
            for key, _ in ready.select():
                if key.fileobj is pipe:
                    pipe.send((pipe.recv(), pieces)[1])
                    continue
                data = key.fileobj.recv(_READ_BYTES)  # type: ignore[union-attr]  # all others are sockets
                if not data:
                    raise SystemExit("the server closed a connection")
                pieces += data.count(b"\n{") + data.startswith(b"{")
                if again and data.endswith(_END):
                    key.fileobj.sendall(request)  # type: ignore[union-attr]
                if silent:
                    silent.discard(key.fd)
                    if not silent:
                        pipe.send(None)


@contextmanager
def _bare_loop() -> Iterator[int]:
    """The port of an event loop that only answers."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_answer, args=(theirs.send,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def _answer(told: Callable[[int], object]) -> None:
    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport = transport

        def data_received(self, _data: bytes) -> None:
            self._transport.write(_ANSWER)  # type: ignore[attr-defined]  # asyncio types it as it can be at least

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
        told(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


def _print(rows: dict[str, Row], asked: argparse.Namespace) -> None:
    width = max(map(len, rows))
    points = "    p50    p99    max"
    print(f"{'':{width}}     MiB  cores  pieces/s  delay ms:{points}  bare loop:{points}")
    for name, row in rows.items():
        ours, theirs = ("".join(f"{one:7.2f}" for one in _points(delays)) for delays in (row.server, row.bare))
        figures = f"{row.memory:6.1f} {row.processor:6.2f} {row.pieces:9.0f}"
        print(f"{name:{width}}  {figures}           {ours}            {theirs}")
    nobody, active, idle, *_ = rows.values()
    each = (active.memory - nobody.memory) / asked.active * 1024, (idle.memory - active.memory) / asked.idle * 1024
    print(f"memory of a connection: {each[0]:.0f} KiB active, {each[1]:.0f} KiB idle")
    worst = max(_points(row.server)[1] for row in rows.values())
    verdict = "yes" if worst <= _WANTED else "no"
    print(f"delay at the 99th percentile, at most {_WANTED:g} ms: {verdict} ({worst:.1f})")


def _points(delays: list[float]) -> tuple[float, float, float]:
    cuts = statistics.quantiles(delays, n=100)
    return cuts[49], cuts[98], max(delays)


if __name__ == "__main__":
    main()
