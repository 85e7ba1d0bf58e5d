"""Items: what a response is asked with and what it is made of, and the conversation that a list of them becomes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from a3s_power.api.asked import few
from a3s_power.api.openai.messages import image
from a3s_power.core import limits
from a3s_power.core.errors import BadRequest
from a3s_power.core.messages import Message, ToolCall

Item = dict[str, Any]

_GO_KINDS: Final = {bool: "bool", int: "number", float: "number", dict: "object", str: "string"}
_NEITHER: Final = "must be a string or array: json: cannot unmarshal {} into Go value of type []json.RawMessage"
"""The reference's words for a field that is neither a text nor a list."""
_TEXTS: Final = frozenset({"input_text", "output_text"})

Said = tuple[str, tuple[bytes, ...]]
"""Text, and the images in it in their order."""


def listed(sent: object) -> list[Any]:
    """The items of a request's `input`, which may be a text alone. Raises BadRequest for what is neither."""
    match sent:
        case None | "":
            return []
        case str():
            return [{"type": "message", "role": "user", "content": sent}]
        case list():
            return sent
    raise BadRequest(f"input {_NEITHER.format(_GO_KINDS[type(sent)])}")


def conversation(items: Sequence[object], instructions: str) -> tuple[Message, ...]:
    """The messages, the instructions before them. Raises BadRequest with the place of the first wrong item."""
    reading = _Reading(items)
    for place, item in enumerate(items):
        try:
            reading.take(place, item)
        except BadRequest as error:
            raise BadRequest(f"input[{place}]: {error.message}") from None
    first = (Message(role="system", content=instructions),) if instructions else ()
    messages = first + reading.messages()
    few("messages", len(messages), limits.MESSAGES)
    few("images", sum(len(message.images) for message in messages), limits.IMAGES)
    return messages


class _Reading:
    """What the items so far have come to."""

    def __init__(self, items: Iterable[object]) -> None:
        self._messages: list[Message] = []
        self._thinking = ""
        self._names: dict[str, str] = {}
        self._answered = _last_outputs(items)

    def messages(self) -> tuple[Message, ...]:
        """The conversation; a thought that nothing came after is a message of its own."""
        last = (Message(role="assistant", thinking=self._thinking),) if self._thinking else ()
        return (*self._messages, *last)

    def take(self, place: int, item: object) -> None:
        """Read one more item."""
        if not isinstance(item, dict):
            raise BadRequest("an item must be an object")
        match item.get("type") or ("message" if "role" in item else None):
            case "message":
                self._take_message(place, item)
            case "function_call":
                self._take_call(item)
            case "function_call_output":
                self._take_output(item)
            case "reasoning":
                self._thinking += _thought(item)
            case "web_search_call":
                pass
            case None:
                raise BadRequest("input item missing required 'type' field")
            case other:
                raise BadRequest(f'unknown input item type: "{other}"')

    def _take_message(self, place: int, item: Item) -> None:
        text, images = _said(item.get("content"), "content")
        role = _text(item, "role").lower()
        if role == "assistant" and self._between(place):
            calling = self._messages.pop()
            both = "\n".join(filter(None, (calling.content, text)))
            self._append(msgspec.structs.replace(calling, content=both, images=calling.images + images))
        else:
            # Templates know no developer.
            self._append(Message(role="system" if role == "developer" else role, content=text, images=images))

    def _between(self, place: int) -> bool:
        """Whether the last message holds a call that is answered later than `place`."""
        calls = self._messages[-1].tool_calls if self._messages else ()
        return any(self._answered.get(call.id, -1) > place for call in calls)

    def _take_call(self, item: Item) -> None:
        name, call_id, namespace = _text(item, "name"), _text(item, "call_id"), _text(item, "namespace")
        name = inside(namespace, name) if namespace else name
        self._names[call_id] = name
        before = self._messages[-1] if self._messages else Message()
        call = ToolCall(name=name, arguments=_arguments(item), id=call_id, index=len(before.tool_calls))
        if before.role == "assistant":
            self._messages.pop()
            self._append(msgspec.structs.replace(before, tool_calls=(*before.tool_calls, call)))
        else:
            self._append(Message(role="assistant", tool_calls=(msgspec.structs.replace(call, index=0),)))

    def _take_output(self, item: Item) -> None:
        text, images = _said(item.get("output"), "output")
        call_id = _text(item, "call_id")
        name = self._names.get(call_id, "")
        self._append(Message(role="tool", content=text, images=images, tool_name=name, tool_call_id=call_id))

    def _append(self, message: Message) -> None:
        """Add a message; one of the model's own has thought what was thought before it."""
        if self._thinking and message.role == "assistant":
            message = msgspec.structs.replace(message, thinking=message.thinking + self._thinking)
            self._thinking = ""
        self._messages.append(message)


def inside(namespace: str, name: str) -> str:
    """What a tool of a namespace is called to the model."""
    return name if name.startswith(f"{namespace}.") else f"{namespace}.{name}"


def _last_outputs(items: Iterable[object]) -> Mapping[str, int]:
    """Where each call is answered for the last time."""
    places: dict[str, int] = {}
    for place, item in enumerate(items):
        match item:
            case {"type": "function_call_output", "call_id": str() as call_id}:
                places[call_id] = place
    return places


def _text(item: Item, name: str) -> str:
    found = item.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise BadRequest(f"{name} must be a string")
    return found


def _arguments(item: Item) -> dict[str, Any]:
    sent = _text(item, "arguments")
    if not sent:
        return {}
    try:
        return msgspec.json.decode(sent, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise BadRequest(f"failed to parse function call arguments: {error}") from None


def _thought(item: Item) -> str:
    """What was thought, as it was given out: whole, where that is there, else in parts."""
    whole = _text(item, "encrypted_content")
    if whole:
        return whole
    parts = item.get("content") or item.get("summary") or []
    if not isinstance(parts, list):
        raise BadRequest("content and summary of a thought must be arrays")
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def _said(sent: object, field: str) -> Said:
    """The text and the images of a message's content, or of what a tool gave back."""
    match sent:
        case None:
            return "", ()
        case str():
            return sent, ()
        case list():
            parts = [_part(place, part) for place, part in enumerate(sent)]
            texts = "".join(part for part in parts if isinstance(part, str))
            return texts, tuple(part for part in parts if isinstance(part, bytes))
    raise BadRequest(f"{field} {_NEITHER.format(_GO_KINDS[type(sent)])}")


def _part(place: int, part: object) -> str | bytes:
    match part:
        case {"type": str() as kind, "text": str() as text} if kind in _TEXTS:
            return text
        case {"type": str() as kind} if kind in _TEXTS:
            return ""
        case {"type": "input_image", "image_url": str() as url} if url:
            try:
                return image(url)
            except BadRequest as error:
                raise BadRequest(f"content[{place}]: {error.message}") from None
        case {"type": "input_image"}:
            return ""
        case {"type": "input_file"}:
            raise BadRequest(f"content[{place}]: file inputs are not currently supported")
        case {"type": other}:
            raise BadRequest(f"content[{place}]: unknown content type: {other}")
    raise BadRequest(f"content[{place}]: content part missing required 'type' field")
