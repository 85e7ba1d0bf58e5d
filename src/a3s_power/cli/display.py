"""Tables, and the pieces of an answer, in the form that people and scripts know from Ollama."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from a3s_power.cli.terminal import Wrapper, harmless, is_terminal, one_line, size, width
from a3s_power.core.durations import format_duration

GAP: Final = "    "
WRAP_AT: Final = 30
"""Columns after which a cell is broken between words."""

_CELL_CHARACTERS: Final = 1000
_GREY: Final = "\x1b[38;5;245m"
_BOLD: Final = "\x1b[1m"
_PLAIN: Final = "\x1b[0m"


def table(rows: Iterable[Sequence[str]], header: Sequence[str] = (), *, wrap_at: int = WRAP_AT) -> str:
    """A table with a line end after each row. Rows may have fewer cells than others."""
    cells = [[_Cell(text, wrap_at) for text in row] for row in rows]
    widths: dict[int, int] = {at: width(name) for at, name in enumerate(header)}
    for row in cells:
        widths |= {at: max(widths.get(at, 0), cell.width) for at, cell in enumerate(row)}
    return "".join([*_header(header, widths), *(line for row in cells for line in _row(row, widths))])


class _Cell:
    """A cell's lines, harmless, cut when it is endless, broken at blanks where it is wider than the limit."""

    def __init__(self, text: str, limit: int) -> None:
        clean = one_line(text.replace("\r\n", " ").replace("\n", " "))
        if len(clean) > _CELL_CHARACTERS:
            clean = f"{clean[:_CELL_CHARACTERS]}…"
        whole = width(clean)
        self.lines = [clean] if whole <= limit else [" ".join(words) for words in _broken(clean.split(" "), limit)]
        # A cell that was broken takes the whole limit, even if none of its lines does.
        self.width = max(min(whole, limit), *map(width, self.lines))


def _header(header: Sequence[str], widths: Mapping[int, int]) -> Iterator[str]:
    if header:
        yield f"{GAP.join(_padded(name, widths[at]) for at, name in enumerate(header))} \n"


def _row(row: Sequence[_Cell], widths: Mapping[int, int]) -> Iterator[str]:
    """The lines of a row. Where a cell has no more lines, two blanks stand in its place."""
    for number in range(max((len(cell.lines) for cell in row), default=1)):
        parts = (cell.lines[number] if number < len(cell.lines) else "  " for cell in row)
        yield "".join(f"{_padded(part, widths[at])}{GAP}" for at, part in enumerate(parts)) + "\n"


def _padded(text: str, wide: int) -> str:
    return text + " " * (wide - width(text))


def _broken(words: Sequence[str], limit: int) -> Iterator[Sequence[str]]:
    """The words in lines as even as can be: the squares of the blanks at the lines' ends add up to the least.

    A word that is longer than the limit makes the limit its own width; the last line costs nothing.
    """
    widths = [width(word) for word in words]
    limit = max(limit, *widths)
    costs = [0] * (len(words) + 1)
    ends = [len(words)] * len(words)
    for start in reversed(range(len(words))):
        costs[start], ends[start] = _cheapest(widths, costs, start, limit)
    start = 0
    while start < len(words):
        yield words[start : ends[start]]
        start = ends[start]


def _cheapest(widths: Sequence[int], costs: Sequence[int], start: int, limit: int) -> tuple[int, int]:
    """The least cost of the lines from this word on, and the word after the first of them."""
    choices = []
    taken = -1
    for end in range(start + 1, len(widths) + 1):
        taken += 1 + widths[end - 1]
        if taken > limit:
            break
        choices.append((0 if end == len(widths) else (limit - taken) ** 2 + costs[end], end))
    last = choices[-1]
    return last if last[1] == len(widths) else min(choices)


def print_json(value: object) -> None:
    """Print a value as JSON for another program; on a terminal nothing in it can drive that."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    print(harmless(text) if is_terminal(sys.stdout) else text)


def statistics(answer: dict[str, Any]) -> str:
    """What an answer took, from its last line; only what is more than nothing."""
    return "".join(f"{label:<22}{value}\n" for label, value in _figures(answer))


def _figures(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for label, key in (("total duration:", "total_duration"), ("load duration:", "load_duration")):
        if nanoseconds := answer.get(key, 0):
            yield label, format_duration(nanoseconds)
    for kind in ("prompt_eval", "eval"):
        name = kind.replace("_", " ")
        count, nanoseconds = answer.get(f"{kind}_count", 0), answer.get(f"{kind}_duration", 0)
        if count:
            yield f"{name} count:", f"{count} token(s)"
        if nanoseconds:
            yield f"{name} duration:", format_duration(nanoseconds)
            yield f"{name} rate:", f"{count / nanoseconds * 1e9:.2f} tokens/s"


class Answer:
    """Prints an answer as it comes: words wrapped and escapes made visible on a terminal, the bare text elsewhere."""

    def __init__(self, *, wrap: bool = True, thinking: bool = True) -> None:
        self._terminal = is_terminal(sys.stdout)
        self._wrapper = Wrapper(size(sys.stdout).columns) if wrap and self._terminal else None
        self._show_thinking = thinking
        self._thinking = False
        self._last = ""

    def take(self, said: Mapping[str, Any], text: str) -> None:
        """What one line of a stream says: thoughts, the text, calls of tools."""
        self.thought(said.get("thinking") or "")
        self.text(text)
        for call in said.get("tool_calls") or ():
            self.call(call.get("function") or {})

    def text(self, text: str) -> None:
        """The next piece of the answer."""
        if text:
            self._end_thinking()
            self._say(text)

    def thought(self, text: str) -> None:
        """The next piece of what the model thinks."""
        if not text or not self._show_thinking:
            return
        if not self._thinking:
            self._thinking = True
            self._write(f"{_GREY}{_BOLD}Thinking...\n{_PLAIN}{_GREY}" if self._terminal else "Thinking...\n")
        self._say(text)

    def call(self, function: Mapping[str, Any]) -> None:
        """A call of a tool that nobody offered."""
        self._end_thinking()
        name = str(function.get("name", ""))
        arguments = json.dumps(function.get("arguments", {}), separators=(",", ":"))
        if self._terminal:
            before, between = (
                f"{_GREY}{_BOLD}  Model called a non-existent function {_PLAIN}",
                f"{_GREY}{_BOLD} with arguments: {_PLAIN}",
            )
            self._write(f"{before}'{one_line(name)}()'{between}{one_line(arguments)}\n")
        else:
            self._write(f"  Model called a non-existent function '{name}()' with arguments: {arguments}\n")

    def end(self) -> None:
        """Nothing more comes; what was begun is closed."""
        self._end_thinking()

    def _end_thinking(self) -> None:
        if not self._thinking:
            return
        self._thinking = False
        line_end = "" if self._last == "\n" else "\n"
        mark = f"{_GREY}{_BOLD}...done thinking.\n\n{_PLAIN}" if self._terminal else "...done thinking.\n\n"
        self._write(line_end + mark)
        if self._wrapper:
            self._wrapper.feed("\n")

    def _say(self, text: str) -> None:
        self._last = text[-1]
        if self._terminal:
            text = harmless(text)
        if self._wrapper:
            self._wrapper.resize(size(sys.stdout).columns)
            text = self._wrapper.feed(text)
        self._write(text)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
