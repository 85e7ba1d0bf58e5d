"""Qwen and those who write as it does: calls between `<tool_call>` marks, in JSON or as `<function=…>`."""

from typing import Any, Final

from a3s_power.output.families import values
from a3s_power.output.families.blocks import Block, Form
from a3s_power.output.families.reading import Called, Tools, json_object

THINK: Final = ("<think>", "</think>")
_FUNCTION: Final = "<function="
_PARAMETER: Final = "<parameter="


def named_object(body: str, tools: Tools) -> list[Called] | None:  # noqa: ARG001 -- as all readers
    """`{"name": …, "arguments": {…}}`; the arguments may be a text that holds the object."""
    said = json_object(body)
    if said is None:
        return None
    name, arguments = said.get("name"), said.get("arguments", said.get("parameters"))
    if isinstance(arguments, str):
        arguments = json_object(arguments)
    return [(name, arguments)] if isinstance(name, str) and name and isinstance(arguments, dict) else None


def functions(body: str, tools: Tools) -> list[Called] | None:
    """`<function=NAME><parameter=KEY>VALUE</parameter>…</function>`, once or more; the schema says what values mean."""
    before, *rest = body.split(_FUNCTION)
    if before.strip() or not rest:
        return None
    calls = [_function(each, tools) for each in rest]
    found = [call for call in calls if call is not None]
    return found if len(found) == len(calls) else None


def _function(text: str, tools: Tools) -> Called | None:
    name, sign, rest = text.partition(">")
    inside, end, behind = rest.partition("</function>")
    if not (name and sign and end) or behind.strip():
        return None
    before, *parameters = inside.split(_PARAMETER)
    if before.strip():
        return None
    arguments: dict[str, Any] = {}
    for each in parameters:
        key, sign, value = each.partition(">")
        if not sign:
            return None
        arguments[key] = values.of_parameter(tools.get(name), key, value.partition("</parameter>")[0])
    return name, arguments


_JSON: Final = (Block("<tool_call>", "</tool_call>", named_object),)
_XML: Final = (Block("<tool_call>", "</tool_call>", functions),)

QWEN3: Final = Form(blocks=_JSON, thinking=THINK)
QWEN3_CODER: Final = Form(blocks=_XML)
QWEN35: Final = Form(blocks=_XML, thinking=THINK)
SEED: Final = Form(
    blocks=(Block("<seed:tool_call>", "</seed:tool_call>", functions),), thinking=("<seed:think>", "</seed:think>")
)
ONLY_THINKING: Final = Form(blocks=(), thinking=THINK)
