"""Blocks: an answer of thinking, text, and calls that stand between marks; what most families write."""

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from a3s_power.core.events import Thinking
from a3s_power.output.families.reading import Called, Gathering, Marks, Part, Prompted, Read, UntilMark, UntilObject


class Block(msgspec.Struct, frozen=True):
    """Where calls stand. Without a `closing` mark a block ends with the first JSON object in it."""

    opening: str
    closing: str
    read: Read


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What a family writes.

    `thinking` stands at the head of the answer, or `anywhere` in it; a call ends it too. Where it is `unwanted` it is
    not shown unless the client asks for it. `silent` marks stand for nothing. `bare` reads calls from an answer that is
    nothing else, which may be so as long as it matches `may_be_bare`: the beginning of a `call`, or of an `object`.
    """

    blocks: tuple[Block, ...]
    thinking: tuple[str, str] | None = None
    anywhere: bool = False
    unwanted: bool = False
    silent: tuple[str, ...] = ()
    bare: Read | None = None
    may_be_bare: re.Pattern[str] | None = None


class Blocks:
    """Reads an answer of such a form.

    Blanks around thinking and calls are layout and are left out. A block that holds no call comes out as text.
    """

    def __init__(self, form: Form, prompted: Prompted) -> None:
        self._form = form
        self._tools = {tool.name: tool for tool in prompted.tools}
        blocks = form.blocks if prompted.tools else ()
        self._blocks: Final = {block.opening: block for block in blocks}
        self._show = prompted.think or not form.unwanted
        opening = (form.thinking[0],) if form.thinking is not None and form.anywhere else ()
        self._answer_marks = Marks.of((*self._blocks, *form.silent, *opening))
        closing = (form.thinking[1],) if form.thinking is not None else ()
        self._thinking_marks = Marks.of((*closing, *self._blocks))
        self._blanks: list[str] = []
        self._held = ""
        self._layout = False
        self._block: Block | None = None
        self._gathering: Gathering | None = None
        self._bare: list[str] = []
        opened = prompted.opened and form.thinking is not None
        self._state: Callable[[str, list[Part]], str] = self._think_first if opened else self._look

    def feed(self, text: str) -> Sequence[Part]:
        """What this piece makes sure of."""
        said: list[Part] = []
        while text:
            text = self._state(text, said)
        return said

    def close(self) -> Sequence[Part]:
        """What was held back; a call that is whole but for its closing mark is one."""
        said: list[Part] = []
        if self._gathering is not None and self._block is not None:
            self._finish(self._block, self._gathering.text, said, closed=False)
        if self._bare:
            self._finish_bare("".join(self._bare), said)
        rest = self._released() + self._held
        self._held = ""
        if not rest or (self._state == self._think and not rest.strip()):
            return said
        self._say(rest, said)
        return said

    def _look(self, text: str, said: list[Part]) -> str:  # noqa: ARG002 -- a state
        """The head of the answer: thinking, calls and nothing else, or an answer."""
        text, self._held = self._held + text, ""
        rest = text.lstrip()
        if self._form.thinking is not None and not self._form.anywhere:
            opening = self._form.thinking[0]
            if rest.startswith(opening):
                self._blanks.clear()
                self._state = self._think_first
                return rest[len(opening) :]
            if opening.startswith(rest):
                return self._wait(text, rest)
        if not rest:
            return self._wait(text, rest)
        pattern = self._form.may_be_bare if self._tools else None
        if pattern is not None and (match := pattern.match(rest)):
            begun = match.groupdict()
            if begun.get("object") or begun["call"] in self._tools:
                self._state = self._gather_bare
                return rest
            if match.end() == len(rest) and not begun["call"]:
                return self._wait(text, rest)
        self._state = self._answer
        return text

    def _wait(self, text: str, rest: str) -> str:
        self._blanks.append(text[: len(text) - len(rest)])
        self._held = rest
        return ""

    def _gather_bare(self, text: str, said: list[Part]) -> str:  # noqa: ARG002 -- a state
        self._bare.append(text)
        return ""

    def _finish_bare(self, text: str, said: list[Part]) -> None:
        calls = self._form.bare(text.strip(), self._tools) if self._form.bare is not None else None
        if calls and all(name in self._tools for name, _ in calls):
            self._blanks.clear()
            said += calls
        else:
            said.append(self._released() + text)

    def _think_first(self, text: str, said: list[Part]) -> str:  # noqa: ARG002 -- a state
        """Blanks, and the opening mark once more where the model repeats it."""
        rest = (self._held + text).lstrip()
        self._held = ""
        opening = self._form.thinking[0] if self._form.thinking is not None else ""
        if opening and rest.startswith(opening):
            rest = rest[len(opening) :].lstrip()
            self._layout = True
        elif not rest or (opening and opening.startswith(rest)):
            self._held = rest
            return ""
        self._state = self._think
        self._layout = True
        return rest

    def _think(self, text: str, said: list[Part]) -> str:
        mark, rest = self._scan(self._thinking_marks, text, said)
        if mark:
            self._layout = True
            self._state = self._answer
            self._open(mark)
        return rest

    def _answer(self, text: str, said: list[Part]) -> str:
        mark, rest = self._scan(self._answer_marks, text, said)
        if mark:
            self._layout = True
            if self._form.thinking is not None and mark == self._form.thinking[0]:
                self._state = self._think_first
            else:
                self._open(mark)
        return rest

    def _open(self, mark: str) -> None:
        block = self._blocks.get(mark)
        if block is not None:
            self._block = block
            self._gathering = UntilMark(block.closing) if block.closing else UntilObject()
            self._state = self._gather

    def _gather(self, text: str, said: list[Part]) -> str:
        block, gathering = self._block, self._gathering
        if block is None or gathering is None:
            return text
        rest = gathering.feed(text)
        if rest is None:
            return ""
        self._finish(block, gathering.text, said, closed=True)
        return rest

    def _finish(self, block: Block, body: str, said: list[Part], *, closed: bool) -> None:
        self._block = self._gathering = None
        self._state = self._answer
        calls: list[Called] | None = block.read(body, self._tools)
        if calls is None:
            self._layout = False
            said.append(self._released() + block.opening + body + (block.closing if closed else ""))
        else:
            self._blanks.clear()
            self._layout = True
            said += calls

    def _scan(self, marks: Marks, text: str, said: list[Part]) -> tuple[str, str]:
        """Say what stands before the first mark; the mark, if it is there, and what follows it."""
        before, mark, behind = marks.split(self._held + text)
        self._held = "" if mark else behind
        self._pass(before, said)
        if mark and (self._state == self._think or mark not in self._blocks):
            self._blanks.clear()
        return mark, behind if mark else ""

    def _pass(self, text: str, said: list[Part]) -> None:
        """Say a text up to the blanks at its end, which may be layout; blanks behind a mark are."""
        if self._layout:
            text = text.lstrip()
        body = text.rstrip()
        if body:
            self._layout = False
            self._say(self._released() + body, said)
        if text:
            self._blanks.append(text[len(body) :])

    def _released(self) -> str:
        blanks = "".join(self._blanks)
        self._blanks.clear()
        return blanks

    def _say(self, text: str, said: list[Part]) -> None:
        if self._state not in (self._think, self._think_first):
            said.append(text)
        elif self._show:
            said.append(Thinking(text))
