"""Prompts of GLM 4.x: roles as marks without ends, thinking opened or closed at once behind the assistant's."""

from typing import Final

from a3s_power.core.messages import Message, ToolCall
from a3s_power.prompt.families.conversation import Conversation, compact, spaced

_HOW_TO_CALL: Final = (
    "For each function call, output the function name and arguments within the following XML format:\n"
    "<tool_call>{function-name}<arg_key>{arg-key-1}</arg_key><arg_value>{arg-value-1}</arg_value>"
    "<arg_key>{arg-key-2}</arg_key><arg_value>{arg-value-2}</arg_value>...</tool_call>"
)


def glm(conversation: Conversation) -> str:
    """GLM-4.7. What was thought stays in the conversation."""
    text = "[gMASK]<sop>"
    if conversation.tools:
        tools = "".join(f"{spaced(tool)}\n" for tool in conversation.tool_values())
        text += (
            "<|system|>\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
            "You are provided with function signatures within <tools></tools> XML tags:\n"
            f"<tools>\n{tools}</tools>\n\n{_HOW_TO_CALL}"
        )
    before = ""
    for message in conversation.messages:
        match message.role:
            case "user" | "system":
                text += f"<|{message.role}|>{message.content}"
            case "assistant":
                text += _answer(message)
            case "tool":
                mark = "" if before == "tool" else "<|observation|>"
                text += f"{mark}<tool_response>{message.content}</tool_response>"
        before = message.role
    return f"{text}<|assistant|>{'</think>' if conversation.think is False else '<think>'}"


def _answer(message: Message) -> str:
    thought = f"<think>{message.thinking}</think>" if message.thinking else "</think>"
    return f"<|assistant|>{thought}{message.content}{''.join(map(_call, message.tool_calls))}"


def _call(call: ToolCall) -> str:
    pairs = "".join(
        f"<arg_key>{key}</arg_key><arg_value>{value if isinstance(value, str) else compact(value)}</arg_value>"
        for key, value in call.arguments.items()
    )
    return f"<tool_call>{call.name}{pairs}</tool_call>"
