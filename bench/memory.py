"""What models take in memory, beside what was predicted: by the formula, by the engine's dry run, and remembered.

    python -m bench.memory [--cases TEXT] [--models FOLDER] [--shared FOLDER]

For each case (model, context, slots, type of cache, micro-batch, files beside) a child is loaded as the server would,
every slot's context is filled, and the most that it had in main memory from then on is compared. *First* is what the
server goes by before it has ever loaded the model so: the formula for architectures that it knows, else the dry run.
*Remembered* is what it goes by from the second load on. A prediction is good within five per cent.

`--cases` keeps those whose name has the text; models of FOLDER are made where they are not there, which takes a minute
for those of a billion parameters. Cases whose files are in the shared folder are left out without it.
"""

import argparse
import asyncio
import io
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from PIL import Image

from a3s_power.core.errors import PowerError
from a3s_power.core.limits import MIB
from a3s_power.core.model import Facts, ModelFiles
from a3s_power.core.options import DEFAULTS, Options
from a3s_power.engines import llamacpp_memory, llamacpp_params
from a3s_power.engines.engine import Forecast, LoadOptions
from a3s_power.gguf.facts import facts as read_facts
from a3s_power.gguf.reader import read_header
from a3s_power.gguf.writer import write
from a3s_power.hardware.machine import Machine
from a3s_power.runner.frames import Embed, Run
from a3s_power.runner.process import RunnerProcess, spawn
from bench import random_model, shapes

GOOD: Final = 0.05
_REPOSITORY: Final = Path(__file__).resolve().parents[1]
_BUILTIN: Final = _REPOSITORY / "src/a3s_power/store/builtin/power-tiny-Q8_0.gguf"
_SPARE_TOKENS: Final = 16
_FIRST_TOKEN: Final = 300
_TOKENS: Final = 61
"""Prompts are of so many different tokens, which all vocabularies here have."""


class Case(NamedTuple):
    """A load: `beside` is "projector", "adapter" or nothing."""

    model: str
    context: int
    parallel: int
    options: dict[str, Any]
    beside: str

    def __str__(self) -> str:
        said = " ".join(f"{name}={value}" for name, value in self.options.items())
        return " ".join(filter(None, (self.model, f"{self.context}x{self.parallel}", said, self.beside)))


def _each(model: str, sizes: str, beside: str = "", **options: Any) -> Iterator[Case]:  # noqa: ANN401 -- load options
    for size in sizes.split():
        context, parallel = size.split("x")
        yield Case(model, int(context), int(parallel), options, beside)


CASES: Final = (
    *_each("5m-q8_0", "256x1 1024x1 2048x1 4096x1 256x2 1024x2 2048x2 512x8"),
    *_each("5m-q8_0", "1024x1 2048x2 8192x1", kv_cache_type="q8_0"),
    *_each("5m-q8_0", "2048x2", kv_cache_type="q4_0"),
    *_each("5m-q8_0", "2048x1 1024x2", batch=512),
    *_each("5m-q8_0", "2048x1 4096x1", flash_attention=True),
    *_each("5m-q8_0", "512x1", embedding=True),
    *_each("5m-q4_0", "512x1 2048x2"),
    *_each("5m-q4_0", "1024x1", use_mmap=True),
    *_each("20m-q4_k_m", "256x1 1024x1 2048x1 256x2 1024x2 512x8"),
    *_each("20m-q4_k_m", "2048x1 1024x2", kv_cache_type="q8_0"),
    *_each("20m-q4_k_m", "1024x4", kv_cache_type="q4_0"),
    *_each("20m-q4_k_m", "1024x1", kv_cache_type="f32"),
    *_each("20m-q4_k_m", "1024x2", batch=512),
    *_each("stories", "256x1 512x4"),
    *_each("power-tiny", "512x1 2048x2 512x4"),
    *_each("power-tiny", "2048x1 2048x2", "projector", batch=512),
    *_each("power-tiny", "512x1 1024x2", "adapter"),
    *_each("minilm-f16", "128x1 256x1 512x1"),
    *_each("minilm-q8_0", "256x1 512x1"),
    *_each("gemma3", "1024x1 4096x1 2048x2"),
    *_each("gemma3", "2048x1", kv_cache_type="q8_0"),
    *_each("lfm2", "1024x1 2048x2"),
    *_each("mamba", "1024x1 2048x2"),
    *_each("qwen3moe", "1024x1 2048x2"),
    *_each("deepseek2", "1024x1 4096x1 2048x2"),
    *_each("vocabulary-llama-bpe", "1024x1"),
    *_each("vocabulary-qwen2", "1024x1 1024x2"),
    *_each("vocabulary-gpt-2", "1024x1"),
    *_each("1b-q4_k_m", "512x1 2048x1 512x2"),
    *_each("1b-q4_k_m", "512x1", kv_cache_type="q8_0"),
    *_each("1b-q4_k_m", "512x1", repack=True),
    *_each("1b-q4_0", "512x1"),
    *_each("1b-q8_0", "512x1"),
    *_each("1b-f16", "256x1"),
)


