"""Messages as OpenAI's clients write them, and the conversation they become."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from a3s_power.api.asked import few, file
from a3s_power.core import limits
from a3s_power.core.errors import BadRequest
from a3s_power.core.messages import Message, ToolCall

_IMAGE_PREFIXES: Final = (
    *(f"data:image/{kind};base64," for kind in ("jpeg", "jpg", "png", "webp")),
    "data:;base64,",
)
_GO_KINDS: Final = {
    type(None): "<nil>",
    bool: "bool",
    int: "float64",
    float: "float64",
    dict: "map[string]interface {}",
}
"""What the reference calls a value of a type it does not take."""


class SentFunction(msgspec.Struct, frozen=True, kw_only=True):
    """Which tool was called, with what: a JSON object as a text."""

    name: str = ""
    arguments: str = ""


class SentCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a tool in an earlier answer."""

    id: str = ""
    function: SentFunction = SentFunction()


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One message. `content` is a text or a list of parts; the two kinds of reasoning are two clients' words for it."""

    role: str = ""
    content: Any = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[SentCall, ...] | None = None
    name: str | None = None
    tool_call_id: str | None = None


def conversation(turns: Iterable[Turn]) -> tuple[Message, ...]:
    """The messages. Raises BadRequest for the first that cannot be read."""
    names: dict[str, str] = {}
    messages = tuple([_message(turn, names) for turn in turns])
    few("messages", len(messages), limits.MESSAGES)
    few("images", sum(len(message.images) for message in messages), limits.IMAGES)
    return messages


def _message(turn: Turn, names: dict[str, str]) -> Message:
    """One of them. `names` are the tools by the ids of their calls so far."""
    content, files = _content(turn)
    calls = tuple([_call(index, call) for index, call in enumerate(turn.tool_calls or ())])
    names.update((call.id, call.name) for call in calls)
    role, answered = turn.role.lower(), turn.tool_call_id or ""
    return Message(
        # Templates know no developer.
        role="system" if role == "developer" else role,
        content=content,
        thinking=turn.reasoning or turn.reasoning_content or "",
        images=files,
        tool_calls=calls,
        tool_name=(turn.name or names.get(answered, "")) if role == "tool" else "",
        tool_call_id=answered,
    )


def _call(index: int, call: SentCall) -> ToolCall:
    try:
        arguments = msgspec.json.decode(call.function.arguments, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise BadRequest("invalid tool call arguments") from None
    return ToolCall(name=call.function.name, arguments=arguments, id=call.id, index=index)


def _content(turn: Turn) -> tuple[str, tuple[bytes, ...]]:
    """The text of a message, and the files in it in their order."""
    match turn.content:
        case str() as text:
            return text, ()
        case None if turn.tool_calls is not None:
            return "", ()
        case list() as parts:
            said = [_part(part) for part in parts]
            return "".join(each for each in said if isinstance(each, str)), tuple(
                each for each in said if isinstance(each, bytes)
            )
    raise BadRequest(f"invalid message content type: {_GO_KINDS[type(turn.content)]}")


def _part(part: object) -> str | bytes:
    """A text, or what is in a file."""
    match part:
        case {"type": "text", "text": str() as text}:
            return text
        case {"type": "image_url", "image_url": {"url": str() as url}} | {
            "type": "image_url",
            "image_url": str() as url,
        }:
            return image(url)
        case {"type": "input_audio", "input_audio": sent}:
            return _audio(sent)
        case {"type": "input_audio"}:
            raise BadRequest("invalid input_audio format")
    raise BadRequest("invalid message format")


def image(url: str) -> bytes:
    """The image in a data URL. Raises BadRequest for what is none."""
    if url.startswith(("http://", "https://")):
        raise BadRequest("image URLs are not currently supported, please use base64 encoded data instead")
    prefix = next((prefix for prefix in _IMAGE_PREFIXES if url.startswith(prefix)), None)
    if prefix is None:
        raise BadRequest("invalid image input")
    data = url.removeprefix(prefix)
    try:
        return file(data)
    except BadRequest:
        if len(data) > limits.IMAGE_BYTES:
            raise
        raise BadRequest("invalid image input") from None


def _audio(sent: object) -> bytes:
    if not isinstance(sent, dict):
        raise BadRequest("invalid input_audio format")
    data = sent.get("data")
    if not isinstance(data, str) or not data:
        raise BadRequest("invalid input_audio format: missing data")
    try:
        return file(data)
    except BadRequest as error:
        raise BadRequest(f"invalid input_audio base64 data: {error.message}") from None
