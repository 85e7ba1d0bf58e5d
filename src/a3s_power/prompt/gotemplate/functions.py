"""The functions a template may call: Go's own, and the few that prompts add."""

import html
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote_plus

from a3s_power.core.sizes import go_number
from a3s_power.prompt.gotemplate.values import (
    Problem,
    Record,
    equal,
    less,
    shown,
    to_json,
)

_VERB: Final = re.compile(r"%([-+# 0]*)(\d+|\*)?(?:\.(\d+))?(.)", re.DOTALL)
_WIDEST: Final = 1000
_TYPE_SCRIPT: Final = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def _length(value: Any) -> int:  # noqa: ANN401 -- any value
    match value:
        case str():
            return len(value.encode())
        case list() | dict():
            return len(value)
        case None:
            raise Problem("len of nil pointer")
    raise Problem(f"len of type {type(value).__name__}")


def _index(value: Any, *indices: Any) -> Any:  # noqa: ANN401 -- any values
    for at in indices:
        match value:
            case dict():
                value = value.get(_text(at))
            case list():
                value = value[_place(at, len(value) - 1)]
            case str():
                value = value.encode()[_place(at, len(value.encode()) - 1)]
            case None:
                raise Problem("index of untyped nil")
            case _:
                raise Problem(f"can't index item of type {type(value).__name__}")
    return value


def _slice(value: Any, *bounds: Any) -> Any:  # noqa: ANN401 -- any values
    if len(bounds) > (2 if isinstance(value, str) else 3):
        raise Problem(f"too many slice indexes: {len(bounds)}")
    match value:
        case str():
            start, end = _bounds(bounds, len(value.encode()))
            return value.encode()[start:end].decode("utf-8", "replace")
        case list():
            start, end = _bounds(bounds, len(value))
            return value[start:end]
        case None:
            raise Problem("slice of untyped nil")
    raise Problem(f"can't slice item of type {type(value).__name__}")


def _bounds(bounds: tuple[Any, ...], length: int) -> tuple[int, int]:
    start = _place(bounds[0], length) if bounds else 0
    end = _place(bounds[1], length) if len(bounds) > 1 else length
    if start > end:
        raise Problem(f"invalid slice index: {start} > {end}")
    return start, end


def _place(value: Any, last: int) -> int:  # noqa: ANN401 -- any value
    if isinstance(value, bool) or not isinstance(value, int):
        raise Problem(f"cannot index slice/array with type {type(value).__name__}")
    if not 0 <= value <= last:
        raise Problem(f"index out of range: {value}")
    return value


def _text(value: Any) -> str:  # noqa: ANN401 -- any value
    if not isinstance(value, str):
        raise Problem(f"value has type {type(value).__name__}; should be string")
    return value


def _print(*values: Any) -> str:  # noqa: ANN401 -- any values
    """As Go's Sprint: a blank between two values of which neither is a string."""
    said = ""
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            said += " "
        said += shown(value)
    return said


def _println(*values: Any) -> str:  # noqa: ANN401 -- any values
    return " ".join(shown(value) for value in values) + "\n"


def _printf(form: Any, *values: Any) -> str:  # noqa: ANN401 -- any values
    """As Go's Sprintf; a verb without a value prints `%!d(MISSING)`, values left over `%!(EXTRA …)`."""
    waiting = list(values)

    def fill(verb: re.Match[str]) -> str:
        flags, width, precision, letter = verb.groups()
        if letter == "%":
            return "%"
        if (width and (width == "*" or int(width) > _WIDEST)) or (precision and int(precision) > _WIDEST):
            raise Problem("printf: width or precision is too large")
        if not waiting:
            return f"%!{letter}(MISSING)"
        return _padded(_formatted(letter, waiting.pop(0), precision, flags), flags, int(width or 0))

    said = _VERB.sub(fill, _text(form))
    extra = ", ".join(f"{_go_type(value)}={shown(value)}" for value in waiting)
    return f"{said}%!(EXTRA {extra})" if extra else said