class Models:
    """The files of the cases, made or found."""

    def __init__(self, folder: Path, shared: Path) -> None:
        self._folder = folder
        self._shared = shared
        self._found = {
            "power-tiny": _BUILTIN,
            "stories": shared / "stories260K/stories260K-Q8_0.gguf",
            "minilm-f16": shared / "minilm/all-MiniLM-L6-v2-F16.gguf",
            "minilm-q8_0": shared / "minilm/all-MiniLM-L6-v2-Q8_0.gguf",
        }
        self._beside = {
            "projector": shared / "power-tiny/power-tiny-mmproj.gguf",
            "adapter": shared / "power-tiny/power-tiny-lora-arr.gguf",
        }

    def of(self, case: Case) -> ModelFiles | None:
        """What is to be loaded; `None` where it is not there."""
        weights, beside = self._weights(case.model), self._beside.get(case.beside)
        if weights is None or (beside is not None and not beside.exists()):
            return None
        return ModelFiles(
            weights=str(weights),
            projectors=(str(beside),) if case.beside == "projector" else (),
            adapters=((str(beside), 1.0),) if case.beside == "adapter" else (),
        )

    def _weights(self, name: str) -> Path | None:
        if name in self._found:
            return self._found[name] if self._found[name].exists() else None
        path = self._folder / f"{name}.gguf"
        return path if path.exists() or self._made(name, path) else None

    def _made(self, name: str, path: Path) -> bool:
        """Whether it could be made; it appears whole or not at all."""
        partial = path.with_suffix(".partial")
        if name in shapes.SHAPES:
            shapes.save(name, partial)
        elif name.startswith("vocabulary-"):
            source = self._shared / f"vocabs/ggml-vocab-{name.removeprefix('vocabulary-')}.gguf"
            if not source.exists():
                return False
            shapes.with_vocabulary(source, partial)
        else:
            size, _, kind = name.partition("-")
            tensors = random_model.tensors(random_model.SIZES[size], kind, 1)
            write(partial, random_model.key_values(size, kind), tensors)
        partial.replace(path)
        return True


class Seen(NamedTuple):
    """What the child had in memory: after the load, and at most."""

    loaded: int
    most: int


class Predicted(NamedTuple):
    """What was expected, in bytes; `dry` is `None` where the engine could not tell."""

    formula: int
    dry: int | None
    first: int
    remembered: int


def load_options(case: Case, facts: Facts, cores: int) -> LoadOptions:
    """As the server would load it, with its rules for batch and flash attention."""
    said = {"batch": case.context if not facts.causal else 128, "threads": cores, "threads_batch": cores}
    options = {"context_length": case.context, "parallel": case.parallel, "embedding": not facts.causal}
    return LoadOptions(**(options | said | case.options))


def _status(pid: int, name: str) -> int:
    said = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
    assert said is not None
    return int(said[1]) * 1024


