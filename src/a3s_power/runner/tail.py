"""The last lines a child wrote, and the one among them that says why it failed."""

import re
import signal
from collections import deque
from collections.abc import Iterable

from a3s_power.core.sizes import human_bytes

LACK_OF_MEMORY = "most likely for lack of memory"
_KEPT = 30
_LONGEST_LINE = 2000

# llama.cpp: `0.00.006.244 E llama_model_load: error loading model: …`
_LEVELLED = re.compile(r"\d+\.\d\d\.\d{3}\.\d{3} (?P<level>[DIWE]) (?P<text>.*)", re.DOTALL)
# Aborts and C++ exceptions come without a level; so does the last line of a Python traceback.
_BARE = re.compile(r"GGML_ASSERT|what\(\):|terminate called|CUDA error|^[\w.]*(?:Error|Exception)\b")
_MEANT = (
    (
        "GGML_ASSERT(id_to_token.size() == token_to_id.size()) failed",
        "the vocabulary has a token twice: llama.cpp cannot load such a model",
    ),
    ("what():  Resource temporarily unavailable", "out of memory: no more threads could be started"),
    ("RuntimeError: can't start new thread", "out of memory: no more threads could be started"),
    ("GGML_ASSERT(ctx->mem_buffer != NULL) failed", "out of memory"),
)
"""What is said to those who know the source, and what it means to others."""
_MEMORY = re.compile(
    r"insufficient memory|out of memory|failed to allocate|unable to allocate|bad_alloc|MemoryError", re.IGNORECASE
)


class Tail:
    """A ring of the last lines."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_KEPT)
        self._first_error = ""

    def add(self, line: str) -> bool:
        """Keep a line. Returns whether it tells of an error."""
        line = line.strip()[:_LONGEST_LINE]
        if not line:
            return False
        self._lines.append(line)
        found = is_error(line)
        if found and not self._first_error:
            self._first_error = plain(line)
        return found

    def forget(self) -> None:
        """What was said until now is not the reason of what fails later."""
        self._lines.clear()
        self._first_error = ""

    @property
    def load_reason(self) -> str:
        """Why a load failed: its first error, since what follows repeats it; empty when nothing was said."""
        return self._first_error

    @property
    def death_reason(self) -> str:
        """Why a child died: its last error; empty when it told of none."""
        return next((plain(line) for line in reversed(self._lines) if is_error(line)), "")

    @property
    def out_of_memory(self) -> bool:
        """Whether any line says so."""
        return says_out_of_memory(map(plain, self._lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """What is kept, oldest first."""
        return tuple(self._lines)


def is_error(line: str) -> bool:
    """Whether a line tells of an error."""
    levelled = _LEVELLED.fullmatch(line)
    if levelled is None:
        return _BARE.search(line) is not None
    # What llama.cpp's server part complains of is one request's trouble, and its client was told.
    return levelled["level"] == "E" and not levelled["text"].startswith("srv ")


def plain(line: str) -> str:
    """A line without its time and level, in words that say what is wrong with the model where they are known."""
    levelled = _LEVELLED.fullmatch(line)
    text = levelled["text"].strip() if levelled else line
    return next((meaning for said, meaning in _MEANT if text.endswith(said)), text)


def says_out_of_memory(lines: Iterable[str]) -> bool:
    """Whether a line tells that memory did not suffice."""
    return any(_MEMORY.search(line) for line in lines)


def likely_reason(code: int, memory_bytes: int) -> str:
    """Why a child ended that told of no error and that nobody of us has killed, with what it takes where that is known.

    The system kills those that take the last of its memory, without a word to anybody.
    """
    if code != -signal.SIGKILL:
        return ""
    takes = f" (the model takes {human_bytes(memory_bytes)})" if memory_bytes else ""
    return f"{LACK_OF_MEMORY}{takes}"


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit status {code}"
