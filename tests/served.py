"""A real `a3s-power serve` in a process of its own, for tests that are users."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEADLINE = 30.0


class Served:
    """A running server: its address, its process, and the children that hold its models."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, home: Path) -> None:
        self.process = process
        self.port = port
        self.home = home
        self.url = f"http://127.0.0.1:{port}"

    def post(self, path: str, body: object, *, timeout: float = DEADLINE) -> Any:
        """The JSON answer to a POST of JSON; a stream's lines as a list."""
        request = urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            lines = [json.loads(line) for line in answer.read().splitlines()]
        return lines[0] if len(lines) == 1 else lines

    def get(self, path: str) -> Any:
        """The JSON answer to a GET."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=DEADLINE) as answer:
            return json.loads(answer.read())

    def children(self) -> list[int]:
        """Process ids of the server's living children."""
        own = self.process.pid
        found = Path(f"/proc/{own}/task/{own}/children").read_text(encoding="ascii").split()
        return [int(pid) for pid in found]

    def descriptors(self) -> int:
        """How many files and sockets the server has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def memory_mib(self) -> float:
        """Resident memory of the server process itself, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def log(self) -> str:
        """What the server has written to its log so far."""
        return (self.home / "serve.log").read_text(encoding="utf-8")


def free_port() -> int:
    """A port of the loopback interface that nobody has at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server with its own home: nothing of ours but what Python needs."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONDONTWRITEBYTECODE") if name in os.environ}
    return kept | {"HOME": str(home), "A3S_POWER_HOME": str(home / "power"), **settings}


@contextmanager
def served(home: Path, *flags: str, **settings: str) -> Iterator[Served]:
    """A server with these flags and variables, ready to answer; stopped with SIGTERM, and it must end by itself."""
    port = free_port()
    command = [sys.executable, "-m", "a3s_power", "serve", *flags]
    world = environment(home, {"OLLAMA_HOST": f"127.0.0.1:{port}"} | settings)
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, env=world, stdout=log, stderr=subprocess.STDOUT, cwd=home)
    server = Served(process, port, home)
    try:
        until(lambda: _answers(server))
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(DEADLINE)
        finally:
            process.kill()


def until(holds: Any, deadline: float = DEADLINE) -> None:
    """Wait until a condition of another process holds; asked often, and failed with its name at the deadline."""
    end = time.monotonic() + deadline
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"not true within {deadline} s")
        time.sleep(0.01)


def _answers(server: Served) -> bool:
    if server.process.poll() is not None:
        raise AssertionError(f"the server ended with {server.process.returncode}:\n{server.log()}")
    try:
        return bool(server.get("/api/version"))
    except (urllib.error.URLError, ConnectionError):
        return False
