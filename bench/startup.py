"""How long a command takes to start, over a bare interpreter that does nothing.

    python -m bench.startup [runs]

Each command runs as a process of its own, in turn with the bare interpreter, so that a busy machine slows both. A
server that lists a hundred models stands beside them. Budgets are for the medians, in milliseconds.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

_MODEL: Final = '{"name":"m:latest","digest":"%s","size":1,"modified_at":"2026-01-01T00:00:00Z"}' % ("d" * 64)
_TAGS: Final = f'{{"models":[{",".join([_MODEL] * 100)}]}}'.encode()
_BUDGETS: Final = (("--version", 40), ("--help", 100), ("list", 150), ("ps", 150), ("show --help", 150))


class _Tags(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer every question with the same models."""
        body = _TAGS if self.path == "/api/tags" else b'{"models":[]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 -- its signature
        """Say nothing."""


def seconds(command: Sequence[str], world: Mapping[str, str]) -> tuple[float, float]:
    """Wall and processor time of one run, in seconds."""
    before, started = _children_used(), time.perf_counter()
    subprocess.run(command, env=world, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started, _children_used() - before


def _children_used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(runs: int, address: str, home: str) -> None:
    """Print a line for each command: medians over the bare interpreter, wall and processor time."""
    here = {"PATH": os.environ["PATH"], "A3S_POWER_HOME": home}
    print(f"{'command':<14}{'over bare, ms':>14}{'CPU, ms':>10}{'ratio':>8}{'budget, ms':>12}")
    for line, budget in _BUDGETS:
        # The version is measured where nobody listens: that is the case which must be quick.
        world = here | {"OLLAMA_HOST": "127.0.0.1:1" if line == "--version" else address}
        bare, ours = [], []
        for _ in range(runs):
            bare.append(seconds([sys.executable, "-c", "pass"], world))
            ours.append(seconds([sys.executable, "-m", "a3s_power", *line.split()], world))
        (bare_wall, bare_cpu), (wall, cpu) = map(_medians, (bare, ours))
        over = (wall - bare_wall) * 1000
        verdict = "" if over <= budget else "  over"
        print(f"{line:<14}{over:>14.1f}{(cpu - bare_cpu) * 1000:>10.1f}{wall / bare_wall:>8.2f}{budget:>12}{verdict}")


def _medians(times: Sequence[tuple[float, float]]) -> tuple[float, float]:
    walls, cpus = zip(*times, strict=True)
    return statistics.median(walls), statistics.median(cpus)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Tags)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host, port = server.server_address[:2]
    with tempfile.TemporaryDirectory() as folder:
        measure(int(sys.argv[1]) if len(sys.argv) > 1 else 21, f"{host!s}:{port}", folder)
