"""The engine alone: generations with nobody listening, so that what a server adds to them can be told."""

import threading
import time
from collections.abc import Sequence

from a3s_power.core.options import DEFAULTS, Options
from a3s_power.engines.engine import Engine, Job, Piece
from a3s_power.runner.frames import Stream

_SEED = 1


def measured(engine: Engine, prompts: Sequence[str], tokens: int, watched: Job) -> tuple[Stream, ...]:
    """All prompts at once, greedily, each for so many tokens: how each went. Cancelling `watched` ends them all.

    Raises what the engine raises for one of them.
    """
    # An executor would bring the logging module into every child.
    found: list[Stream] = []
    errors: list[Exception] = []

    def run(prompt: str) -> None:
        try:
            found.append(_stream(engine, prompt, tokens, watched))
        except Exception as error:  # noqa: BLE001 -- the thread's edge: raised again below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(prompt,), daemon=True) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return tuple(found)


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
