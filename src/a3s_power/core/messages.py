"""Message, Tool and ToolCall: a conversation, whatever the dialect it came in."""

from typing import Any, Literal

import msgspec

Role = str
"""Lower case; mostly `system`, `user`, `assistant` or `tool`, but unknown ones reach the template as they are."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a tool by the model. `arguments` is a JSON object."""

    name: str
    arguments: dict[str, Any]
    id: str = ""
    index: int = 0


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool offered to the model. `parameters` is the JSON Schema exactly as the client wrote it."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    type: str = "function"


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether the model may, must or must not call a tool. With a `name` (mode `required`) it must call that one."""

    mode: Literal["auto", "none", "required"] = "auto"
    name: str = ""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn. `images` are the files' bytes (audio too), decoded from base64 and not looked into."""

    role: Role = ""
    content: str = ""
    thinking: str = ""
    images: tuple[bytes, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""


Think = bool | Literal["low", "medium", "high", "max"] | None
"""Whether and how much a model shall think; `None` when the request does not say."""

Format = Literal["json"] | dict[str, Any] | None
"""What the answer must be: any JSON object, a JSON Schema, or free text."""
