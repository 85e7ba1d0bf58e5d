"""python -m tests.likelihood < {"texts": […], "weights": […]}: how likely each model finds texts, by the real engine.

A text is a pair: what comes before, and what is looked at. One line of JSON: for each of the weights the mean
log-probability of the tokens that are looked at, each after all before it.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from a3s_power.core.model import ModelFiles
from a3s_power.engines import ENGINES
from a3s_power.engines.engine import LoadOptions
from a3s_power.engines.llamacpp import LlamaCpp
from tests.shared import REPOSITORY

_SECONDS = 100.0
_LIKELY = 16


def likelihoods(texts: Sequence[tuple[str, str]], weights: Sequence[Path | str]) -> list[float]:
    """The mean log-probability of texts by each of these models, measured in a process of its own."""
    asked = json.dumps({"texts": texts, "weights": [str(path) for path in weights]})
    done = subprocess.run(
        [sys.executable, "-m", "tests.likelihood"],
        input=asked.encode(),
        capture_output=True,
        cwd=REPOSITORY,
        env=_environment(),
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    answer: list[float] = json.loads(done.stdout)
    assert all(map(math.isfinite, answer))
    return answer


def _environment() -> dict[str, str]:
    environment = {**os.environ, **dict(ENGINES["llamacpp"].environment)}
    # It would make the engine end the process when standard input ends, and talk on standard output.
    del environment["LLAMA_SERVER_ROUTER_PORT"]
    return environment


def _likelihood(weights: str, texts: Sequence[tuple[str, str]]) -> float:
    engine = LlamaCpp()
    engine.load(ModelFiles(weights=weights), LoadOptions(context_length=512), lambda _: None)
    found: list[float] = []
    for before, text in texts:
        first = [*engine._tokens.first, *engine.tokenize(before)]
        tokens = engine.tokenize(text)
        found += [_of_next(engine, [*first, *tokens[:at]], token) for at, token in enumerate(tokens)]
    return sum(found) / len(found)


def _of_next(engine: LlamaCpp, before: list[int], token: int) -> float:
    """The token's own log-probability; all of them are asked for only where it is none of the likely ones."""
    for most in (_LIKELY, engine._facts.vocabulary):
        body: dict[str, Any] = {"prompt": before, "n_predict": 1, "temperature": 0.0, "n_probs": most}
        answer = engine._server.handle_completions(body)
        (said,) = answer["choices"][0]["logprobs"]["content"]
        for likely in said["top_logprobs"]:
            if likely["id"] == token:
                return float(likely["logprob"])
    raise AssertionError(f"token {token} has no probability")


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps([_likelihood(weights, asked["texts"]) for weights in asked["weights"]]), flush=True)
    os._exit(0)
