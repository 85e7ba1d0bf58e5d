"""A conversation through a Go template: the data it sees, and the three ways in which Ollama executes it."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from a3s_power.core.messages import Message, Think, Tool, ToolCall
from a3s_power.prompt.gotemplate import nodes
from a3s_power.prompt.gotemplate.execute import execute
from a3s_power.prompt.gotemplate.parser import parse
from a3s_power.prompt.gotemplate.values import Properties, Record, Types, from_json

_RESPONSE: Final = nodes.Action(0, nodes.Pipeline(0, (nodes.Command(0, (nodes.Field(0, ("Response",)),)),)))
_PROPERTY_KEYS: Final = ("anyOf", "type", "items", "description", "enum", "properties", "required")


@lru_cache(maxsize=64)
def compiled(text: str) -> nodes.Template:
    """The parsed template; one that shows neither messages nor a response gets the response behind it.

    Raises:
        BadTemplate: in Go's words.
    """
    template = parse(text)
    if nodes.variables(template) & {"messages", "response"}:
        return template
    return msgspec.structs.replace(template, body=(*template.body, _RESPONSE))


def render(text: str, messages: Sequence[Message], *, tools: Sequence[Tool] = (), think: Think = None) -> str:
    """The prompt of a conversation; its last assistant message, if it ends in one, is left open to be gone on with.

    Raises:
        BadTemplate: it cannot be parsed, or does not fit its data.
    """
    template = compiled(text)
    turns = collated(messages)
    thinking = _thinking(think)
    if "messages" in nodes.variables(template):
        data = {
            "System": "\n\n".join(turn.content for turn in messages if turn.role == "system"),
            "Messages": [_message(turn) for turn in turns],
            "Tools": [_tool(tool) for tool in tools],
            "Response": "",
        }
        return execute(template, data | thinking)
    return _turn_by_turn(template, turns, thinking)


def render_suffix(text: str, prompt: str, suffix: str, *, think: Think = None) -> str:
    """The prompt that asks for what stands between `prompt` and `suffix`. Raises BadTemplate."""
    data = {"Prompt": prompt, "Suffix": suffix, "Response": ""}
    return execute(compiled(text), data | _thinking(think))


def collated(messages: Iterable[Message]) -> list[Message]:
    """Neighbours of one role made one, their contents a blank line apart; results of tools stay apart."""
    turns: list[Message] = []
    for message in messages:
        if turns and turns[-1].role == message.role != "tool":
            turns[-1] = _joined(turns[-1], message)
        else:
            turns.append(message)
    return turns


def _joined(first: Message, second: Message) -> Message:
    """Thinking, images and calls of the later message are kept, which the original loses."""
    return msgspec.structs.replace(
        first,
        content=f"{first.content}\n\n{second.content}",
        thinking="\n\n".join(filter(None, (first.thinking, second.thinking))),
        images=first.images + second.images,
        tool_calls=first.tool_calls + second.tool_calls,
    )


def _turn_by_turn(template: nodes.Template, turns: Sequence[Message], thinking: dict[str, Any]) -> str:
    """Templates from before there were messages: executed once for each system, prompt and response."""
    said, waiting = "", {"System": "", "Prompt": "", "Response": ""}
    for turn in turns:
        match turn.role:
            case "system" if waiting["Prompt"] or waiting["Response"]:
                said += execute(template, waiting | thinking)
                waiting = {"System": turn.content, "Prompt": "", "Response": ""}
            case "system":
                waiting["System"] = turn.content
            case "user":
                if waiting["Response"]:
                    said += execute(template, waiting | thinking)
                    waiting = {"System": "", "Prompt": "", "Response": ""}
                waiting["Prompt"] = turn.content
            case "assistant":
                waiting["Response"] = turn.content
    return said + execute(opened(template), waiting | thinking)


def opened(template: nodes.Template) -> nodes.Template:
    """The template without all that follows its first `.Response`, so that an answer can be gone on with."""
    body, _ = _cut(template.body)
    return msgspec.structs.replace(template, body=body)


def _cut(body: nodes.Body) -> tuple[nodes.Body, bool]:
    kept: list[nodes.Statement] = []
    for statement in body:
        match statement:
            case nodes.Action() if "Response" in nodes.names_of(statement):
                return (*kept, statement), True
            case nodes.If() | nodes.With() | nodes.Range():
                inner, found = _cut(statement.body)
                otherwise, found_later = (statement.otherwise, False) if found else _cut(statement.otherwise)
                kept.append(msgspec.structs.replace(statement, body=inner, otherwise=otherwise))
                if found or found_later:
                    return tuple(kept), True
            case _:
                kept.append(statement)
    return tuple(kept), False


def _thinking(think: Think) -> dict[str, Any]:
    level = think if isinstance(think, str) else "medium" if think else ""
    return {"Think": bool(think), "ThinkLevel": level, "IsThinkSet": think is not None}


def _message(message: Message) -> Record:
    return Record(
        "*api.Message",
        {
            "Role": message.role,
            "Content": message.content,
            "Thinking": message.thinking,
            "Images": [""] * len(message.images),
            "ToolCalls": [_call(call) for call in message.tool_calls],
            "ToolName": message.tool_name,
            "ToolCallID": message.tool_call_id,
        },
    )


def _call(call: ToolCall) -> Record:
    function = {"index": call.index, "name": call.name, "arguments": call.arguments}
    fields = {"Index": call.index, "Name": call.name, "Arguments": Properties(from_json(call.arguments))}
    return Record(
        "api.ToolCall",
        {"ID": call.id, "Function": Record("api.ToolCallFunction", fields, function)},
        {"id": call.id, "function": function} if call.id else {"function": function},
    )


def _tool(tool: Tool) -> Record:
    schema = tool.parameters
    properties = schema.get("properties")
    known = {name: _property(value) for name, value in properties.items()} if isinstance(properties, dict) else {}
    parameters: dict[str, Any] = {"type": schema.get("type", "")}
    parameters |= {key: schema[key] for key in ("$defs", "items", "required") if schema.get(key)}
    parameters["properties"] = {name: known[name].json for name in sorted(known)}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    fields = {
        "Name": tool.name,
        "Description": tool.description,
        "Parameters": Record(
            "api.ToolFunctionParameters",
            {
                "Type": schema.get("type", ""),
                "Defs": from_json(schema.get("$defs")),
                "Items": from_json(schema.get("items")),
                "Required": list(schema.get("required") or ()),
                "Properties": Properties(known),
            },
            parameters,
        ),
    }
    whole = {"type": tool.type, "function": function}
    return Record(
        "api.Tool", {"Type": tool.type, "Items": None, "Function": Record("api.ToolFunction", fields, function)}, whole
    )


def _property(schema: Any) -> Record:  # noqa: ANN401 -- JSON Schema
    """A schema property: the keywords that Ollama's type knows, in its order."""
    schema = schema if isinstance(schema, dict) else {}
    types = schema.get("type")
    names = [types] if isinstance(types, str) else list(types or ())
    nested = schema.get("properties")
    any_of = [_property(item) for item in schema.get("anyOf") or ()]
    known = {name: _property(value) for name, value in nested.items()} if isinstance(nested, dict) else {}
    shown = {key: schema[key] for key in _PROPERTY_KEYS if schema.get(key)}
    if any_of:
        shown["anyOf"] = [item.json for item in any_of]
    if names:
        shown["type"] = names[0] if len(names) == 1 else names
    if known:
        shown["properties"] = {name: known[name].json for name in sorted(known)}
    return Record(
        "api.ToolProperty",
        {
            "AnyOf": any_of,
            "Type": Types(names),
            "Items": from_json(schema.get("items")),
            "Description": schema.get("description", ""),
            "Enum": [from_json(item) for item in schema.get("enum") or ()],
            "Properties": Properties(known),
            "Required": list(schema.get("required") or ()),
        },
        shown,
    )
