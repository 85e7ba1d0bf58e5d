"""Messages of content blocks, and the conversation they become."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from a3s_power.api.asked import few, file
from a3s_power.core import limits
from a3s_power.core.errors import BadRequest
from a3s_power.core.messages import Message, ToolCall
from a3s_power.log import get_logger

_log: Final = get_logger(__name__)


class Block(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A content block of any type, with what of it is read; fields that differ between types are of any shape."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    source: Any = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    tool_use_id: str | None = None
    content: Any = None


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A message: a text, or blocks."""

    role: str = ""
    content: str | tuple[Block, ...] | None = None

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Its content as blocks."""
        if isinstance(self.content, str):
            return (Block(type="text", text=self.content),)
        return self.content or ()


def conversation(turns: Iterable[Turn]) -> tuple[Message, ...]:
    """The messages, each split into those a model knows. Raises BadRequest for the first block that cannot be read."""
    names: dict[str, str] = {}
    messages = tuple([message for turn in turns for message in _split(turn, names)])
    few("messages", len(messages), limits.MESSAGES)
    few("images", sum(len(message.images) for message in messages), limits.IMAGES)
    return messages


def _split(turn: Turn, names: dict[str, str]) -> Iterator[Message]:
    """What a turn says, and the results of tools in it: those of a user come before what the user says about them."""
    role, read = turn.role.lower(), _Reader(names)
    for block in turn.blocks:
        read.take(block)
    said = read.said(role)
    whole = [said] if said else []
    yield from [*read.results, *whole] if role == "user" else [*whole, *read.results]


class _Reader:
    """The blocks of one message, read in order. `names` are the tools by the ids of their calls so far."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._texts: list[str] = []
        self._images: list[bytes] = []
        self._calls: list[ToolCall] = []
        self._thinking = ""
        self.results: list[Message] = []

    def take(self, block: Block) -> None:
        """Read the next block. Raises BadRequest."""
        match block.type:
            case "text":
                self._texts.append(block.text or "")
            case "image":
                self._images.append(_image(block.source, "invalid image source"))
            case "thinking":
                self._thinking = block.thinking or ""
            case "tool_use" | "server_tool_use":
                self._calls.append(self._call(block))
            case "tool_result":
                self.results.append(self._result(block))
            case "web_search_tool_result":
                self.results.append(self._message(block, _found(block.content)))
            case "document" if (text := _text_of(block.source)) is not None:
                self._texts.append(text)
            case _:
                _log.info("a content block of a request is left out", type=block.type)

    def said(self, role: str) -> Message | None:
        """The message without its results of tools; `None` when nothing is left."""
        message = Message(
            role=role,
            content="".join(self._texts),
            thinking=self._thinking,
            images=tuple(self._images),
            tool_calls=tuple(self._calls),
        )
        return message if message.content or message.thinking or message.images or message.tool_calls else None

    def _call(self, block: Block) -> ToolCall:
        if not block.id:
            raise BadRequest("tool_use block missing required 'id' field")
        if not block.name:
            raise BadRequest("tool_use block missing required 'name' field")
        if not isinstance(block.input, dict | None):
            raise BadRequest("tool_use block 'input' must be an object")
        self._names[block.id] = block.name
        return ToolCall(name=block.name, arguments=block.input or {}, id=block.id, index=len(self._calls))

    def _result(self, block: Block) -> Message:
        if isinstance(block.content, str | None):
            return self._message(block, block.content or "")
        texts, images = [], []
        for part in _parts(block.content):
            match part.type:
                case "text":
                    texts.append(part.text or "")
                case "image":
                    images.append(_image(part.source, "invalid tool_result image source"))
                case "document" if (text := _text_of(part.source)) is not None:
                    texts.append(text)
                case _:
                    _log.info("a content block of a tool's result is left out", type=part.type)
        return self._message(block, "".join(texts), tuple(images))

    def _message(self, block: Block, content: str, images: tuple[bytes, ...] = ()) -> Message:
        answered = block.tool_use_id or ""
        return Message(
            role="tool",
            content=content,
            images=images,
            tool_name=self._names.get(answered, ""),
            tool_call_id=answered,
        )


def _parts(content: object) -> tuple[Block, ...]:
    try:
        return msgspec.convert(content, tuple[Block, ...])
    except msgspec.ValidationError as error:
        raise BadRequest(f"invalid tool_result content: {error}") from None


def _image(source: object, complaint: str) -> bytes:
    if not isinstance(source, dict):
        raise BadRequest(complaint)
    if source.get("type") != "base64":
        kind = source.get("type", "")
        raise BadRequest(f"invalid image source type: {kind}. Only base64 images are supported.")
    data = source.get("data", "")
    if not isinstance(data, str):
        raise BadRequest(complaint)
    try:
        return file(data)
    except BadRequest as error:
        raise BadRequest(f"invalid base64 image data: {error.message}") from None


def _text_of(source: object) -> str | None:
    """The text of a document that is plain text."""
    match source:
        case {"type": "text", "data": str() as text}:
            return text
    return None


def _found(content: object) -> str:
    """What a search of the web found, a line each, or why it found nothing."""
    match content:
        case {"error_code": code}:
            return f"web_search_tool_result_error: {code}"
        case list():
            results = [result for result in content if isinstance(result, dict)]
            return "\n".join(f"- {result.get('title', '')}: {result.get('url', '')}" for result in results)
    return ""


def size(turns: Iterable[Turn]) -> int:
    """Bytes of roles and contents: texts as they are, calls and results as JSON, images none."""
    return sum(len(turn.role.encode()) + sum(_block_size(block) for block in turn.blocks) for turn in turns)


def _block_size(block: Block) -> int:
    match block.type:
        case "text":
            return len((block.text or "").encode())
        case "thinking":
            return len((block.thinking or "").encode())
        case "tool_use" | "tool_result":
            return len(msgspec.json.encode(block))
    return 0
