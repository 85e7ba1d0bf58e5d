"""Calls written as Python writes them: `[f(a='x', b=1), g()]` of LFM2 and Llama 4, a line for each of OLMo 3."""

import ast
import re
from typing import Any, Final

from a3s_power.output.families.blocks import Block, Form
from a3s_power.output.families.qwen import THINK, named_object
from a3s_power.output.families.reading import Called, Tools

_WORDS: Final = {"true": True, "false": False, "null": None, "none": None}
_LIST: Final = r"\[\s{0,8}(?:(?P<call>[A-Za-z_][\w.]{0,127})\s{0,8}\(|(?:[A-Za-z_][\w.]{0,127})?\s{0,8}\Z)"
_LIST_OF_CALLS: Final = re.compile(_LIST)
_LIST_OR_OBJECT: Final = re.compile(rf"{_LIST}|(?P<object>\{{)")


def calls(body: str, tools: Tools) -> list[Called] | None:  # noqa: ARG001 -- as all readers
    """One call, or a list of them; every argument is a literal behind its name."""
    try:
        tree = ast.parse(body.strip(), mode="eval").body
        nodes = tree.elts if isinstance(tree, ast.List) else [tree]
        return [_call(node) for node in nodes] or None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def lines(body: str, tools: Tools) -> list[Called] | None:
    """A call on each line."""
    found: list[Called] = []
    for line in body.strip().splitlines():
        if line.strip():
            here = calls(line, tools)
            if here is None:
                return calls(body, tools)
            found += here
    return found or None


def _call(node: ast.expr) -> Called:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("not a call by names")
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ValueError("an argument without a name")
        arguments[keyword.arg] = _literal(keyword.value)
    return _name(node.func), arguments


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=owner, attr=name):
            return f"{_name(owner)}.{name}"
        case _:
            raise ValueError("not a name")


def _literal(node: ast.expr) -> Any:  # noqa: ANN401 -- JSON
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.Name(id=word) if word.lower() in _WORDS:
            return _WORDS[word.lower()]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_literal(part) for part in parts]
        case ast.Dict(keys=keys, values=values):
            return {_key(key): _literal(value) for key, value in zip(keys, values, strict=True)}
        case _:
            raise ValueError("not a literal")


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ValueError("not a key")


def calls_or_object(body: str, tools: Tools) -> list[Called] | None:
    """As `calls`, or the JSON object that Llama 4 writes as well."""
    return named_object(body, tools) if body.startswith("{") else calls(body, tools)


LFM2: Final = Form(
    blocks=(Block("<|tool_call_start|>", "<|tool_call_end|>", calls),),
    thinking=THINK,
    bare=calls,
    may_be_bare=_LIST_OF_CALLS,
)
LLAMA4: Final = Form(
    blocks=(Block("<|python_start|>", "<|python_end|>", calls_or_object),),
    bare=calls_or_object,
    may_be_bare=_LIST_OR_OBJECT,
)
OLMO3: Final = Form(blocks=(Block("<function_calls>", "</function_calls>", lines),))
