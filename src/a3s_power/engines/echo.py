"""The engine that repeats its prompt: for tests, and as the shortest example of an engine."""

import hashlib
import math
import re
import threading
from collections.abc import Callable, Sequence

from a3s_power.core.errors import EngineFailed, EngineRefused
from a3s_power.core.model import ModelFiles
from a3s_power.engines.engine import (
    Forecast,
    Job,
    Loaded,
    LoadOptions,
    Outcome,
    Piece,
    Scores,
    Vectors,
    prompt_too_long,
)

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

    def foretell(self, files: ModelFiles, options: LoadOptions) -> Forecast:  # noqa: ARG002
        """Say that it cannot tell."""
        raise EngineFailed("this engine has no dry run")

    def generate(self, job: Job, emit: Callable[[Piece], None]) -> Outcome:
        """Say the prompt, up to the first stop text or `max_tokens`. Raises EngineRefused for a grammar."""
        if job.grammar:
            raise EngineRefused("this engine only repeats, and follows no grammar")
        prompt = job.prompt if isinstance(job.prompt, str) else self.detokenize(job.prompt)
        tokens = _WORD.findall(prompt)
        if len(tokens) >= self._limit:
            raise prompt_too_long(len(tokens), self._limit)
        before, stop = _before_stop(prompt, job.stop)
        answer = _WORD.findall(before)
        allowed = answer if job.max_tokens < 0 else answer[: job.max_tokens]
        sent = 0
        for word in allowed:
            if job.cancelled:
                break
            job.step()
            emit(Piece(word))
            sent += 1
        short = len(allowed) < len(answer)
        return Outcome(
            reason="length" if short else "stop",
            prompt_tokens=len(tokens),
            output_tokens=sent,
            stop_text="" if short or job.cancelled else stop,
        )

    def count(self, job: Job) -> int:
        """The words of the prompt; media are none to it."""
        return len(_WORD.findall(job.prompt)) if isinstance(job.prompt, str) else len(job.prompt)

    def embed(self, texts: Sequence[str], *, truncate: bool, normalize: bool) -> Vectors:
        """A vector made from each text's digest: equal texts, equal vectors."""
        rows, count, cut = [], 0, []
        for index, text in enumerate(texts):
            tokens = _WORD.findall(text)
            if len(tokens) > self._limit and not truncate:
                raise prompt_too_long(len(tokens), self._limit)
            cut += [index] if len(tokens) > self._limit else []
            kept = tokens[: self._limit]
            rows.append(_vector("".join(kept), normalize=normalize))
            count += len(kept)
        return Vectors(rows=tuple(rows), prompt_tokens=count, cut=tuple(cut))

    def rerank(self, query: str, documents: Sequence[str], *, truncate: bool) -> Scores:
        """How many words of the query a document has, less those it lacks."""
        asked, room = set(query.split()), self._limit - len(_WORD.findall(query))
        words = [_WORD.findall(document) for document in documents]
        longest = max(map(len, words), default=0)
        if room <= 0 or (longest > room and not truncate):
            raise prompt_too_long(self._limit - room + longest, self._limit)
        found = [len(asked & {word.strip() for word in each[:room]}) for each in words]
        return Scores(
            logits=tuple(float(2 * count - len(asked)) for count in found),
            truncated=tuple(len(each) > room for each in words),
            prompt_tokens=sum(min(len(each), room) + self._limit - room for each in words),
        )

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:  # noqa: ARG002
        """The ids of the words."""
        return [self._id(word) for word in _WORD.findall(text)]

    def pieces(self, text: str) -> list[tuple[int, bytes]]:
        """The ids of the words, and the words."""
        return [(self._id(word), word.encode()) for word in _WORD.findall(text)]

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The words again. Raises EngineRefused for an id that no word has."""
        if any(not 0 <= token < len(self._words) for token in tokens):
            raise EngineRefused("prompt contains invalid tokens")
        return "".join(self._words[token] for token in tokens)

    def keep_prompts(self, limit: int) -> int:  # noqa: ARG002
        """It has none."""
        return 0

    def crowded(self, *, others: bool) -> None:
        """It computes nothing."""

    def close(self) -> None:
        """Nothing was taken."""

    def _id(self, word: str) -> int:
        with self._counting:
            if word not in self._ids:
                self._ids[word] = len(self._words)
                self._words.append(word)
            return self._ids[word]


def _before_stop(text: str, stops: Sequence[str]) -> tuple[str, str]:
    """What stands before the first stop text, and that stop text; empty without one."""
    found = [(at, stop) for stop in stops if stop and (at := text.find(stop)) >= 0]
    at, stop = min(found, default=(len(text), ""))
    return text[:at], stop


def _vector(text: str, *, normalize: bool) -> tuple[float, ...]:
    row = [byte / 255 + 0.01 for byte in hashlib.sha256(text.encode()).digest()[:_DIMENSIONS]]
    length = math.hypot(*row) if normalize else 1.0
    return tuple(value / length for value in row)
