"""DeepSeek V3.1 and Cogito: calls between marks of full-width bars, in JSON that a name announces."""

from typing import Final

from a3s_power.output.families.blocks import Block, Form
from a3s_power.output.families.qwen import THINK
from a3s_power.output.families.reading import Called, Tools, json_object

_SEPARATOR: Final = "<｜tool▁sep｜>"
_CALL: Final = ("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>")
_CALLS: Final = ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>")


def name_and_object(body: str, tools: Tools) -> list[Called] | None:  # noqa: ARG001 -- as all readers
    """`NAME<sep>{…}`, or `function<sep>NAME` and the object fenced below it, as earlier versions wrote."""
    name, separator, rest = body.partition(_SEPARATOR)
    if name.strip() == "function" and "{" in rest and not rest.lstrip().startswith("{"):
        name, _, rest = rest.partition("\n")
        rest = rest.strip().removeprefix("```json").removesuffix("```")
    arguments = json_object(rest.strip()) if separator else None
    return [(name.strip(), arguments)] if name.strip() and arguments is not None else None


def _nothing(body: str, tools: Tools) -> list[Called]:  # noqa: ARG001 -- as all readers
    """Results that the model makes up for itself are no answer."""
    return []


DEEPSEEK3: Final = Form(
    blocks=(Block(*_CALL, name_and_object),),
    thinking=THINK,
    silent=(
        *_CALLS,
        *("<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"),
    ),
)
COGITO: Final = Form(
    blocks=(
        Block(*_CALL, name_and_object),
        Block("<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>", _nothing),
    ),
    thinking=THINK,
    silent=_CALLS,
)
