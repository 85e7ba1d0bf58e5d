"""The bare engine in a process of its own: llama.cpp called in-process, nothing of ours between it and the clock.

Driven over its standard streams, a JSON line each way, so that a measurement can take turns between it and a server.
The model is loaded by our own engine file and asked with the body that a server's child would send, so that both sides
have the same settings; the rounds call the library, and read no more of its chunks than where the first and last are.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from a3s_power import engines
from a3s_power.engines.engine import LoadOptions
from a3s_power.hardware.machine import Machine
from a3s_power.scheduler import placement
from bench.clients import pause

_PROGRESS = b'"prompt_progress"'


def main() -> None:
    """Load the model as our child does, then run rounds until the input ends."""
    # Only in this process: the measuring one must not hold the library.
    from a3s_power.core.model import ModelFiles  # noqa: PLC0415
    from a3s_power.engines.llamacpp import LlamaCpp  # noqa: PLC0415

    order = json.loads(sys.stdin.readline())
    # What the engine prints must not come between the answers.
    told, sys.stdout = sys.stdout, sys.stderr
    engine = LlamaCpp()
    options = msgspec.convert(order["options"], LoadOptions)
    engine.load(ModelFiles(weights=order["weights"]), options, lambda _: None)
    print(json.dumps({"ready": True}), file=told, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        clients = [
            [_body(prompt, tokens, options.context_length) for prompt, tokens in client] for client in asked["clients"]
        ]
        print(json.dumps(_round(engine._server, clients)), file=told, flush=True)  # noqa: SLF001 -- the bare library


def _body(prompt: str, tokens: int, context: int) -> bytes:
    """What a server's child would ask the library for this prompt, greedily."""
    from a3s_power.core.options import DEFAULTS, Options  # noqa: PLC0415
    from a3s_power.engines import llamacpp_wire as wire  # noqa: PLC0415
    from a3s_power.engines.engine import Job  # noqa: PLC0415

    options = Options.merged(DEFAULTS, Options(temperature=0.0, num_predict=tokens))
    return wire.completion(Job(prompt, options, max_tokens=tokens), prompt, context)


def _round(server: Any, clients: list[list[bytes]]) -> dict[str, Any]:  # noqa: ANN401 -- the library has no types
    """A thread for each client, whose requests follow one another: seconds of all, and of each answer what it took."""
    answers: list[list[tuple[int, float, float]]] = [[] for _ in clients]

    def stream(body: bytes) -> tuple[int, float, float]:
        began = time.perf_counter()
        first, last = 0.0, b""

        def take(chunk: bytes) -> bool:
            nonlocal first, last
            if not first and _PROGRESS not in chunk:
                first = time.perf_counter() - began
            last = chunk
            return False

        server.handle_completions(body, take)
        timings = json.loads(last)["timings"]
        return timings["predicted_n"], first, timings["prompt_ms"] / 1e3

    def run(number: int) -> None:
        for told, body in enumerate(clients[number]):
            if told:
                time.sleep(pause(number, told))
            answers[number].append(stream(body))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(clients))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"answers": answers, "seconds": time.perf_counter() - began}


class Bare:
    """The process, from outside."""

    def __init__(self, weights: Path, options: dict[str, Any], environ: dict[str, str]) -> None:
        """`options` are LoadOptions by name."""
        # As a child of the server has it. The rest would make the engine read the standard input for itself.
        spin = {name: value for name, value in engines.find("llamacpp").environment if name.startswith("GOMP_")}
        bound = placement.binding(
            "llamacpp", msgspec.convert(options, LoadOptions).least_threads, Machine.look(environ=environ)
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.bare"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ | spin | bound,
            text=True,
            # As a child of the server: Linux shares processors out among sessions.
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._ask({"weights": str(weights), "options": options})

    def round(self, clients: Sequence[Sequence[tuple[str, int]]]) -> dict[str, Any]:
        """Clients at once, each with its prompts and their tokens one after the other.

        `seconds` of all, and `answers` of each client: tokens, seconds to the first piece, seconds of the prompt.
        """
        answer: dict[str, Any] = self._ask({"clients": clients})
        return answer

    def _ask(self, order: dict[str, Any]) -> Any:  # noqa: ANN401 -- JSON
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError("the bare engine ended")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


if __name__ == "__main__":
    main()
