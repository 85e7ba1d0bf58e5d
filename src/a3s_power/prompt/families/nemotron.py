"""Prompts of NVIDIA's Nemotron 3 Nano: ChatML, a system turn always, tools in XML, thinking toggled by words too."""

from typing import Any, Final

from a3s_power.core.messages import Message, Tool, ToolCall
from a3s_power.prompt.families.conversation import Conversation, spaced, turn
from a3s_power.prompt.families.qwen import HOW_TO_CALL

_KEPT: Final = "\x00end-of-thinking\x00"
_NOTHING: Final = "<think></think>"


def nemotron(conversation: Conversation) -> str:
    """The prompt. `/think` and `/no_think` in what system and user say outweigh what is asked, and are not shown."""
    messages = list(conversation.messages)
    system = _without_toggles(messages[0].content) if messages and messages[0].role == "system" else ""
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    if conversation.tools:
        tools = "".join(map(_described, conversation.tools))
        system += "\n\n" if system else ""
        system += f"# Tools\n\nYou have access to the following functions:\n\n<tools>{tools}\n</tools>\n\n{HOW_TO_CALL}"
    text = turn("system", system)
    last_user = max((at for at, message in enumerate(turns) if message.role == "user"), default=-1)
    for at, message in enumerate(turns):
        match message.role:
            case "assistant":
                text += turn("assistant", _answer(message, forgets=at < last_user))
            case "tool":
                text += _result(turns, at)
            case "user" | "system":
                text += turn(message.role, _without_toggles(message.content).strip())
            case role:
                text += turn(role, message.content)
    return f"{text}<|im_start|>assistant\n" + ("<think>\n" if _thinks(conversation) else _NOTHING)


def _thinks(conversation: Conversation) -> bool:
    thinks = conversation.think is None or bool(conversation.think)
    for message in conversation.messages:
        if message.role in ("user", "system"):
            if "/think" in message.content.replace("</think>", ""):
                thinks = True
            elif "/no_think" in message.content:
                thinks = False
    return thinks


def _without_toggles(content: str) -> str:
    kept = content.replace("</think>", _KEPT)
    return kept.replace("/think", "").replace("/no_think", "").replace(_KEPT, "</think>")


def _answer(message: Message, *, forgets: bool) -> str:
    content = message.content
    if message.thinking:
        content = f"<think>\n{message.thinking}\n</think>\n{content}"
    elif "<think>" not in content and "</think>" not in content:
        content = _NOTHING + content
    if forgets and "</think>" in content:
        after = content.rpartition("</think>")[2]
        content = _NOTHING + (after.strip() if message.tool_calls else after)
    said = content.strip()
    return f"{said}\n{''.join(map(_call, message.tool_calls))}" if message.tool_calls else said


def _call(call: ToolCall) -> str:
    values = "".join(f"<parameter={name}>\n{_shown(value)}\n</parameter>\n" for name, value in call.arguments.items())
    return f"<tool_call>\n<function={call.name}>\n{values}</function>\n</tool_call>\n"


def _shown(value: Any) -> str:  # noqa: ANN401 -- JSON
    """A value as Python prints it; objects and lists as JSON."""
    return spaced(value) if isinstance(value, dict | list) else str(value)


def _result(turns: list[Message], at: int) -> str:
    """A tool's result; those that stand together share one turn of the user."""
    opening = "<|im_start|>user\n" if at and turns[at - 1].role != "tool" else ""
    last = at == len(turns) - 1 or turns[at + 1].role != "tool"
    return f"{opening}<tool_response>\n{turns[at].content}\n</tool_response>\n" + ("<|im_end|>\n" if last else "")


def _described(tool: Tool) -> str:
    said = f"\n<description>{tool.description.strip()}</description>" if tool.description else ""
    properties = tool.parameters.get("properties")
    shown = "".join(_parameter(name, schema) for name, schema in (properties or {}).items())
    for key in ("$defs", "items", "required"):
        if value := tool.parameters.get(key):
            shown += f"\n<{key}>{spaced(value)}</{key}>"
    return f"\n<function>\n<name>{tool.name}</name>{said}\n<parameters>{shown}\n</parameters>\n</function>"


def _parameter(name: str, schema: Any) -> str:  # noqa: ANN401 -- JSON Schema
    schema = schema if isinstance(schema, dict) else {}
    shown = f"\n<name>{name}</name>"
    if kind := schema.get("type"):
        shown += f"\n<type>{kind}</type>"
    if said := schema.get("description"):
        shown += f"\n<description>{said.strip()}</description>"
    for key in ("enum", "anyOf", "items", "properties", "required"):
        if value := schema.get(key):
            shown += f"\n<{key}>{spaced(value)}</{key}>"
    return f"\n<parameter>{shown}\n</parameter>"
