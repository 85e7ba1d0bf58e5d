"""Cohere's Command A and North: text, thinking and a list of actions, each between marks of its own."""

from typing import Any, Final

import msgspec

from a3s_power.output.families.blocks import Block, Form
from a3s_power.output.families.reading import Called, Tools, json_object
from a3s_power.output.objects import Objects


def _actions(body: str, tools: Tools) -> list[Called] | None:  # noqa: ARG001 -- as all readers
    """`[{"tool_call_id", "tool_name", "parameters"}, …]`; of a broken list the objects that are whole."""
    try:
        said = msgspec.json.decode(body.strip(), type=list[dict[str, Any]])
    except (msgspec.DecodeError, RecursionError):
        objects = Objects()
        whole = [objects.text(start, end) for sign, start, end in objects.feed(body) if sign == "{"]
        said = [each for text in whole if (each := json_object(text)) is not None]
    calls = [
        (action["tool_name"], parameters)
        for action in said
        if isinstance(action.get("tool_name"), str) and isinstance(parameters := action.get("parameters"), dict)
    ]
    return calls or None


COHERE: Final = Form(
    blocks=(Block("<|START_ACTION|>", "<|END_ACTION|>", _actions),),
    thinking=("<|START_THINKING|>", "<|END_THINKING|>"),
    silent=("<|START_TEXT|>", "<|END_TEXT|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"),
)
