"""The bare engine in a process of its own: llama.cpp called in-process, nothing of ours between it and the clock.

Driven over its standard streams, a JSON line each way, so that a measurement can take turns between it and a server.
The model is loaded by our own engine file, so that both sides have the same settings; the rounds call the library.
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self


def main() -> None:
    """Load the model as our child does, then run rounds until the input ends."""
    # Only in this process: the measuring one must not hold the library.
    from a3s_power.core.model import ModelFiles  # noqa: PLC0415
    from a3s_power.engines.engine import LoadOptions  # noqa: PLC0415
    from a3s_power.engines.llamacpp import LlamaCpp  # noqa: PLC0415

    order = json.loads(sys.stdin.readline())
    engine = LlamaCpp()
    engine.load(ModelFiles(weights=order["weights"]), LoadOptions(**order["options"]), lambda _: None)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_round(engine._server, json.loads(line))), flush=True)  # noqa: SLF001 -- the bare library


def _round(server: Any, asked: dict[str, Any]) -> dict[str, float]:  # noqa: ANN401 -- the library has no types
    """All prompts at once, one thread each: tokens, seconds, and the median time to the first piece."""
    first: list[float] = []
    tokens: list[int] = []

    def stream(prompt: str) -> None:
        began = time.perf_counter()
        body = {"prompt": prompt, "n_predict": asked["tokens"], "stream": True, "temperature": 0}
        last: dict[str, Any] = {}

        def take(chunk: dict[str, Any]) -> None:
            if not last:
                first.append(time.perf_counter() - began)
            last.update(chunk)

        server.handle_completions(body, take)
        tokens.append(last["usage"]["completion_tokens"])

    threads = [threading.Thread(target=stream, args=(prompt,)) for prompt in asked["prompts"]]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"tokens": sum(tokens), "seconds": time.perf_counter() - began, "first": sorted(first)[len(first) // 2]}


class Bare:
    """The process, from outside."""

    def __init__(self, weights: Path, options: dict[str, Any], environ: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.bare"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True
        )
        self.pid = self._process.pid
        self._ask({"weights": str(weights), "options": options})

    def round(self, prompts: list[str], tokens: int) -> dict[str, float]:
        """Run all prompts at once."""
        answer: dict[str, float] = self._ask({"prompts": prompts, "tokens": tokens})
        return answer

    def _ask(self, order: dict[str, Any]) -> Any:  # noqa: ANN401 -- JSON
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


if __name__ == "__main__":
    main()
