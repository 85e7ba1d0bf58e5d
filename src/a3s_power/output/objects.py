"""Objects: where balanced braces and brackets end in a text that comes in pieces."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Literal

_OUTSIDE_STRINGS = re.compile(r'["{}\[\]]')
_INSIDE_STRINGS = re.compile(r'["\\]')

Closed = tuple[Literal["{", "["], int, int]
"""The sign that opened it, and from where to where it goes in the whole text."""


class Objects:
    """The text so far, and what balances in it; double-quoted strings are looked past.

    Every character is looked at once, and no piece is copied until it is asked for.
    """

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[str] = []
        self._starts: list[int] = []
        self._in_string = False
        self._escaped = False
        self._braces = 0
        self._brackets = 0
        self._object_start = 0
        self._list_start = 0

    def text(self, start: int, end: int) -> str:
        """A part of the whole text."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        last = bisect_right(self._starts, end)
        base = self._starts[first] if self._starts else 0
        return "".join(self._pieces[first:last])[start - base : end - base]

    def forget_lists(self) -> None:
        """Count brackets anew from here on."""
        self._brackets = 0

    def feed(self, text: str) -> Iterator[Closed]:
        """The objects and lists that end in this piece, outermost ones only, in order. To be read to its end."""
        base = self.size
        self._pieces.append(text)
        self._starts.append(base)
        self.size += len(text)
        at = 0
        while (at := self._next(text, at)) > 0:
            closed = self._mark(text[at - 1], base + at)
            if closed is not None:
                yield closed

    def _next(self, text: str, at: int) -> int:
        """The place behind the next sign that means something, 0 when there is none."""
        while at < len(text):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            found = (_INSIDE_STRINGS if self._in_string else _OUTSIDE_STRINGS).search(text, at)
            if found is None:
                break
            at = found.end()
            if found[0] == '"':
                self._in_string = not self._in_string
            elif found[0] == "\\":
                self._escaped = True
            else:
                return at
        return 0

    def _mark(self, sign: str, end: int) -> Closed | None:
        match sign:
            case "{":
                if self._braces == 0:
                    self._object_start = end - 1
                self._braces += 1
            case "[":
                if self._brackets == 0:
                    self._list_start = end - 1
                self._brackets += 1
            case "}" if self._braces:
                self._braces -= 1
                if self._braces == 0:
                    return "{", self._object_start, end
            case "]" if self._brackets:
                self._brackets -= 1
                if self._brackets == 0:
                    return "[", self._list_start, end
        return None
