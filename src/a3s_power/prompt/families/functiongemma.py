"""Prompts of FunctionGemma: Gemma's turns, declarations and calls in a notation of bare keys and escaped texts."""

from collections.abc import Sequence
from typing import Any, Final

from a3s_power.core.messages import Message, Tool, ToolCall
from a3s_power.prompt.families.conversation import Conversation

_DEFAULT: Final = "You can do function calling with the following functions:"


def functiongemma(conversation: Conversation) -> str:
    """The prompt; the developer's turn stands for the system's. The first token is the engine's to add."""
    messages = conversation.messages
    own = messages[0].content.strip() if messages and messages[0].role in ("system", "developer") else None
    text = ""
    if own or conversation.tools:
        text = f"<start_of_turn>developer\n{_developer(own or '', conversation.tools)}<end_of_turn>\n"
    turns = messages if own is None else messages[1:]
    before = ""
    for at, message in enumerate(turns):
        match message.role:
            case "assistant":
                text += "" if before == "result" else "<start_of_turn>model\n"
                text += message.content.strip() + "".join(map(_call, message.tool_calls))
                awaited = bool(message.tool_calls) and at + 1 < len(turns) and turns[at + 1].role == "tool"
                text += "<start_function_response>" if awaited else "<end_of_turn>\n"
                before = "call" if awaited else ""
            case "tool":
                text += "" if before == "call" else "<start_function_response>"
                text += f"response:{_name(turns, at)}{{{_value(message.content)}}}<end_function_response>"
                before = "result"
            case role:
                text += "" if before == "result" and role == "user" else f"<start_of_turn>{role}\n"
                text += f"{message.content.strip()}<end_of_turn>\n"
                before = ""
    return text if before == "result" else f"{text}<start_of_turn>model\n"


def _developer(own: str, tools: Sequence[Tool]) -> str:
    said = own
    if tools and own != _DEFAULT:
        said += ("\n" if own else "") + _DEFAULT
    elif tools:
        said += "\n"
    return said + "".join(map(_declared, tools))


def _declared(tool: Tool) -> str:
    schema = tool.parameters
    parts = []
    if isinstance(properties := schema.get("properties"), dict) and properties:
        parts.append(f"properties:{{{','.join(_property(name, properties[name]) for name in sorted(properties))}}}")
    if required := schema.get("required"):
        parts.append(f"required:[{','.join(_value(name) for name in required)}]")
    if isinstance(kind := schema.get("type"), str):
        parts.append(f"type:{_value(kind.upper())}")
    parameters = f",parameters:{{{','.join(parts)}}}" if parts else ""
    return (
        f"<start_function_declaration>declaration:{tool.name}{{description:{_value(tool.description)}{parameters}}}"
        "<end_function_declaration>"
    )


def _property(name: str, schema: Any) -> str:  # noqa: ANN401 -- JSON Schema
    schema = schema if isinstance(schema, dict) else {}
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    shown = f",type:{_value(kind.upper())}" if isinstance(kind, str) else ""
    return f"{name}:{{description:{_value(str(schema.get('description', '')))}{shown}}}"


def _call(call: ToolCall) -> str:
    return f"<start_function_call>call:{call.name}{_value(call.arguments)}<end_function_call>"


def _value(value: Any) -> str:  # noqa: ANN401 -- JSON
    match value:
        case str():
            return f"<escape>{value}<escape>"
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case dict():
            return f"{{{','.join(f'{key}:{_value(value[key])}' for key in sorted(value))}}}"
        case list() | tuple():
            return f"[{','.join(map(_value, value))}]"
        case None:
            return "null"
        case _:
            return str(value)


def _name(turns: Sequence[Message], at: int) -> str:
    """Whose result this is: it says so itself, or stands where the call does in the turn before."""
    if turns[at].tool_name:
        return turns[at].tool_name
    asked = max((place for place in range(at) if turns[place].tool_calls), default=None)
    if asked is None:
        return ""
    place = sum(turn.role == "tool" for turn in turns[asked:at])
    calls = turns[asked].tool_calls
    return calls[place].name if place < len(calls) else ""