async def fill(runner: RunnerProcess, case: Case, options: LoadOptions) -> None:
    """Have every slot read and write until its context is full."""
    if options.embedding:
        await runner.embed(Embed(texts=(" ".join(["word"] * (2 * case.context)),)))
        return
    assert runner.loaded is not None
    room = runner.loaded.context_length - _SPARE_TOKENS
    asked = Options.merged(DEFAULTS, Options(temperature=0.0, num_predict=_SPARE_TOKENS // 2))
    runs = [
        Run(text="a", context=tuple(_FIRST_TOKEN + (slot * 7 + at) % _TOKENS for at in range(room)), options=asked)
        for slot in range(case.parallel)
    ]
    if case.beside == "projector":
        await _listen(runner, Run(text="[img-0]What is in the image?", images=(_picture(),), options=asked))
    await asyncio.gather(*(_listen(runner, run) for run in runs))


async def _listen(runner: RunnerProcess, run: Run) -> None:
    async with runner.run(run) as events:
        async for _ in events:
            pass


def _picture() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(content, "PNG")
    return content.getvalue()


async def measured(files: ModelFiles, options: LoadOptions, case: Case, scratch: Path) -> Seen:
    """Load it in a child, fill it, and see what it took."""
    runner = await spawn("llamacpp", environ=dict(os.environ), scratch=scratch)
    try:
        await runner.load(files, options)
        loaded = _status(runner.pid, "VmRSS")
        _forget_the_most(runner.pid)
        await fill(runner, case, options)
        return Seen(loaded, _status(runner.pid, "VmHWM"))
    finally:
        await runner.stop()


def _forget_the_most(pid: int) -> None:
    """Count anew the most that a process has in main memory (`clear_refs` in proc(5)).

    While it loads there are pages of the file beside the copy of them, which the system can take back at any time.
    """
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


async def foretold(files: ModelFiles, options: LoadOptions, scratch: Path) -> Forecast | None:
    """The engine's dry run, in a child that loads nothing."""
    runner = await spawn("llamacpp", environ=dict(os.environ), scratch=scratch)
    try:
        return await runner.foretell(files, options)
    except PowerError:
        return None
    finally:
        runner.kill()
        await runner.stop()


def predicted(files: ModelFiles, facts: Facts, options: LoadOptions, dry: Forecast | None, loaded: int) -> Predicted:
    """What the server goes by."""
    chosen = llamacpp_params.settings(options, facts, llamacpp_params.Machine(x86=Machine.look().x86))
    projector = sum(Path(path).stat().st_size for path in files.projectors)
    adapter = sum(Path(path).stat().st_size for path, _ in files.adapters)
    formula = llamacpp_memory.memory_bytes(facts, chosen, projector, adapter)
    known = dry is None or llamacpp_memory.is_known(facts)
    untouched = (
        llamacpp_memory.untouched_bytes(facts, chosen, projector_bytes=projector)
        if known or dry is None
        else dry.untouched_bytes
    )
    first = formula if known or dry is None else dry.memory_bytes
    return Predicted(formula, None if dry is None else dry.memory_bytes, first, loaded + untouched)


async def one(case: Case, files: ModelFiles, cores: int, scratch: Path) -> tuple[Seen, Predicted]:
    """What a case took, and what was expected."""
    facts = read_facts(read_header(files.weights))
    options = load_options(case, facts, cores)
    dry = await foretold(files, options, scratch)
    seen = await measured(files, options, case, scratch)
    return seen, predicted(files, facts, options, dry, seen.loaded)


def _error(expected: int | None, taken: int) -> str:
    return f"{expected / taken - 1:+.1%}" if expected else "-"


def distribution(name: str, errors: Sequence[float]) -> None:
    """Print how the errors of one way lie."""
    ordered = sorted(map(abs, errors))
    within = sum(error <= GOOD for error in ordered)
    late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    print(
        f"{name:<12}{within:>4} of {len(ordered)} within {GOOD:.0%}; error: median {statistics.median(ordered):.1%},"
        f" 95th percentile {late:.1%}, largest {ordered[-1]:.1%}; from {min(errors):+.1%} to {max(errors):+.1%}"
    )


async def measure(cases: Sequence[Case], models: Models, cores: int, scratch: Path) -> bool:
    """Print a line for each case, and how the errors lie; whether all first ones are good."""
    errors: dict[str, list[float]] = {name: [] for name in Predicted._fields}
    print(f"{'case':<44}{'taken, MiB':>11}{'loaded':>9}{'formula':>9}{'dry run':>9}{'first':>9}{'remembered':>12}")
    for case in cases:
        files = models.of(case)
        if files is None:
            print(f"{case!s:<44} left out: its files are not there")
            continue
        seen, expected = await one(case, files, cores, scratch)
        columns = "".join(
            f"{_error(each, seen.most):>{width}}" for each, width in zip(expected, (9, 9, 9, 12), strict=True)
        )
        print(f"{case!s:<44}{seen.most / MIB:>11.1f}{seen.loaded / MIB:>9.1f}{columns}", flush=True)
        for name, each in zip(Predicted._fields, expected, strict=True):
            if each is not None:
                errors[name].append(each / seen.most - 1)
    print()
    for name, found in errors.items():
        distribution(name, found)
    return all(abs(error) <= GOOD for name in ("first", "remembered") for error in errors[name])


def main() -> None:
    """Measure all cases, or some."""
    parser = argparse.ArgumentParser(description="Compare predicted and measured memory.")
    parser.add_argument("--cases", default="", help="only those whose name has this text")
    parser.add_argument(
        "--models", type=Path, default=Path(tempfile.gettempdir()), help="where models are, or are made"
    )
    parser.add_argument("--shared", type=Path, default=_REPOSITORY.parent / "shared/models")
    asked = parser.parse_args()
    cases, began = [case for case in CASES if asked.cases in str(case)], time.monotonic()
    cores = min(2, Machine.look().cores)
    with tempfile.TemporaryDirectory() as scratch:
        good = asyncio.run(measure(cases, Models(asked.models, asked.shared), cores, Path(scratch)))
    says = "within" if good else "NOT within"
    print(f"\nverdict: predicted memory is {says} {GOOD:.0%} in {len(cases)} cases ({time.monotonic() - began:.0f} s)")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
