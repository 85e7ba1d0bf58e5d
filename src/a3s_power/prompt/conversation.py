"""What a template is shown of a conversation: messages, calls and tools as plain JSON-like values."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from a3s_power.core.messages import Message, Tool, ToolCall


class Arguments(dict[str, Any]):
    """A call's arguments: an object to templates that look into it, its JSON to those that print it or add it up."""

    def __str__(self) -> str:
        return json.dumps(self, ensure_ascii=False)


def message_value(
    message: Message, *, thinking_key: str = "reasoning_content", empty_is_none: bool = False
) -> dict[str, Any]:
    """A message as templates know it from Transformers.

    `thinking_key` is where the template looks for what was thought. `empty_is_none` is for templates that ask whether
    an answer of calls alone has no content at all.
    """
    value: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking:
        value[thinking_key] = message.thinking
    if message.tool_calls:
        value["tool_calls"] = [_call_value(call) for call in message.tool_calls]
        if empty_is_none and not message.content:
            value["content"] = None
    if message.tool_name:
        value["name"] = message.tool_name
    if message.tool_call_id:
        value["tool_call_id"] = message.tool_call_id
    return value


def _call_value(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": Arguments(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def tool_value(tool: Tool) -> dict[str, Any]:
    """A tool, its schema exactly as the client wrote it; one without parameters says that it takes none."""
    parameters = tool.parameters or {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": tool.type, "function": function}


def without_thinking(messages: Sequence[Message], tags: tuple[str, str]) -> list[Message]:
    """The conversation without the thinking at the head of answers that come before the last user message."""
    last_user = max((at for at, message in enumerate(messages) if message.role == "user"), default=0)
    return [
        msgspec.structs.replace(message, content=_after_thinking(message.content, tags))
        if at < last_user and message.role == "assistant"
        else message
        for at, message in enumerate(messages)
    ]


def _after_thinking(content: str, tags: tuple[str, str]) -> str:
    opening, closing = tags
    if not content.lstrip().startswith(opening):
        return content
    return content.partition(closing)[2].lstrip()
