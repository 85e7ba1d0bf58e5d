"""Measure what guessing ahead is worth: a model with a draft model of which the engine takes so many guesses for right.

python -m bench.drafts MODEL.gguf DRAFT.gguf [--guesses 4] [--threads 1] [--shares 0,0.5,0.7,0.9,1]

Guesses are drawn, not compared (the engine's own way to measure them), so models with random weights will do. All
ways take turns in one run, each in a process of its own; CPU seconds a token, which other jobs hardly change, and
beside them the seconds on the clock. `foretold` is the speed that the server would expect of such a share by what a
guess was found to cost when the model was loaded: it stops guessing where that is below 1.
"""

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from a3s_power.scheduler import drafts

_PROMPT = 64
_ANSWER = 64
_ROUNDS = 3
_SIDE = "side"


def main() -> None:
    """Load all ways, ask them in turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("draft", type=Path)
    parser.add_argument("--guesses", type=int, default=drafts.DRAFT_TOKENS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shares", default="0,0.5,0.7,0.9,1")
    asked = parser.parse_args()
    common = {"model": str(asked.model), "draft": str(asked.draft), "guesses": asked.guesses, "threads": asked.threads}
    shares = [float(share) for share in asked.shares.split(",")]
    ways = [None, *shares]
    with ExitStack() as ends:
        sides = []
        for share in ways:
            sides.append(side := Side(common | {"share": share}))
            ends.callback(side.end)
        rounds = [[side.ask() for side in sides] for _ in range(_ROUNDS)]
    plain = _middle([turn[0] for turn in rounds])
    print(f"{asked.model.name}, draft {asked.draft.name}, {asked.guesses} guesses, {asked.threads} threads")
    print(f"a guess costs {sides[1].cost:.2f} steps; without guesses {plain['cpu'] * 1e3:.1f} ms of CPU a token")
    print("share  right/guessed  CPU speed  clock speed  foretold")
    for place, share in enumerate(shares, 1):
        found, size = _middle([turn[place] for turn in rounds]), asked.draft.stat().st_size / asked.model.stat().st_size
        told = drafts.speed(_ANSWER, found["guessed"], found["right"], cost=sides[1].cost, size=size)
        counts = f"{found['right']}/{found['guessed']}"
        clock = plain["clock"] / found["clock"]
        print(f"{share:5.2f}  {counts:>13}  {plain['cpu'] / found['cpu']:9.2f}  {clock:11.2f}  {told:8.2f}")


def _middle(turns: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: median(turn[name] for turn in turns) for name in turns[0]}


class Side:
    """One way, in a process of its own. `cost` is what it found a guess to cost."""

    def __init__(self, way: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.drafts", _SIDE, json.dumps(way)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.cost = float(self._told()["cost"])

    def ask(self) -> dict[str, Any]:
        """Have it answer once."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._told()

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _side(way: dict[str, Any]) -> None:
    """Load as our child does, but for the guesses that count as right, and answer for each line that comes."""
    # Only in this process: the measuring one must not hold the library.
    from a3s_power.core.model import ModelFiles  # noqa: PLC0415
    from a3s_power.engines import llamacpp, llamacpp_library  # noqa: PLC0415
    from a3s_power.engines.engine import LoadOptions  # noqa: PLC0415
    from a3s_power.engines.llamacpp_params import Settings  # noqa: PLC0415
    from a3s_power.engines.llamacpp_socket import Listener  # noqa: PLC0415

    share, guesses = way["share"], way["guesses"]
    guess = {} if share is None else {"draft": "model", "draft_tokens": guesses}
    threads = {"threads": way["threads"], "threads_batch": way["threads"]}
    parameters = llamacpp_library.parameters

    def drawn(library: Any, chosen: Settings, files: ModelFiles, where: Listener) -> Any:  # noqa: ANN401 -- as there
        made = parameters(library, chosen, files, where)
        made.speculative.draft.p_min = 0.0
        made.speculative.synth_rates = [share ** (place + 1) for place in range(guesses)]
        return made

    if share is not None:
        llamacpp_library.parameters = drawn
    engine = llamacpp.LlamaCpp()
    files = ModelFiles(weights=way["model"], draft=way["draft"])
    loaded = engine.load(files, LoadOptions(context_length=512, **guess, **threads), lambda _: None)
    print(json.dumps({"cost": loaded.draft_cost}), flush=True)
    for turn, _ in enumerate(sys.stdin):
        print(json.dumps(_answered(engine._server, turn)), flush=True)  # noqa: SLF001 -- the bare library


def _answered(server: Any, turn: int) -> dict[str, Any]:  # noqa: ANN401 -- the library has no types
    """An answer to a prompt that is read before: tokens guessed and right, seconds a token on CPUs and on the clock."""
    prompt = [100 + (turn * 31 + place * 7) % 200 for place in range(_PROMPT)]
    body: dict[str, Any] = {"prompt": prompt, "stream": True, "temperature": 0.0, "ignore_eos": True}
    said: list[bytes] = []
    server.handle_completions(json.dumps(body | {"n_predict": 1}).encode(), lambda _: False)
    cpu, clock = time.process_time(), time.perf_counter()
    server.handle_completions(json.dumps(body | {"n_predict": _ANSWER}).encode(), said.append)
    spent = {"cpu": (time.process_time() - cpu) / _ANSWER, "clock": (time.perf_counter() - clock) / _ANSWER}
    timings = json.loads(said[-1])["timings"]
    return spent | {"guessed": timings.get("draft_n", 0), "right": timings.get("draft_n_accepted", 0)}


if __name__ == "__main__":
    if sys.argv[1:2] == [_SIDE]:
        _side(json.loads(sys.argv[2]))
    else:
        main()
