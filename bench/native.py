"""Our server on the engine that was built here, against llama-bench of the same build and against the prebuilt engine.

    python -m bench.native --home HOME --model 1B.gguf [--alike] [--rounds 5] [--threads N] [--json FILE]

HOME is where `A3S_POWER_HOME=HOME a3s-power engine build` put the engine. In each round, in turns: llama-bench at its
own defaults, or with the settings that our server chose (`--alike`), our server on that engine, our server on the
prebuilt one; a prompt of 512 tokens, and an answer of 128 behind a short prompt. Of the server, the speed of prompts is
what the engine says it took; that of answers is by the client's clock, from its request to the last byte, less the
prompt.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from a3s_power.cli.native import wide_instructions
from a3s_power.hardware import instructions
from a3s_power.native.shelf import BENCH, Built, Shelf
from bench.sides import installed
from tests.served import Served, served, until

_PROMPT_TOKENS: Final = 512
_SPARE: Final = 4
_OUTPUT_TOKENS: Final = 128
_NAME: Final = "bench"
_LEAST: Final = 0.97
_LEAST_OF_WHEEL: Final = 1.3
_CALIBRATED_SECONDS: Final = 300.0


class Speed(NamedTuple):
    """Tokens a second."""

    prompt: float
    output: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--alike", action="store_true", help="llama-bench with the settings that the server chose")
    asked = parser.parse_args()
    shelf = Shelf(asked.home / "engines")
    built = shelf.built()[-1]
    found = _rounds(asked, shelf, built)
    told = _told(found, built)
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _rounds(asked: argparse.Namespace, shelf: Shelf, built: Built) -> dict[str, list[Speed]]:
    found: dict[str, list[Speed]] = {"llama-bench": [], "native": [], "wheel": []}
    program = str(shelf.program(built.name))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = {
            name: stack.enter_context(_server(Path(folder) / name, asked.model.resolve(), path, asked.threads))
            for name, path in {"native": program, "wheel": ""}.items()
        }
        for server in servers.values():
            _read(server, -1, asked.threads)
        bench = asked.home / "engines" / built.name / BENCH
        alike = _alike(program)
        print(f"  the server's engine: {' '.join(alike)}", flush=True)
        for number in range(asked.rounds):
            turns = ["llama-bench", *servers]
            for name in turns if number % 2 else reversed(turns):
                speed = (
                    _of_server(servers[name], number, asked.threads)
                    if name in servers
                    else _of_bench(bench, asked.model, asked.threads, alike if asked.alike else [])
                )
                found[name].append(speed)
                print(
                    f"  {number + 1} {name}: prompt {speed.prompt:.1f}, answer {speed.output:.1f} tokens/s", flush=True
                )
    return found


@contextmanager
def _server(home: Path, model: Path, program: str, threads: int) -> Iterator[Served]:
    """A server with the model in memory, on this program or on the prebuilt engine."""
    home.mkdir()
    settings = {"OLLAMA_KEEP_ALIVE": "-1", "OLLAMA_CONTEXT_LENGTH": "1024", "A3S_POWER_ENGINE": "llamacpp"}
    if program:
        settings |= {"A3S_POWER_ENGINE": "llamaserver", "A3S_POWER_LLAMA_SERVER": program}
    with served(home, **settings) as server:
        installed(server, model)
        # The first load goes by what is known of other models; from the second on by this one's own speed.
        _read(server, -2, threads)
        # And then by what was measured of its settings: of a model that is loaded as the server would, and when nobody
        # has asked for a while.
        server.post("/api/generate", {"model": _NAME})
        until(lambda: list(home.rglob("tunings.json")), _CALIBRATED_SECONDS)
        server.post("/api/generate", {"model": _NAME, "keep_alive": 0})
        yield server


def _of_server(server: Served, number: int, threads: int) -> Speed:
    """A prompt that has nothing in common with any before, and an answer behind a short one."""
    read = _read(server, number, threads)
    asked = {"model": _NAME, "raw": True, "prompt": f"{number} a"}
    options = {"temperature": 0, "num_thread": threads, "num_predict": _OUTPUT_TOKENS}
    began = time.perf_counter()
    last = server.post("/api/generate", {**asked, "options": options}, timeout=600)[-1]
    whole = time.perf_counter() - began
    return Speed(
        read["prompt_eval_count"] / read["prompt_eval_duration"] * 1e9,
        last["eval_count"] / (whole - last["prompt_eval_duration"] / 1e9),
    )


def _read(server: Served, number: int, threads: int) -> Any:  # noqa: ANN401 -- JSON
    """What the server says of having read a prompt."""
    words = " ".join(f"w{number}x{word}" for word in range(_PROMPT_TOKENS))
    tokens = server.post("/api/tokenize", {"model": _NAME, "text": words, "add_special": False})["tokens"]
    # A few less than llama-bench reads: a text is not always read as the tokens that it was made of, and a token more
    # than a multiple of 256 would have many more of the cache looked at.
    part = {"model": _NAME, "tokens": tokens[: _PROMPT_TOKENS - _SPARE]}
    asked = {"model": _NAME, "raw": True, "stream": False, "prompt": server.post("/api/detokenize", part)["text"]}
    options = {"temperature": 0, "num_thread": threads, "num_predict": 1}
    read = server.post("/api/generate", {**asked, "options": options}, timeout=600)
    assert _PROMPT_TOKENS - 2 * _SPARE <= read["prompt_eval_count"] <= _PROMPT_TOKENS, read
    return read


def _alike(program: str) -> list[str]:
    """The flags for llama-bench that set it up as the running llama-server is."""
    lines = (each.read_bytes().split(b"\0") for each in Path("/proc").glob("[0-9]*/cmdline"))
    words = next([word.decode() for word in line] for line in lines if line[0].decode() == program)
    said = [text for flag in ("-b", "-ub", "-fa", "-lm") for text in (flag, words[words.index(flag) + 1])]
    return [*said, "--repack", str(int("--repack" in words))]


def _of_bench(bench: Path, model: Path, threads: int, more: list[str]) -> Speed:
    """As llama-bench has it; a round is one repetition behind its warm-up."""
    command = [str(bench), "-m", str(model), "-t", str(threads), "-p", str(_PROMPT_TOKENS), "-n", str(_OUTPUT_TOKENS)]
    ran = subprocess.run(
        [*command, *more, "-r", "1", "-o", "json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    rates = {bool(each["n_prompt"]): each["avg_ts"] for each in json.loads(ran.stdout)}
    return Speed(rates[True], rates[False])


def _told(found: dict[str, list[Speed]], built: Built) -> dict[str, Any]:
    """Print medians, ratios and verdicts."""
    processor = instructions.name(Path("/proc/cpuinfo"))
    print(f"{built.name} on {processor} ({wide_instructions() or 'nothing wider than AVX2'})")
    middle = {
        name: Speed(*(statistics.median(getattr(one, what) for one in speeds) for what in Speed._fields))
        for name, speeds in found.items()
    }
    for name, speed in middle.items():
        print(f"{name}: prompt {speed.prompt:.1f}, answer {speed.output:.1f} tokens/s")
    native, told = middle["native"], dict[str, Any]()
    for other, least in (("llama-bench", (_LEAST, _LEAST)), ("wheel", (_LEAST_OF_WHEEL, None))):
        for what, bound in zip(Speed._fields, least, strict=True):
            ratio = getattr(native, what) / getattr(middle[other], what)
            must = "" if bound is None else f", must be at least {bound}: {ratio >= bound}"
            print(f"native / {other}, {what}: {ratio:.3f}{must}")
            told[f"{what} of {other}"] = ratio
    return {
        "engine": built.name,
        "ratios": told,
        "rounds": {name: list(map(list, some)) for name, some in found.items()},
    }


if __name__ == "__main__":
    main()
