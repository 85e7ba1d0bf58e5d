"""Arguments of calls that are written between marks, one by one; texts stand there without quotes."""

from typing import Any

import msgspec

from a3s_power.core.messages import Tool
from a3s_power.output.grammar.compile import compiled
from a3s_power.output.grammar.gbnf import Rules, either, literal
from a3s_power.output.grammar.marks import until

_NEWLINE = '"\\n"?'


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """What stands before an argument's name, between name and value, and behind the value."""

    before: str
    between: str
    after: str


def loose(text: str) -> str:
    """A text whose newlines may be left out."""
    return f" {_NEWLINE} ".join(literal(line) for line in text.split("\n"))


def arguments(tool: Tool, marks: Marks, rules: Rules) -> str:
    """The body for a tool's arguments, in the order of its schema; those that are not required may be left out.

    A value follows its own schema, but a text that is no constant is free up to the mark behind it.

    Raises:
        BadRequest: the schema of a value cannot be enforced.
    """
    properties, needed = tool.parameters.get("properties"), tool.parameters.get("required")
    if not isinstance(properties, dict):
        return '""'
    known: dict[str, Any] = {key: tool.parameters[key] for key in ("$defs", "definitions") if key in tool.parameters}
    written = []
    for name, schema in properties.items():
        value = _value(schema, known, marks, rules)
        one = f"{literal(marks.before)} {literal(name)} {loose(marks.between)} {_NEWLINE} {value} {_NEWLINE}"
        written.append(one if name in (needed or ()) else f"({one})?")
    return " ".join(written) or '""'


def _value(schema: Any, known: dict[str, Any], marks: Marks, rules: Rules) -> str:  # noqa: ANN401 -- JSON
    """A value and the mark behind it."""
    types = _types(schema)
    texts = schema.get("enum") if isinstance(schema, dict) else None
    if isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts):
        return f"{either(map(literal, texts))} {_NEWLINE} {literal(marks.after)}"
    if "string" in types or not types:
        return until(marks.after, rules, without=(marks.before,))
    made = compiled({"allOf": [schema], **known}, rules)
    return f"{made} {_NEWLINE} {literal(marks.after)}"


def _types(schema: Any) -> set[str]:  # noqa: ANN401 -- JSON
    """The types that a schema names itself, which is what its reader goes by."""
    if not isinstance(schema, dict):
        return set()
    named = schema.get("type", [])
    found = {named} if isinstance(named, str) else set(named)
    return found.union(*map(_types, schema.get("anyOf", ())))
