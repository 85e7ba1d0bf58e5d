"""The engine alone: generations with nobody listening, so that what a server adds to them can be told."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from a3s_power.core.options import DEFAULTS, Options
from a3s_power.engines.engine import Engine, Job, Piece
from a3s_power.runner.frames import Stream

_SEED = 1


def measured(engine: Engine, prompts: Sequence[str], tokens: int, watched: Job) -> tuple[Stream, ...]:
    """All prompts at once, greedily, each for so many tokens: how each went. Cancelling `watched` ends them all.

    Raises what the engine raises for one of them.
    """
    with ThreadPoolExecutor(max(1, len(prompts))) as threads:
        return tuple(threads.map(lambda prompt: _stream(engine, prompt, tokens, watched), prompts))


def _stream(engine: Engine, prompt: str, tokens: int, watched: Job) -> Stream:
    asked = Options(temperature=0.0, seed=_SEED, num_predict=tokens, ignore_eos=True)
    job = Job(prompt, Options.merged(DEFAULTS, asked), max_tokens=tokens)
    began, first = time.perf_counter_ns(), 0

    def emit(piece: Piece) -> None:
        nonlocal first
        if not first and piece.text:
            first = time.perf_counter_ns() - began
        job.cancelled = watched.cancelled

    outcome = engine.generate(job, emit)
    whole = time.perf_counter_ns() - began
    return Stream(outcome.prompt_tokens, outcome.cached_tokens, outcome.output_tokens, first or whole, whole)
