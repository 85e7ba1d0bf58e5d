"""GLM and Laguna: a call is a name, and keys and values between marks of their own."""

from typing import Any, Final

from a3s_power.output.families import values
from a3s_power.output.families.blocks import Block, Form
from a3s_power.output.families.qwen import THINK, named_object
from a3s_power.output.families.reading import Called, Tools, json_object

_KEY: Final = ("<arg_key>", "</arg_key>")
_VALUE: Final = ("<arg_value>", "</arg_value>")
_LAGUNA_NAMES: Final = {
    "read_file": "read",
    "write_file": "write",
    "edit_file": "edit",
    "web_fetch": "webfetch",
}
"""Names that Laguna was trained on, for tools that clients call otherwise."""


def keys_and_values(body: str, tools: Tools) -> list[Called] | None:
    """`NAME<arg_key>K</arg_key><arg_value>V</arg_value>…`; closing marks may be missing, the schema types values."""
    head, *pairs = body.split(_KEY[0])
    name = head.strip()
    if not name or any(sign in name for sign in "<>{}\n"):
        return None
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, mark, rest = pair.partition(_VALUE[0])
        if not mark:
            return None
        key = key.strip().removesuffix(_KEY[1]).strip()
        value, closed, behind = rest.partition(_VALUE[1])
        if not key or (closed and behind.strip()):
            return None
        arguments[key] = values.of_parameter(tools.get(name), key, value)
    return [(name, arguments)]


def _of_glm(body: str, tools: Tools) -> list[Called] | None:
    """A call without its end is believed only for a tool that was offered, with all that it requires."""
    found = keys_and_values(body, tools)
    if found is None or body.rstrip().endswith(_VALUE[1]):
        return found
    [(name, arguments)] = found
    required = tools[name].parameters.get("required") or () if name in tools else None
    return found if required is not None and all(key in arguments for key in required) else None


def _of_laguna(body: str, tools: Tools) -> list[Called] | None:
    return _renamed(keys_and_values(body, tools) or named_object(body, tools) or _name_and_object(body), tools)


def _name_and_object(body: str) -> list[Called] | None:
    name, brace, rest = body.partition("{")
    arguments = json_object(brace + rest)
    return [(name.strip(), arguments)] if name.strip() and arguments is not None else None


def _renamed(calls: list[Called] | None, tools: Tools) -> list[Called] | None:
    if calls is None:
        return None
    return [(name if name in tools else _offered(name, tools), arguments) for name, arguments in calls]


def _offered(name: str, tools: Tools) -> str:
    other = _LAGUNA_NAMES.get(name, name)
    return other if other in tools else name


GLM: Final = Form(blocks=(Block("<tool_call>", "</tool_call>", _of_glm),), thinking=THINK)
LAGUNA: Final = Form(blocks=(Block("<tool_call>", "</tool_call>", _of_laguna),), thinking=THINK)
