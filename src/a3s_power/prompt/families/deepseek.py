"""Prompts of DeepSeek V3.1 and Cogito: marks of full-width bars, the system message bare behind the first of them."""

import json
from collections.abc import Sequence
from typing import Final

from a3s_power.core.messages import Message, Tool
from a3s_power.prompt.families.conversation import Conversation, compact

_BEGIN: Final = "<｜begin▁of▁sentence｜>"
_END: Final = "<｜end▁of▁sentence｜>"
_USER: Final = "<｜User｜>"
_ASSISTANT: Final = "<｜Assistant｜>"
_CALLS: Final = ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>")
_CALL: Final = ("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>")
_SEPARATOR: Final = "<｜tool▁sep｜>"
_OUTPUT: Final = ("<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>")
_OUTPUTS: Final = ("<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>")
_HOW_TO_CALL: Final = (
    "\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n"
    f"{_CALLS[0]}{_CALL[0]}tool_call_name{_SEPARATOR}tool_call_arguments{_CALL[1]}{{{{additional_tool_calls}}}}"
    f"{_CALLS[1]}\n\nWhere:\n\n"
    "- `tool_call_name` must be an exact match to one of the available tools\n"
    "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema\n"
    "- For multiple tool calls, chain them directly without separators or spaces\n"
)
_COGITO: Final = (
    "You are Cogito, an AI assistant created by Deep Cogito, which is an AI research lab based in San Francisco."
)


def deepseek(conversation: Conversation) -> str:
    """DeepSeek V3.1. All system messages stand together at the head."""
    messages, thinks = conversation.messages, bool(conversation.think)
    text = _BEGIN + "\n\n".join(message.content for message in messages if message.role == "system")
    if conversation.tools:
        shown = "".join(map(_described, conversation.tools))
        text += f"\n\n## Tools\nYou have access to the following tools:\n{shown}{_HOW_TO_CALL}"
    before = ""
    for at, message in enumerate(messages):
        match message.role:
            case "user":
                text += _USER + message.content
            case "assistant":
                current = thinks and at > conversation.last_user
                text += _answer(message, before, current=current)
            case "tool":
                text += message.content.join(_OUTPUT)
            case _:
                continue
        before = message.role
    return text + _ASSISTANT + ("<think>" if thinks else "</think>") if before == "user" else text


def _described(tool: Tool) -> str:
    return f"\n### {tool.name}\nDescription: {tool.description}\n\nParameters: {compact(tool.parameters)}\n"


def _answer(message: Message, before: str, *, current: bool) -> str:
    if message.tool_calls:
        calls = "".join(f"{call.name}{_SEPARATOR}{compact(call.arguments)}".join(_CALL) for call in message.tool_calls)
        opening = f"{_ASSISTANT}</think>" if before == "user" else ""
        return f"{opening}{message.content}{calls.join(_CALLS)}{_END}"
    content = message.content
    if before != "tool" and content.startswith("<think>") and "</think>" in content:
        content = content.partition("</think>")[2]
    opening = _ASSISTANT + ("<think>" if message.thinking and current else "</think>") if before == "user" else ""
    return f"{opening}{content}{_END}"


def cogito(conversation: Conversation) -> str:
    """Cogito v1. Its own system message stands before the one that is given."""
    messages, thinks = conversation.messages, bool(conversation.think)
    system = messages[0].content if messages and messages[0].role == "system" else ""
    text = _BEGIN + ("Enable deep thinking subroutine.\n\n" if thinks else "") + _COGITO
    if system:
        text += f"\n\n{system}" + ("\n\n" if thinks else "")
    if conversation.tools:
        shown = "".join(
            f"```json\n{json.dumps(tool, ensure_ascii=False, indent=4)}\n```\n" for tool in conversation.tool_values()
        )
        text += f"\nYou have the following functions available:\n{shown}"
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    for at, message in enumerate(turns):
        match message.role:
            case "user":
                text += _USER + message.content + _ASSISTANT
            case "assistant":
                text += _cogito_answer(message)
            case "tool":
                text += _cogito_result(turns, at)
    if not turns or turns[-1].role != "user":
        text += _ASSISTANT
    return f"{text}<think>\n" if thinks else text


def _cogito_answer(message: Message) -> str:
    if not message.tool_calls:
        return message.content + _END
    calls = "\n".join(
        f"function{_SEPARATOR}{call.name}\n```json\n{compact(call.arguments)}\n```".join(_CALL)
        for call in message.tool_calls
    )
    return message.content + calls.join(_CALLS) + _END


def _cogito_result(turns: Sequence[Message], at: int) -> str:
    """A tool's result; those that stand together share one pair of marks."""
    first = at == 0 or turns[at - 1].role != "tool"
    last = at == len(turns) - 1 or turns[at + 1].role != "tool"
    shown = turns[at].content.join(_OUTPUT)
    return (_OUTPUTS[0] if first else "") + shown + (_OUTPUTS[1] if last else "\n")
