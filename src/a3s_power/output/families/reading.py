"""What the readers of named families share: what they are told, what they say, and where a stretch of text ends."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol, Self

import msgspec

from a3s_power.core.events import Thinking
from a3s_power.core.messages import Tool
from a3s_power.output.objects import Objects
from a3s_power.output.thinking import overlap

Called = tuple[str, dict[str, Any]]
"""A call's name and arguments."""
Part = str | Thinking | Called
"""A piece of the answer, of thinking, or a whole call."""
Tools = Mapping[str, Tool]
Read = Callable[[str, Tools], "list[Called] | None"]
"""The calls in what stands between two marks; `None` for what is no call."""


class Prompted(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader must know of the prompt it reads the answer to.

    `opened` says that the prompt ended inside thinking, `begun` is the end of the prompt that the answer goes on with,
    as text that was read already. Without `tools` nothing is read as a call; `names` are those that the prompt calls
    otherwise, with the name they were offered by. With `think` false the client wants no thinking.
    """

    tools: Sequence[Tool] = ()
    names: Mapping[str, str] = {}
    opened: bool = False
    begun: str = ""
    think: bool = True


class Reader(Protocol):
    """Fed text in pieces of any size; what comes out, put together, is the same for every cutting."""

    def feed(self, text: str) -> Sequence[Part]:
        """What this piece makes sure of."""
        ...

    def close(self) -> Sequence[Part]:
        """What was held back, at the end of the answer."""
        ...


class Marks(msgspec.Struct, frozen=True):
    """Some marks, and the pattern of any of them."""

    names: tuple[str, ...]
    pattern: re.Pattern[str]

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, names: tuple[str, ...]) -> Self:
        """These marks; where several begin at one place, the longest is meant."""
        longest_first = sorted(names, key=len, reverse=True)
        return cls(names, re.compile("|".join(map(re.escape, longest_first)) or r"(?!)"))

    def split(self, text: str) -> tuple[str, str, str]:
        """The text before the first mark, the mark and what is behind; without one, the last may be its beginning."""
        found = self.pattern.search(text)
        if found is not None:
            return text[: found.start()], found[0], text[found.end() :]
        sure = len(text) - max((overlap(text, mark) for mark in self.names), default=0)
        return text[:sure], "", text[sure:]


class UntilMark:
    """Gathers text up to a mark. Every character is looked at once."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._parts: list[str] = []
        self._tail = ""

    @property
    def text(self) -> str:
        """What was gathered, without the mark."""
        return "".join(self._parts)

    def feed(self, text: str) -> str | None:
        """What follows the mark, once it is there."""
        window = self._tail + text
        at = window.find(self._mark)
        if at < 0:
            self._parts.append(text)
            kept = len(self._mark) - 1
            self._tail = window[-kept:] if kept else ""
            return None
        whole = self.text + text
        cut = len(whole) - len(window) + at
        self._parts = [whole[:cut]]
        return whole[cut + len(self._mark) :]


class UntilObject:
    """Gathers text up to the end of the first balanced JSON object in it."""

    def __init__(self) -> None:
        self._objects = Objects()
        self._end: int | None = None

    @property
    def text(self) -> str:
        """What was gathered, with the object."""
        return self._objects.text(0, self._objects.size if self._end is None else self._end)

    def feed(self, text: str) -> str | None:
        """What follows the object, once it is there."""
        ends = [end for sign, _, end in self._objects.feed(text) if sign == "{"]
        if not ends:
            return None
        self._end = ends[0]
        return self._objects.text(ends[0], self._objects.size)


Gathering = UntilMark | UntilObject

OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is, if it is one."""
    try:
        return OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