def _formatted(letter: str, value: Any, precision: str | None, flags: str) -> str:  # noqa: ANN401 -- any value
    number = isinstance(value, int) and not isinstance(value, bool)
    match letter:
        case "v":
            return shown(value)
        case "s" if isinstance(value, str):
            return value[: int(precision)] if precision else value
        case "s" if isinstance(value, list | dict | Record):
            return shown(value)
        case "q" if isinstance(value, str):
            return json.dumps(value, ensure_ascii=False)
        case "d" if number:
            return f"{value:+d}" if "+" in flags else str(value)
        case "x" | "X" | "o" | "b" | "c" if number:
            return chr(value) if letter == "c" else format(value, letter)
        case "x" | "X" if isinstance(value, str):
            return value.encode().hex() if letter == "x" else value.encode().hex().upper()
        case "t" if isinstance(value, bool):
            return shown(value)
        case "f" | "F" | "e" | "E" if isinstance(value, float):
            return format(value, f".{precision or 6}{letter}")
        case "g" | "G" if isinstance(value, float):
            return format(value, f".{precision}{letter}") if precision else go_number(value)
        case "T":
            return _go_type(value)
    return f"%!{letter}({_go_type(value)}={shown(value)})"


def _padded(text: str, flags: str, width: int) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags:
        return text.zfill(width)
    return text.rjust(width)


def _go_type(value: Any) -> str:  # noqa: ANN401 -- any value
    match value:
        case None:
            return "<nil>"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case list():
            return "[]interface {}"
        case dict():
            return "map[string]interface {}"
    return str(value.name) if isinstance(value, Record) else type(value).__name__


def _equal(first: Any, *rest: Any) -> bool:  # noqa: ANN401 -- any values
    if not rest:
        raise Problem("missing argument for comparison")
    return any(equal(first, other) for other in rest)


def _escape_js(*values: Any) -> str:  # noqa: ANN401 -- any values
    escapes = {
        "\\": "\\\\",
        "'": "\\'",
        '"': '\\"',
        "<": "\\u003C",
        ">": "\\u003E",
        "&": "\\u0026",
        "=": "\\u003D",
        "\n": "\\u000A",
        "\r": "\\u000D",
    }
    return "".join(escapes.get(character, character) for character in _print(*values))


def _escape_html(*values: Any) -> str:  # noqa: ANN401 -- any values
    return html.escape(_print(*values)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _type_script(value: Any) -> str:  # noqa: ANN401 -- any value
    """The TypeScript type of a schema property."""
    if not isinstance(value, Record):
        return "any"
    any_of = value.field("AnyOf")
    if any_of:
        return " | ".join(_type_script(item) for item in any_of)
    types = value.field("Type") or ()
    return " | ".join(_TYPE_SCRIPT.get(item, "any") for item in types) or "any"


def _date(days_ago: int) -> Callable[..., str]:
    return lambda *_: (datetime.now().astimezone() - timedelta(days=days_ago)).strftime("%Y-%m-%d")


def _call(*_: object) -> str:
    raise Problem("call of a value that is not a function")


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "and": _call,  # `and` and `or` stop early, so execute.py does them
    "or": _call,
    "call": _call,
    "not": lambda value: not (isinstance(value, Record) or bool(value)),
    "eq": _equal,
    "ne": lambda left, right: not equal(left, right),
    "lt": less,
    "le": lambda left, right: less(left, right) or equal(left, right),
    "gt": lambda left, right: not (less(left, right) or equal(left, right)),
    "ge": lambda left, right: not less(left, right),
    "len": _length,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "println": _println,
    "printf": _printf,
    "html": _escape_html,
    "js": _escape_js,
    "urlquery": lambda *values: quote_plus(_print(*values)),
    "json": to_json,
    "currentDate": _date(0),
    "yesterdayDate": _date(1),
    "toTypeScriptType": _type_script,
}
"""By name; the parser refuses every other name. Each raises Problem, or TypeError for a wrong number of arguments."""
