"""The engine that repeats its prompt: for tests, and as the shortest example of an engine."""

import hashlib
import math
import re
import threading
from collections.abc import Callable, Sequence

from a3s_power.core.errors import EngineRefused
from a3s_power.core.model import ModelFiles
from a3s_power.engines.engine import Job, Loaded, LoadOptions, Outcome, Piece, Vectors, prompt_too_long

_WORD = re.compile(r"\s*\S+|\s+")
_DIMENSIONS = 8


class Echo:
    """Loads anything. A token is a word with the blanks before it; its id is the order in which it was first seen."""

    def __init__(self) -> None:
        self._limit = 0
        self._ids: dict[str, int] = {}
        self._words: list[str] = []
        self._counting = threading.Lock()

    def load(self, files: ModelFiles, options: LoadOptions, report: Callable[[float], None]) -> Loaded:  # noqa: ARG002
        """Load nothing."""
        self._limit = options.context_length
        report(1.0)
        return Loaded(context_length=self._limit, parallel=options.parallel, memory_bytes=0)

    def generate(self, job: Job, emit: Callable[[Piece], None]) -> Outcome:
        """Say the prompt, up to the first stop text or `max_tokens`."""
        prompt = job.prompt if isinstance(job.prompt, str) else self.detokenize(job.prompt)
        tokens = _WORD.findall(prompt)
        if len(tokens) >= self._limit:
            raise prompt_too_long(len(tokens), self._limit)
        answer = _WORD.findall(_before_stop(prompt, job.stop))
        allowed = answer if job.max_tokens < 0 else answer[: job.max_tokens]
        sent = 0
        for word in allowed:
            if job.cancelled:
                break
            emit(Piece(word))
            sent += 1
        return Outcome(
            reason="length" if len(allowed) < len(answer) else "stop", prompt_tokens=len(tokens), output_tokens=sent
        )

    def embed(self, texts: Sequence[str], *, truncate: bool, normalize: bool) -> Vectors:
        """A vector made from each text's digest: equal texts, equal vectors."""
        rows, count = [], 0
        for text in texts:
            tokens = _WORD.findall(text)
            if len(tokens) > self._limit and not truncate:
                raise prompt_too_long(len(tokens), self._limit)
            kept = tokens[: self._limit]
            rows.append(_vector("".join(kept), normalize=normalize))
            count += len(kept)
        return Vectors(rows=tuple(rows), prompt_tokens=count)

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:  # noqa: ARG002
        """The ids of the words."""
        return [self._id(word) for word in _WORD.findall(text)]

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The words again. Raises EngineRefused for an id that no word has."""
        if any(not 0 <= token < len(self._words) for token in tokens):
            raise EngineRefused("prompt contains invalid tokens")
        return "".join(self._words[token] for token in tokens)

    def close(self) -> None:
        """Nothing was taken."""

    def _id(self, word: str) -> int:
        with self._counting:
            if word not in self._ids:
                self._ids[word] = len(self._words)
                self._words.append(word)
            return self._ids[word]


def _before_stop(text: str, stops: Sequence[str]) -> str:
    found = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    return text[: min(found, default=len(text))]


def _vector(text: str, *, normalize: bool) -> tuple[float, ...]:
    row = [byte / 255 + 0.01 for byte in hashlib.sha256(text.encode()).digest()[:_DIMENSIONS]]
    length = math.hypot(*row) if normalize else 1.0
    return tuple(value / length for value in row)
