"""Prompts of LiquidAI's LFM2: ChatML behind a mark of its own, tools as a list, calls as Python writes them."""

from functools import partial

from a3s_power.core.messages import Message, ToolCall
from a3s_power.prompt.families.conversation import Conversation, spaced, turn


def _lfm2(conversation: Conversation, *, thinks: bool) -> str:
    messages = conversation.messages
    own = messages[0].content if messages and messages[0].role == "system" else None
    system = own or ""
    if conversation.tools:
        tools = ", ".join(spaced(tool["function"]) for tool in conversation.tool_values())
        system += ("\n" if system else "") + f"List of tools: <|tool_list_start|>[{tools}]<|tool_list_end|>"
    text = "<|startoftext|>" + (turn("system", system) if system else "")
    turns = messages if own is None else messages[1:]
    last_answer = max((at for at, message in enumerate(turns) if message.role == "assistant"), default=-1)
    for at, message in enumerate(turns):
        forgets = at != last_answer and not (thinks and conversation.think)
        whole = turn(message.role, _content(message, forgets=forgets))
        begun = at == len(turns) - 1 and message.role == "assistant"
        text += whole.removesuffix("<|im_end|>\n") if begun else whole
    return text if conversation.begun else f"{text}<|im_start|>assistant\n"


def _content(message: Message, *, forgets: bool) -> str:
    content = message.content
    match message.role:
        case "assistant":
            if forgets and "</think>" in content:
                content = content.rpartition("</think>")[2].strip()
            calls = ",".join(map(_call, message.tool_calls))
            return f"<|tool_call_start|>[{calls}]<|tool_call_end|>{content}" if calls else content
        case "tool":
            return f"<|tool_response_start|>{content}<|tool_response_end|>"
        case _:
            return content


def _call(call: ToolCall) -> str:
    return f"{call.name}({','.join(f'{key}={spaced(call.arguments[key])}' for key in sorted(call.arguments))})"


lfm2 = partial(_lfm2, thinks=False)
lfm2_thinking = partial(_lfm2, thinks=True)
