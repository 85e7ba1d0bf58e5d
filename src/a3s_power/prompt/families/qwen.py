"""Prompts of Qwen3-Coder, Qwen3-VL and Qwen3.5: ChatML, each with its own way of showing tools and thinking."""

import json
from collections.abc import Iterator
from typing import Any, Final

from a3s_power.core.messages import Message, Tool, ToolCall
from a3s_power.prompt.families.conversation import Conversation, spaced, turn

_CODER_SYSTEM: Final = "You are Qwen, a helpful AI assistant that can interact with a computer to solve tasks."
HOW_TO_CALL: Final = """\
If you choose to call a function ONLY reply in the following format with NO suffix:

<tool_call>
<function=example_function_name>
<parameter=example_parameter_1>
value_1
</parameter>
<parameter=example_parameter_2>
This is the value for the second parameter
that can span
multiple lines
</parameter>
</function>
</tool_call>

<IMPORTANT>
Reminder:
- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within \
<tool_call></tool_call> XML tags
- Required parameters MUST be specified
- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT after
- If there is no function call available, answer the question like normal with your current knowledge and do not tell \
the user about function calls
</IMPORTANT>"""
_HOW_TO_CALL_IN_JSON: Final = """\
For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""


def coder(conversation: Conversation) -> str:
    """Qwen3-Coder. The first system message counts, wherever it stands."""
    system = next((message.content for message in conversation.messages if message.role == "system"), "")
    messages = [message for message in conversation.messages if message.role != "system"]
    text = ""
    if conversation.tools:
        shown = "".join(map(_described, conversation.tools))
        text = turn(
            "system",
            f"{system or _CODER_SYSTEM}\n\n# Tools\n\nYou have access to the following functions:\n\n"
            f"<tools>{shown}\n</tools>\n\n{HOW_TO_CALL}",
        )
    elif system:
        text = turn("system", system)
    for at, message in enumerate(messages):
        match message.role:
            case "assistant":
                text += _coder_answer(message, last=at == len(messages) - 1)
            case "tool":
                text += _result(messages, at, f"<tool_response>\n{message.content}\n</tool_response>\n", "\n")
            case role:
                text += turn(role, message.content)
    return text if conversation.begun else f"{text}<|im_start|>assistant\n"


def _coder_answer(message: Message, *, last: bool) -> str:
    if not message.tool_calls:
        return f"<|im_start|>assistant\n{message.content}" if last else turn("assistant", message.content)
    said = f"{message.content}\n" if message.content else ""
    return turn("assistant", said + "".join(f"\n{_call(call)}" for call in message.tool_calls))


def _call(call: ToolCall) -> str:
    values = "".join(f"<parameter={name}>\n{_plain(value)}\n</parameter>\n" for name, value in call.arguments.items())
    return f"<tool_call>\n<function={call.name}>\n{values}</function>\n</tool_call>"


def _plain(value: Any) -> str:  # noqa: ANN401 -- JSON
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _described(tool: Tool) -> str:
    """A tool in the family's own XML."""
    said = f"\n<description>{tool.description}</description>" if tool.description else ""
    properties = tool.parameters.get("properties")
    shown = "".join(_parameter(name, schema) for name, schema in (properties or {}).items())
    more = "".join(_more(tool.parameters, {"type", "properties"}))
    return f"\n<function>\n<name>{tool.name}</name>{said}\n<parameters>{shown}{more}\n</parameters>\n</function>"


def _parameter(name: str, schema: Any) -> str:  # noqa: ANN401 -- JSON Schema
    schema = schema if isinstance(schema, dict) else {}
    kind = f"\n<type>{_plain(schema['type'])}</type>" if schema.get("type") else ""
    said = f"\n<description>{schema['description']}</description>" if schema.get("description") else ""
    more = "".join(_more(schema, {"type", "description"}))
    return f"\n<parameter>\n<name>{name}</name>{kind}{said}{more}\n</parameter>"


def _more(schema: dict[str, Any], known: set[str]) -> Iterator[str]:
    for key, value in schema.items():
        if key not in known and value is not None:
            yield f"\n<{key}>{_plain(value)}</{key}>"


def _result(messages: list[Message], at: int, shown: str, after_role: str) -> str:
    """A tool's result; those that stand together share one turn of the user."""
    first = at == 0 or messages[at - 1].role != "tool"
    last = at == len(messages) - 1 or messages[at + 1].role != "tool"
    opening = f"<|im_start|>user{after_role}" if first else ""
    return opening + shown + ("<|im_end|>\n" if last else "")


