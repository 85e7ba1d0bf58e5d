"""ToolParser: calls of tools, found behind the model's tag for them, in any of the forms that models write."""

import re
import secrets
import string
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from a3s_power.core.messages import ToolCall
from a3s_power.output.objects import Objects
from a3s_power.output.thinking import overlap

_NAME_KEYS: Final = ("name", "tool_name")
_ARGUMENT_KEYS: Final = ("arguments", "parameters")
_ID_LETTERS: Final = string.ascii_lowercase + string.digits

Found = Iterator[str | ToolCall]


def call_id() -> str:
    """A new call's id, in Ollama's form."""
    return "call_" + "".join(secrets.choice(_ID_LETTERS) for _ in range(8))


class ToolParser:
    """Fed text in pieces of any size; what comes out, put together, is the same for every cutting.

    Behind `tag` every balanced JSON object that names one of `tools`, or follows such a name, is a call. What was
    announced as a call and is none comes out as text; what else stands between and behind calls does not. With a bare
    `{` or `[` for a tag, an answer that begins with anything else is all text.
    """

    def __init__(self, tag: str, tools: Iterable[str], *, new_id: Callable[[], str] = call_id) -> None:
        self._tag = tag
        self._bare = tag in ("{", "[")
        self._new_id = new_id
        self._state: Callable[[str], Found] = self._look_bare if self._bare else self._look
        self._blanks: list[str] = []
        self._partial = ""
        self._said = False
        self._objects = Objects()
        self._names = _Names(tools, self._objects, 0 if self._bare else len(tag))
        self._calls = 0
        self._cut = 0
        self._no_call = 0

    def feed(self, text: str) -> Found:
        """The texts and calls that this piece makes sure of, in order. To be read to its end."""
        return self._state(text)

    def close(self) -> Found:
        """What was held back at the end and is no call after all."""
        if self._state == self._call:
            rest = self._objects.text(self._cut, self._objects.size)
            rest = self._unfinished(rest) if self._calls else self._behind_blanks(rest)
        else:
            rest = self._behind_blanks(self._partial)
        if rest:
            yield rest

    def _unfinished(self, rest: str) -> str:
        """Of what follows the last call: what was begun as another one."""
        begins = [at for at in (rest.find(self._tag), rest.find("{")) if at >= 0]
        return rest[min(begins) :] if begins else ""

    def _look(self, text: str) -> Found:
        before, tag, behind = (self._partial + text).partition(self._tag)
        if tag:
            self._partial, self._state = "", self._call
            yield from self._text(before)
            yield from self._call(tag + behind)
        else:
            sure = len(before) - overlap(before, self._tag)
            self._partial = before[sure:]
            yield from self._text(before[:sure])

    def _text(self, text: str) -> Found:
        """Text of the answer; blanks before all else are held, for in front of a call they are none of it."""
        if not self._said and not text.strip():
            self._blanks.append(text)
        elif text:
            self._said = True
            yield self._behind_blanks(text)

    def _behind_blanks(self, text: str) -> str:
        """A text with the blanks that were held before it."""
        blanks = "".join(self._blanks)
        self._blanks.clear()
        return blanks + text

    def _look_bare(self, text: str) -> Found:
        rest = text.lstrip()
        if not rest:
            self._blanks.append(text)
        elif rest.startswith(self._tag):
            self._blanks.append(text[: len(text) - len(rest)])
            self._state = self._call
            yield from self._call(rest)
        else:
            self._state = self._plain
            yield self._behind_blanks(text)

    def _plain(self, text: str) -> Found:
        if text:
            yield text

    def _call(self, text: str) -> Found:
        for closed, start, end in self._objects.feed(text):
            call = self._read(start, end) if closed == "{" else None
            if call is not None:
                yield from self._refused(start)
                self._calls += 1
                self._cut = end
                self._names.forget(end)
                self._objects.forget_lists()
                yield call
            elif closed == "{" and not self._bare:
                self._no_call = end
            elif closed == self._tag:
                self._state = self._plain
                rest = self._objects.text(self._cut, self._objects.size)
                yield rest if self._calls else self._behind_blanks(rest)
                return

    def _refused(self, start: int) -> Found:
        """What was announced before the call at `start`, by a tag of its own, and was none."""
        if self._no_call > self._cut:
            between = self._objects.text(self._cut, start)
            at = between.rfind(self._tag)
            if self._cut + at >= self._no_call:
                yield between[between.find(self._tag) : at]

    def _read(self, start: int, end: int) -> ToolCall | None:
        """The call that an object is, if it is one."""
        try:
            value = msgspec.json.decode(self._objects.text(start, end), type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            return None
        named, before = _name_in(value), self._names.first(start)
        if named and _given(value) is not None:
            name, arguments = named if self._names.know(named) else "", _given(value)
        elif named or before:
            name, arguments = before, _within(value, before) or value
        else:
            name = self._names.first(end)
            arguments = _within(value, name) or (None if self._bare else value)
        if not name or arguments is None:
            return None
        return ToolCall(name=name, arguments=arguments, id=self._new_id(), index=self._calls)


class _Names:
    """The names of tools, and the first of them in a growing text; no part of it is searched twice."""

    def __init__(self, tools: Iterable[str], objects: Objects, start: int) -> None:
        names = sorted({tool for tool in tools if tool}, key=len, reverse=True)
        self._known = frozenset(names)
        self._longest = len(names[0]) if names else 0
        self._pattern = re.compile("|".join(map(re.escape, names)) or r"(?!)")
        self._objects = objects
        self.forget(start)

    def know(self, name: str) -> bool:
        return name in self._known

    def forget(self, start: int) -> None:
        """Search from `start` on."""
        self._start = self._searched = start
        self._found: tuple[str, int] | None = None

    def first(self, end: int) -> str:
        """The first name that ends at `end` or before, the longest one where several begin; empty without one."""
        if self._found is None and end > self._searched:
            begin = max(self._start, self._searched - self._longest + 1)
            match = self._pattern.search(self._objects.text(begin, end))
            self._found = (match[0], begin + match.end()) if match else None
            self._searched = end
        return self._found[0] if self._found is not None and self._found[1] <= end else ""


def _name_in(value: dict[str, Any]) -> str:
    return next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), "")


def _given(value: dict[str, Any]) -> dict[str, Any] | None:
    """The arguments that stand beside a name: an object, or a text that holds one."""
    for key in _ARGUMENT_KEYS:
        arguments = value.get(key)
        if isinstance(arguments, str):
            try:
                arguments = msgspec.json.decode(arguments)
            except (msgspec.DecodeError, RecursionError):
                continue
        if isinstance(arguments, dict):
            return arguments
    return None


def _within(value: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The arguments of `name` somewhere inside an object: beside the name, under it, or deeper."""
    waiting: list[Any] = [value]
    while waiting:
        inside = waiting.pop()
        if isinstance(inside, list):
            waiting += reversed(inside)
        elif isinstance(inside, dict):
            if _name_in(inside) == name and (given := _given(inside)) is not None:
                return given
            if isinstance(under := inside.get(name), dict):
                return under
            waiting += reversed(inside.values())
    return None
