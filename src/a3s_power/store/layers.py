"""A model's layers: put one in, and read what lies in the small ones: texts, and Ollama's JSON."""

from collections.abc import Iterable
from typing import Any, BinaryIO

import msgspec

from a3s_power.core.errors import BadManifest
from a3s_power.core.manifest import Layer, go_json
from a3s_power.core.messages import Message, ToolCall
from a3s_power.store.blobs import Blobs


class _Function(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    index: int = 0
    name: str
    arguments: dict[str, Any] = {}


class _ToolCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str = ""
    function: _Function


class _Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message as Ollama's API and its stores write it; images are base64."""

    role: str = ""
    content: str = ""
    thinking: str = ""
    images: list[bytes] = []
    tool_calls: list[_ToolCall] = []
    tool_name: str = ""
    tool_call_id: str = ""


def put(
    blobs: Blobs, media_type: str, content: bytes | BinaryIO | Iterable[bytes], *, source: str = ""
) -> tuple[Layer, bool]:
    """Store content as a layer; the layer, and whether its blob is new. Raises DiskFull."""
    digest, created = blobs.put(content)
    return Layer(media_type=media_type, digest=str(digest), size=blobs.size(digest), source=source), created


def read_text(content: bytes) -> str:
    """The text of a template, system or license layer. Raises BadManifest when it is no UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BadManifest("a text layer is not valid UTF-8") from error


def read_parameters(content: bytes) -> dict[str, Any]:
    """The options of a params layer, as they stand there. Raises BadManifest."""
    try:
        return msgspec.json.decode(content, type=dict[str, Any] | None) or {}
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadManifest(f"params layer cannot be read: {error}") from error


def write_parameters(parameters: dict[str, Any]) -> bytes:
    """The params layer: keys sorted, whole numbers without a fraction, as Go writes them."""
    return go_json({name: _go_number(value) for name, value in parameters.items()}, order="sorted") + b"\n"


def _go_number(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e21 else value


def read_messages(content: bytes) -> tuple[Message, ...]:
    """The conversation of a messages layer. Raises BadManifest."""
    try:
        read = msgspec.json.decode(content, type=list[dict[str, Any]] | None) or []
        # Go takes a null for an absent field.
        said = [{key: value for key, value in message.items() if value is not None} for message in read]
        return tuple(_to_core(message) for message in msgspec.convert(said, list[_Message]))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadManifest(f"messages layer cannot be read: {error}") from error


def _to_core(message: _Message) -> Message:
    return Message(
        role=message.role,
        content=message.content,
        thinking=message.thinking,
        images=tuple(message.images),
        tool_calls=tuple(
            ToolCall(name=call.function.name, arguments=call.function.arguments, id=call.id, index=call.function.index)
            for call in message.tool_calls
        ),
        tool_name=message.tool_name,
        tool_call_id=message.tool_call_id,
    )


def write_messages(messages: tuple[Message, ...]) -> bytes:
    """The messages layer: of each message role and content, and of the rest what is there."""
    return go_json([_fields(message) for message in messages]) + b"\n"


def _fields(message: Message) -> dict[str, Any]:
    calls = [
        _ToolCall(id=call.id, function=_Function(index=call.index, name=call.name, arguments=call.arguments))
        for call in message.tool_calls
    ]
    optional = {
        "thinking": message.thinking,
        "images": message.images,
        "tool_calls": calls,
        "tool_name": message.tool_name,
        "tool_call_id": message.tool_call_id,
    }
    return {"role": message.role, "content": message.content} | {key: value for key, value in optional.items() if value}
