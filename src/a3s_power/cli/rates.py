"""Rates: what some streams at once come to, and streams from a server as its clients see them."""

import statistics
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from a3s_power.cli.client import Client
from a3s_power.core.errors import PowerError

_SEED: Final = 1


class Streamed(NamedTuple):
    """One answer: its tokens, and seconds to the first piece and to the end."""

    prompt_tokens: int
    output_tokens: int
    first: float
    whole: float


class Rates(NamedTuple):
    """Milliseconds to the first token, tokens a second of all prompts together, and of all answers together.

    A median of rounds each, the first token's of all streams. `cached` is its wait where the prompt was asked before.
    """

    first_ms: float
    cached_ms: float
    prompt: float
    output: float


def rates(fresh: Sequence[Sequence[Streamed]], cached: Sequence[Sequence[Streamed]]) -> Rates:
    """Of rounds of streams that began at once: with new prompts, and with the same ones again."""
    return Rates(
        first_ms=_first_ms(fresh),
        cached_ms=_first_ms(cached),
        prompt=statistics.median(sum(one.prompt_tokens for one in some) / _last_first(some) for some in fresh),
        output=statistics.median(map(_pace, fresh)),
    )


def _first_ms(rounds: Iterable[Sequence[Streamed]]) -> float:
    return statistics.median(one.first for some in rounds for one in some) * 1e3


def _last_first(streams: Sequence[Streamed]) -> float:
    """When the last prompt was read."""
    return max(one.first for one in streams)


def _pace(streams: Sequence[Streamed]) -> float:
    """Tokens a second of all together, from the first piece of any to the end of the last."""
    took = max(one.whole for one in streams) - min(one.first for one in streams)
    return sum(one.output_tokens for one in streams) / took if took > 0 else 0.0


def served(client: Client, request: Mapping[str, Any], prompts: Sequence[str], tokens: int) -> list[Streamed]:
    """All prompts at once, greedily, each for so many tokens. Raises what the client raises for one of them."""
    options = {**request["options"], "temperature": 0, "seed": _SEED, "num_predict": tokens, "ignore_eos": True}
    found: list[Streamed] = []
    errors: list[PowerError] = []

    def run(prompt: str) -> None:
        try:
            found.append(_streamed(client, {**request, "prompt": prompt, "raw": True, "options": options}))
        except PowerError as error:
            errors.append(error)

    # An interrupt shall not wait for them.
    threads = [threading.Thread(target=run, args=(prompt,), daemon=True) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found


def _streamed(client: Client, body: Mapping[str, Any]) -> Streamed:
    began, first, last = time.perf_counter(), 0.0, dict[str, Any]()
    for last in client.stream("/api/generate", body):
        if not first and last.get("response"):
            first = time.perf_counter() - began
    whole = time.perf_counter() - began
    if not last.get("done"):
        raise PowerError("the server ended an answer without its last line")
    return Streamed(int(last.get("prompt_eval_count") or 0), int(last.get("eval_count") or 0), first or whole, whole)
