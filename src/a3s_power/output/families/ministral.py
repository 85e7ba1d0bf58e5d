"""Ministral and its elder siblings: `[TOOL_CALLS]NAME[ARGS]{…}`, again for each call."""

from typing import Final

from a3s_power.output.families.blocks import Block, Form
from a3s_power.output.families.reading import Called, Tools, json_object


def _name_and_arguments(body: str, tools: Tools) -> list[Called] | None:
    """A call of a tool that was not offered is none."""
    name, mark, rest = body.partition("[ARGS]")
    arguments = json_object(rest) if mark else None
    return [(name.strip(), arguments)] if name.strip() in tools and arguments is not None else None


MINISTRAL: Final = Form(blocks=(Block("[TOOL_CALLS]", "", _name_and_arguments),), thinking=("[THINK]", "[/THINK]"))
