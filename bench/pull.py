"""A pull against `curl | sha256sum`, of one large blob from loopback, in one run; and what a chat feels of it.

`python -m bench.pull` prints the ratio of the speeds, best of the rounds each; `--chat` also streams from the built-in
model, or from `--model FILE`, with and without a pull going on beside it. The blob lies in memory where the system has
a file system there.
"""

import argparse
import hashlib
import http.client
import json
import os
import shutil
import socket
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from a3s_power.core.digests import Digest
from a3s_power.core.manifest import CONFIG_TYPE, LICENSE, MODEL
from a3s_power.core.requests import Pull
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.pull import pull
from a3s_power.registry.settings import Settings
from a3s_power.registry.supply import Supply
from a3s_power.store import Store
from tests.served import Served, served

_CONFIG = b'{"model_format":"gguf"}\n'
_MEMORY = Path("/dev/shm")
_CHUNK = 1024 * 1024
_CHAT_SECONDS = 1.5
_CHATS_A_ROUND = 4


def main() -> None:
    """Measure and print."""
    asked = _arguments()
    if asked.serve:
        _serve(asked.serve)
        return
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        home = Path(folder)
        blob = home / "blob"
        digest = _write(blob, asked.size)
        with _registry(blob, digest) as port:
            _compare(home, port, digest, asked)
            if asked.chat:
                _chat(home, port, asked)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2_000_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=Settings(key_file=Path()).streams)
    parser.add_argument("--chat", action="store_true")
    parser.add_argument("--model", type=Path, help="a GGUF to chat with instead of the built-in model")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _write(blob: Path, size: int) -> str:
    digest, chunk = hashlib.sha256(), os.urandom(_CHUNK)
    with blob.open("wb") as file:
        for number in range(-(-size // _CHUNK)):
            piece = (number.to_bytes(8, "big") + chunk[8:])[: size - number * _CHUNK]
            digest.update(piece)
            file.write(piece)
    return f"sha256:{digest.hexdigest()}"


def _compare(home: Path, port: int, digest: str, asked: argparse.Namespace) -> None:
    """Rounds in turn, the order swapped each time."""
    url = f"http://127.0.0.1:{port}/v2/ns/m/blobs/{digest}"
    sides = {"curl": lambda: _curl(url, digest), "pull": lambda: _pull(home, port, asked.streams)}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(asked.rounds):
        for name in sorted(sides, reverse=bool(number % 2)):
            found[name].append(sides[name]())
    for name, seconds in found.items():
        print(f"{name}: {asked.size / min(seconds) / 1e6:.0f} MB/s ({', '.join(f'{each:.2f} s' for each in seconds)})")
    print(f"pull / curl: {min(found['curl']) / min(found['pull']):.2f}")


def _curl(url: str, digest: str) -> float:
    began = time.perf_counter()
    with subprocess.Popen(["curl", "-s", url], stdout=subprocess.PIPE) as curl:
        said = subprocess.run(["sha256sum"], stdin=curl.stdout, capture_output=True, text=True, check=True).stdout
    assert said.startswith(digest.removeprefix("sha256:"))
    return time.perf_counter() - began


def _pull(home: Path, port: int, streams: int) -> float:
    models = home / "models"
    supply = Supply(Store(models), Settings(key_file=home / "key", streams=streams))
    began = time.perf_counter()
    pull(Pull(source=f"127.0.0.1:{port}/ns/m", insecure=True), supply, lambda _: None, Cancel(), lambda *_: None)
    seconds = time.perf_counter() - began
    shutil.rmtree(models)
    return seconds


def _chat(home: Path, port: int, asked: argparse.Namespace) -> None:
    """Tokens a second of one client, with a pull beside it and without, in turn."""
    found: dict[str, list[float]] = {"alone": [], "beside a pull": []}
    (home / "server").mkdir()
    with served(home / "server", OLLAMA_KEEP_ALIVE="-1") as server:
        name = _created(server, asked.model) if asked.model else "power-tiny"
        _stream(server, name)
        for _ in range(asked.rounds * _CHATS_A_ROUND):
            found["alone"].append(_stream(server, name))
            with _pulling(server, port):
                found["beside a pull"].append(_stream(server, name))
    for name, speeds in found.items():
        print(f"chat {name}: {statistics.median(speeds):.0f} tokens/s ({', '.join(f'{each:.0f}' for each in speeds)})")
    print(f"beside / alone: {statistics.median(found['beside a pull']) / statistics.median(found['alone']):.2f}")


@contextmanager
def _pulling(server: Served, port: int) -> Iterator[None]:
    """A pull by the server that goes on, again and again, as long as the block does."""
    over = threading.Event()
    name = f"127.0.0.1:{port}/ns/m"

    def again() -> None:
        while not over.is_set():
            server.post("/api/pull", {"model": name, "insecure": True, "stream": False}, timeout=600)
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            connection.request("DELETE", "/api/delete", json.dumps({"model": name}))
            connection.getresponse().read()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _created(server: Served, model: Path) -> str:
    """The name of a model that the server was given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    with model.open("rb") as content:
        digest = f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
        content.seek(0)
        connection.request("POST", f"/api/blobs/{digest}", content, {"Content-Length": str(model.stat().st_size)})
        connection.getresponse().read()
    server.post("/api/create", {"model": "bench", "files": {"bench.gguf": digest}, "stream": False}, timeout=600)
    return "bench"


def _stream(server: Served, model: str) -> float:
    """Tokens a second of one client that generates without a pause."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    options = {"num_predict": 128, "temperature": 1.5, "num_ctx": 1024}
    body = json.dumps({"model": model, "prompt": "The", "raw": True, "options": options})
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < _CHAT_SECONDS:
        connection.request("POST", "/api/generate", body)
        count += sum(1 for _ in connection.getresponse())
    return count / (time.perf_counter() - began)


@contextmanager
def _registry(blob: Path, digest: str) -> Iterator[int]:
    """The port of a registry in a process of its own, with one model whose weights are the blob."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.pull", "--serve", str(blob)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{digest}\n".encode())
            process.stdin.flush()
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _serve(blob: Path) -> None:
    """Be that registry, at a low priority: the other end of a pull is another machine."""
    os.nice(19)
    digest, size = sys.stdin.readline().strip(), blob.stat().st_size
    config = {"mediaType": CONFIG_TYPE, "digest": str(Digest.of(_CONFIG)), "size": len(_CONFIG)}
    license_layer = {"mediaType": LICENSE, "digest": str(Digest.of(b"MIT")), "size": 3}
    layers = [{"mediaType": MODEL, "digest": digest, "size": size}, license_layer]
    small = {
        "/v2/ns/m/manifests/latest": json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode(),
        f"/v2/ns/m/blobs/{config['digest']}": _CONFIG,
        f"/v2/ns/m/blobs/{license_layer['digest']}": b"MIT",
    }

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                headers = dict(
                    header.decode().strip().lower().split(": ", 1) for header in iter(self.rfile.readline, b"\r\n")
                )
                path = line.split()[1].decode()
                if path in small:
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(small[path])}\r\n\r\n"
                    self.connection.sendall(head.encode() + small[path])
                else:
                    self._send(headers.get("range", ""))

        def _send(self, wanted: str) -> None:
            first, last = map(int, wanted.removeprefix("bytes=").split("-")) if wanted else (0, size - 1)
            status = f"206 Partial\r\nContent-Range: bytes {first}-{last}/{size}" if wanted else "200 OK"
            self.connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {last - first + 1}\r\n\r\n".encode())
            with blob.open("rb") as file:
                while first <= last:
                    first += os.sendfile(self.connection.fileno(), file.fileno(), first, last - first + 1)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: object, client_address: object) -> None:
            """Whoever has enough hangs up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
