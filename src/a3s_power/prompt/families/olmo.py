"""Prompts of OLMo 3: ChatML, functions in the system turn, results from the environment."""

from functools import partial
from typing import Final

from a3s_power.core.messages import Message, ToolCall
from a3s_power.prompt.families.conversation import Conversation, compact, spaced, turn

_OLMO3: Final = "You are a helpful function-calling AI assistant. "
_OLMO31: Final = (
    "You are Olmo, a helpful AI assistant built by Ai2. Your date cutoff is December 2024, and your model weights are "
    "available at https://huggingface.co/allenai. "
)
_NO_FUNCTIONS: Final = "You do not currently have access to any functions. "
_FUNCTIONS: Final = (
    "You are provided with function signatures within <functions></functions> XML tags. You may call one or more "
    "functions to assist with the user query. Output any function calls within <function_calls></function_calls> XML "
    "tags. Do not make assumptions about what values to plug into functions."
)
_THINK_32B: Final = "You are a helpful AI assistant."


def _instruct(conversation: Conversation, *, default: str) -> str:
    text = turn("system", _system(conversation, default))
    messages = [message for message in conversation.messages if message.role != "system"]
    for at, message in enumerate(messages):
        match message.role:
            case "user":
                text += turn("user", message.content)
            case "assistant":
                text += _answer(message, last=at == len(messages) - 1)
            case "tool":
                text += turn("environment", message.content)
    last = messages[-1] if messages else Message()
    begun = last.role == "assistant" and not last.tool_calls and last.content
    return text if begun else f"{text}<|im_start|>assistant\n"


def _system(conversation: Conversation, default: str) -> str:
    own = next((message.content for message in conversation.messages if message.role == "system"), None)
    functions = f"<functions>{spaced(conversation.tool_values())}</functions>" if conversation.tools else ""
    if own is not None:
        return own + functions
    return default + (f"{_FUNCTIONS}{functions}" if functions else f"{_NO_FUNCTIONS}<functions></functions>")


def _answer(message: Message, *, last: bool) -> str:
    calls = "\n".join(map(_call, message.tool_calls))
    said = message.content + (f"<function_calls>{calls}</function_calls>" if calls else "")
    return f"<|im_start|>assistant\n{said}" if last and not calls else turn("assistant", said)


def _call(call: ToolCall) -> str:
    return f"{call.name}({', '.join(f'{key}={compact(call.arguments[key])}' for key in sorted(call.arguments))})"


def _think(conversation: Conversation, *, default: str) -> str:
    """The thinking ones know no tools."""
    own = next((message.content for message in conversation.messages if message.role == "system"), None)
    system = default if own is None else f"{own} {_NO_FUNCTIONS}<functions></functions>"
    turns = (turn(message.role, message.content) for message in conversation.messages if _spoken(message))
    return f"{turn('system', system)}{''.join(turns)}<|im_start|>assistant\n<think>"


def _spoken(message: Message) -> bool:
    return message.role in ("user", "assistant")


olmo3 = partial(_instruct, default=_OLMO3)
olmo31 = partial(_instruct, default=_OLMO31)
olmo3_think = partial(_think, default=_OLMO31.rstrip())
olmo3_32b_think = partial(_think, default=_THINK_32B)
