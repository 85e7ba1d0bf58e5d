"""Texts that stand for values, as the tool's schema has them: what families that write no JSON mean by them."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from a3s_power.core.messages import Tool


def of_parameter(tool: Tool | None, name: str, text: str) -> Any:  # noqa: ANN401 -- JSON
    """What a text means as the parameter `name` of a tool; of one that is not known, the text itself."""
    properties = tool.parameters.get("properties") if tool is not None else None
    schema = properties.get(name) if isinstance(properties, dict) else None
    return typed(text, schema)


def typed(text: str, schema: object) -> Any:  # noqa: ANN401 -- JSON
    """The value of the first type that the schema allows and the text can be; the text itself when there is none.

    A newline on either side is layout, not value.
    """
    text = text.removeprefix("\n").removesuffix("\n")
    if text.strip().lower() == "null":
        return None
    allowed = set(_types(schema))
    for name, read in _READERS.items():
        if name in allowed:
            try:
                return read(text.strip())
            except (ValueError, RecursionError):
                continue
    return False if allowed == {"boolean"} else text


def _types(schema: object) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    named = schema.get("type")
    yield from [named] if isinstance(named, str) else [name for name in named or () if isinstance(name, str)]
    for each in schema.get("anyOf") or ():
        yield from _types(each)


def _boolean(text: str) -> bool:
    known = {"true": True, "false": False}.get(text.lower())
    if known is None:
        raise ValueError(text)
    return known


def _number(text: str) -> float:
    number = msgspec.json.decode(text, type=float)
    return int(number) if number.is_integer() else number


def _integer(text: str) -> int:
    return msgspec.json.decode(text, type=int)


def _array(text: str) -> list[Any]:
    return msgspec.json.decode(text, type=list[Any])


def _object(text: str) -> dict[str, Any]:
    return msgspec.json.decode(text, type=dict[str, Any])


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "array": _array,
    "object": _object,
}