def _last_query(messages: list[Message]) -> int:
    """The last message of the user that is no result of a tool put into one."""
    for at in range(len(messages) - 1, -1, -1):
        content = messages[at].content.strip()
        answered = content.startswith("<tool_response>") and content.endswith("</tool_response>")
        if messages[at].role == "user" and not answered:
            return at
    return len(messages) - 1


def vision(conversation: Conversation) -> str:
    """Qwen3-VL without thinking."""
    return _vision(conversation, thinks=False)


def vision_thinking(conversation: Conversation) -> str:
    """Qwen3-VL that thinks."""
    return _vision(conversation, thinks=bool(conversation.think))


def _vision(conversation: Conversation, *, thinks: bool) -> str:
    messages = list(conversation.messages)
    system = messages[0].content if messages and messages[0].role == "system" else None
    text = "" if system is None else turn("system", system)
    if conversation.tools:
        tools = "".join(f"\n{spaced(tool)}" for tool in conversation.tool_values())
        before = "" if system is None else f"{system}\n\n"
        text = turn(
            "system",
            f"{before}# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
            f"You are provided with function signatures within <tools></tools> XML tags:\n<tools>{tools}\n</tools>\n\n"
            f"{_HOW_TO_CALL_IN_JSON}",
        )
    query = _last_query(messages)
    for at, message in enumerate(messages):
        last = at == len(messages) - 1
        if message.role == "user" or (message.role == "system" and at):
            text += turn(message.role, message.content)
        elif message.role == "assistant":
            text += _vision_answer(message, shown=thinks and at > query, last=last)
        elif message.role == "tool":
            text += _result(messages, at, f"\n<tool_response>\n{message.content}\n</tool_response>", "")
    return text if conversation.begun else f"{text}<|im_start|>assistant\n{'<think>' + chr(10) if thinks else ''}"


def _vision_answer(message: Message, *, shown: bool, last: bool) -> str:
    said = message.content
    if shown and (last or message.thinking):
        thought = "<think>\n" + message.thinking.strip("\n")
        said = thought + ("\n</think>\n\n" + said.lstrip("\n") if said else "")
    for at, call in enumerate(message.tool_calls):
        between = "\n" if at or message.content else ""
        said += f'{between}<tool_call>\n{{"name": "{call.name}", "arguments": {spaced(call.arguments)}}}\n</tool_call>'
    return f"<|im_start|>assistant\n{said}" + ("" if last else "<|im_end|>\n")


def qwen35(conversation: Conversation) -> str:
    """Qwen3.5, and Qwen3-Next that thinks: of answers only those since the last question show their thinking."""
    return _qwen35(conversation, every=False)


def ornith(conversation: Conversation) -> str:
    """Ornith: as Qwen3.5, with the thinking of every answer."""
    return _qwen35(conversation, every=True)


def _qwen35(conversation: Conversation, *, every: bool) -> str:
    messages, thinks = list(conversation.messages), bool(conversation.think)
    system = messages[0].content.strip() if messages and messages[0].role == "system" else None
    text = "" if system is None else turn("system", system)
    if conversation.tools:
        tools = "".join(f"\n{spaced(tool)}" for tool in conversation.tool_values())
        after = f"\n\n{system}" if system else ""
        text = turn(
            "system",
            f"# Tools\n\nYou have access to the following functions:\n\n<tools>{tools}\n</tools>\n\n"
            f"{HOW_TO_CALL}{after}",
        )
    query = _last_query(messages)
    for at, message in enumerate(messages):
        if message.role == "user" or (message.role == "system" and at):
            text += turn(message.role, message.content.strip())
        elif message.role == "assistant":
            text += _answer35(message, thinks=thinks, shown=every or at > query, last=at == len(messages) - 1)
        elif message.role == "tool":
            text += _result(messages, at, f"\n<tool_response>\n{message.content}\n</tool_response>", "")
    if conversation.begun:
        return text
    return f"{text}<|im_start|>assistant\n" + ("<think>\n" if thinks else "<think>\n\n</think>\n\n")


def _answer35(message: Message, *, thinks: bool, shown: bool, last: bool) -> str:
    thought, said = _thought_and_said(message.content.strip(), message.thinking if thinks else "")
    text = f"<think>\n{thought}\n</think>\n\n{said}" if thinks and shown else said
    for at, call in enumerate(message.tool_calls):
        between = "\n" if at else "\n\n" if said.strip() else ""
        text += between + _call(call)
    return f"<|im_start|>assistant\n{text}" + ("" if last else "<|im_end|>\n")


def _thought_and_said(content: str, thinking: str) -> tuple[str, str]:
    if thinking or "</think>" not in content:
        return thinking.strip(), content
    before, _, after = content.partition("</think>")
    return before.rpartition("<think>")[2].strip(), after.lstrip("\n")
