"""Images and sound for llama.cpp: the projector, and generations over its own route, the only one that takes both.

Its chat route takes images, too, but drops the texts of special tokens, by which thinking and calls are told; the
route for plain completions takes none at all (build b11549).
"""

import base64
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from a3s_power.engines.llamacpp_wire import Choice, Chunk, Likely, Logprobs, Timings, Verbose, refusal

ROUTE: Final = "/completion"
_LEAST_TOKENS: Final = 1024
_DETAILED: Final = frozenset({"qwen2vl", "qwen25vl", "qwen3vl", "qwen3vlmoe"})
"""Architectures that place things in an image well only when it becomes this many tokens at least."""


class _Progress(msgspec.Struct):
    total: int = 0


class _Native(msgspec.Struct):
    content: str = ""
    tokens: list[int] = []
    tokens_predicted: int = 0
    stop: bool = False
    stop_type: str = ""
    stopping_word: str = ""
    completion_probabilities: list[Likely] | None = None
    timings: Timings | None = None
    prompt_progress: _Progress | None = None
    error: msgspec.Raw = msgspec.Raw()


_decode: Final = msgspec.json.Decoder(_Native).decode


def decode_chunk(data: bytes) -> Chunk:
    """A chunk of the engine's own route, as those of the other routes are."""
    native = _decode(data)
    likely = native.completion_probabilities
    reason = ("length" if native.stop_type == "limit" else "stop") if native.stop else None
    return Chunk(
        choices=[Choice(native.content, reason, None if likely is None else Logprobs(likely))],
        verbose=Verbose(native.tokens, native.tokens_predicted, native.stop_type, native.stopping_word),
        timings=native.timings,
        error=native.error,
    )


class Counter:
    """Takes the chunks of a generation until one tells how many `tokens` its prompt has: the first."""

    def __init__(self) -> None:
        self.tokens = 0

    def take(self, data: bytes) -> bool:
        """Take a chunk; True ends the generation. Raises what the engine's error means."""
        native = _decode(data)
        if bytes(native.error):
            raise refusal(native.error)
        if native.prompt_progress is not None:
            self.tokens = native.prompt_progress.total
        return self.tokens > 0


def prompt(text: str, media: Sequence[bytes]) -> dict[str, Any]:
    """A prompt with a marker for each of the files, as the engine's own route takes it."""
    return {"prompt_string": text, "multimodal_data": [base64.b64encode(file).decode() for file in media]}


def least_tokens(architecture: str) -> int:
    """How many tokens an image must become at least; -1 leaves that to the projector."""
    return _LEAST_TOKENS if architecture in _DETAILED else -1
