"""Channels: an answer of several messages, each with a header that says whom it is for. Harmony and Glimmer."""

import re
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from a3s_power.core.events import Thinking
from a3s_power.core.messages import Tool
from a3s_power.output.families import values
from a3s_power.output.families.reading import Called, Marks, Part, Prompted, json_object


class To(msgspec.Struct, frozen=True):
    """Whom a message is for: the reader, the model itself, or a tool."""

    kind: Literal["answer", "thinking", "call"]
    tool: str = ""


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How a family marks its messages, what their headers say, and how it writes a call's arguments."""

    start: str = "<|start|>"
    message: str = "<|message|>"
    ends: tuple[str, ...]
    addressed: Callable[[str], To]
    call: Callable[[str, str, Tool | None], Called | None]


class Channels:
    """Reads such an answer. A message to a tool that is no call comes out as text, and so does one without header."""

    def __init__(self, form: Form, prompted: Prompted) -> None:
        self._form = form
        self._names = prompted.names
        self._tools = {tool.name: tool for tool in prompted.tools}
        self._header_marks = Marks.of((form.message, *form.ends))
        self._body_marks = Marks.of((form.start, *form.ends))
        self._held = ""
        self._header: list[str] = []
        self._body: list[str] = []
        self._to = To("answer")
        self._state: Callable[[str, list[Part]], str] = self._read_header
        self.feed(prompted.begun)

    def feed(self, text: str) -> Sequence[Part]:
        """What this piece makes sure of."""
        said: list[Part] = []
        while text:
            text = self._state(text, said)
        return said

    def close(self) -> Sequence[Part]:
        """What was held back: a call that its end closes, or text that no header announced."""
        said: list[Part] = []
        held, self._held = self._held, ""
        if self._state == self._read_body:
            self._say(held, said)
            self._end(said)
        elif (text := self._unannounced("".join((*self._header, held)))).strip():
            said.append(text)
        return said

    def _unannounced(self, header: str) -> str:
        """What of an unfinished header is no header: the words behind its role."""
        text = header.rpartition(self._form.start)[2].removeprefix("assistant")
        return "" if text.lstrip().startswith(("<|", "to=")) else text

    def _read_header(self, text: str, said: list[Part]) -> str:  # noqa: ARG002 -- a state
        before, mark, rest = self._scan(self._header_marks, text)
        self._header.append(before)
        if mark == self._form.message:
            header = "".join(self._header)
            self._to = self._form.addressed(header.rpartition(self._form.start)[2])
            self._state = self._read_body
        if mark:
            self._header.clear()
        return rest

    def _read_body(self, text: str, said: list[Part]) -> str:
        before, mark, rest = self._scan(self._body_marks, text)
        self._say(before, said)
        if mark:
            self._end(said)
            self._state = self._read_header
        return rest

    def _scan(self, marks: Marks, text: str) -> tuple[str, str, str]:
        before, mark, behind = marks.split(self._held + text)
        self._held = "" if mark else behind
        return before, mark, behind if mark else ""

    def _say(self, text: str, said: list[Part]) -> None:
        if not text:
            return
        match self._to.kind:
            case "answer":
                said.append(text)
            case "thinking":
                said.append(Thinking(text))
            case "call":
                self._body.append(text)

    def _end(self, said: list[Part]) -> None:
        if self._to.kind != "call":
            return
        body = "".join(self._body)
        self._body.clear()
        name = self._names.get(self._to.tool, self._to.tool)
        call = self._form.call(name, body, self._tools.get(name)) if self._tools else None
        if call is not None:
            said.append(call)
        elif body:
            said.append(body)


def _harmony_header(header: str) -> To:
    """`role<|channel|>NAME to=RECIPIENT <|constrain|>json`, the recipient before or behind the channel."""
    text = header.replace("<|constrain|>", " <|constrain|>")
    before, _, behind = text.partition("<|channel|>")
    channel, *more = behind.split() or [""]
    recipient = next((word[3:] for word in (*before.split(), *more) if word.startswith("to=")), "")
    if not recipient and "to=" in before:
        recipient = before.partition("to=")[2].split()[0] if before.partition("to=")[2].split() else ""
    if recipient and channel != "final":
        return To("call", recipient.removeprefix("functions."))
    return To("thinking" if channel == "analysis" else "answer")


def _json_call(name: str, body: str, tool: Tool | None) -> Called | None:  # noqa: ARG001 -- the body says it all
    arguments = json_object(body)
    return (name, arguments) if arguments is not None else None


def _glimmer_header(header: str) -> To:
    found = re.search(r"to=(\S+)", header)
    if found is None:
        return To("answer")
    return To("thinking") if found[1] == "self" else To("call", found[1])


_INVOKE: Final = "<atem:invoke name="
_PARAMETER: Final = "<atem:parameter name="


def _atem_call(name: str, body: str, tool: Tool | None) -> Called | None:
    """`<atem:invoke name="TOOL"><atem:parameter name="K">V</atem:parameter>…</atem:invoke>`, typed by the schema."""
    _, invoke, rest = body.partition(_INVOKE)
    inside, closed, _ = rest.partition("</atem:invoke>")
    if not (invoke and closed):
        return None
    _, *parameters = inside.split(_PARAMETER)
    arguments: dict[str, object] = {}
    for each in parameters:
        key, sign, value = each.partition(">")
        if not sign:
            return None
        key = key.strip().strip('"')
        arguments[key] = values.of_parameter(tool, key, value.partition("</atem:parameter>")[0])
    return name, arguments


HARMONY: Final = Form(ends=("<|end|>", "<|call|>", "<|return|>"), addressed=_harmony_header, call=_json_call)
GLIMMER: Final = Form(ends=("<|eom|>", "<|eot|>"), addressed=_glimmer_header, call=_atem_call)
