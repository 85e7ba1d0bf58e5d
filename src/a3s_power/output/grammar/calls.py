"""Calls of tools as GBNF, each family's in its own syntax; their arguments follow the tools' schemas."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from a3s_power.core.errors import BadRequest
from a3s_power.core.messages import Tool, ToolChoice
from a3s_power.output.grammar import json, tagged
from a3s_power.output.grammar.compile import compiled
from a3s_power.output.grammar.gbnf import Rules, either, literal
from a3s_power.output.grammar.tagged import Marks

_NAME_FIRST: Final = ("name", "arguments")


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How a family writes calls: `begin`, each call between `before` and `after`, `between` two of them, `end`.

    A call is an object with the `keys` for name and arguments; or, without keys, the name, `middle` and the arguments.
    With `marks` the arguments stand between these, one by one. `mark` is what tells a call from text. `several` says
    that there may be more than one.
    """

    mark: str
    begin: str = ""
    before: str = ""
    after: str = ""
    between: str = ""
    end: str = ""
    keys: tuple[str, ...] = _NAME_FIRST
    middle: str = ""
    several: bool = True
    marks: Marks | None = None


_TAGGED: Final = Form(mark="<tool_call>", before="<tool_call>", after="</tool_call>")
_BARE: Final = Form(mark="", keys=("name", "parameters"))
_FUNCTION: Final = Form(
    mark="<tool_call>",
    before="<tool_call>\n<function=",
    after="</function>\n</tool_call>",
    keys=(),
    middle=">\n",
    marks=Marks(before="<parameter=", between=">", after="</parameter>"),
)
_KEYED: Final = Form(
    mark="<tool_call>",
    before="<tool_call>",
    after="</tool_call>",
    keys=(),
    middle="\n",
    marks=Marks(before="<arg_key>", between="</arg_key>\n<arg_value>", after="</arg_value>"),
)
_FAMILIES: Final = {
    "qwen3-coder": _FUNCTION,
    "qwen3.5": _FUNCTION,
    "ornith": _FUNCTION,
    "nemotron-3-nano": _FUNCTION,
    "nemotron-3.5-nano": _FUNCTION,
    "glm-4.7": _KEYED,
    "glm-ocr": _KEYED,
    "laguna": _KEYED,
    "poolside-v1": _KEYED,
    "qwen3": _TAGGED,
    "qwen3-thinking": _TAGGED,
    "qwen3-vl-instruct": _TAGGED,
    "qwen3-vl-thinking": _TAGGED,
    "ministral": Form(mark="[TOOL_CALLS]", before="[TOOL_CALLS]", keys=(), middle="[ARGS]"),
    "deepseek3": Form(
        mark="<｜tool▁calls▁begin｜>",
        begin="<｜tool▁calls▁begin｜>",
        before="<｜tool▁call▁begin｜>",
        after="<｜tool▁call▁end｜>",
        end="<｜tool▁calls▁end｜>",
        keys=(),
        middle="<｜tool▁sep｜>",
    ),
    "cogito": Form(
        mark="<｜tool▁calls▁begin｜>",
        begin="<｜tool▁calls▁begin｜>",
        before="<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        after="\n```<｜tool▁call▁end｜>",
        end="<｜tool▁calls▁end｜>",
        keys=(),
        middle="\n```json\n",
    ),
    "cohere": Form(
        mark="<|START_ACTION|>",
        begin="<|START_ACTION|>[",
        between=",",
        end="]<|END_ACTION|>",
        keys=("tool_name", "parameters"),
    ),
    "harmony": Form(
        mark="",
        before="<|channel|>commentary to=functions.",
        keys=(),
        middle=" <|constrain|>json<|message|>",
        several=False,
    ),
}
_LISTS: Final = {
    "[TOOL_CALLS]": ("[TOOL_CALLS] [", "]"),
    "<|tool_call|>": ("<|tool_call|>[", "]"),
    "<TOOLCALL>": ("<TOOLCALL>[", "]</TOOLCALL>"),
}


def form(parser: str, tag: str) -> Form | None:
    """How the model writes calls, by its named parser or by what announces them; `None` for what cannot be forced."""
    if parser:
        return _FAMILIES.get(parser)
    if tag in ("", "{"):
        return _BARE
    if tag in _LISTS:
        begin, end = _LISTS[tag]
        return Form(mark=tag, begin=begin, between=",", end=end)
    if tag.endswith("["):
        return Form(mark="" if tag == "[" else tag, begin=tag, between=",", end="]")
    if tag.startswith("<") and tag.endswith(">") and tag[1:2].isalpha():
        return Form(mark=tag, before=tag, after=f"</{tag[1:]}")
    return None


def calls(
    how: Form,
    tools: Sequence[Tool],
    rules: Rules,
    *,
    choice: ToolChoice,
    several: bool,
    names: Mapping[str, str],
    note: Callable[[str], None],
) -> str:
    """The body for calls of these tools: one, or with `several` some more. `names` are the prompt's, by the tools' own.

    `note` is told of a tool whose arguments can be any object, because its schema cannot be enforced.
    """
    chosen = [tool for tool in tools if not choice.name or tool.name == choice.name]
    if not chosen:
        raise BadRequest(f"tool_choice: tool '{choice.name}' is not among the tools")
    gap = json.blanks(rules)
    each = [_call(how, names.get(tool.name, tool.name), _given(how, tool, rules, note), rules) for tool in chosen]
    between = f"{literal(how.between)} {gap}" if how.between else gap
    said = _text if how.marks is None else tagged.loose
    one = rules.add("call", f"{said(how.before)} {either(each)} {said(how.after)}")
    more = rules.add("calls", f"{between} {one}")
    several = several and how.several
    return f"{_text(how.begin)} {one}{f' {more}*' if several else ''} {_text(how.end)}"


def _given(how: Form, tool: Tool, rules: Rules, note: Callable[[str], None]) -> str:
    """What a tool is given, in the family's way."""
    if how.marks is None:
        return arguments(tool, rules, note)
    try:
        return rules.add("given", tagged.arguments(tool, how.marks, rules))
    except BadRequest as error:
        note(f"the arguments of {tool.name} are kept to no types: {error}")
        free = Tool(name=tool.name, parameters={"properties": dict.fromkeys(tool.parameters["properties"], True)})
        return rules.add("given", tagged.arguments(free, how.marks, rules))


def _text(text: str) -> str:
    return literal(text) if text else ""


def _call(how: Form, name: str, given: str, rules: Rules) -> str:
    if not how.keys:
        middle = _text(how.middle) if how.marks is None else tagged.loose(how.middle)
        return f"{literal(name)} {middle} {given}"
    gap, (said, with_what) = json.blanks(rules), how.keys
    named = f"{json.constant(said)} {json.COLON} {json.constant(name)} {json.comma(rules)}"
    first = f'"\\"tool_call_id\\":" " "? "\\"" [0-9]{{1,2}} "\\"" {json.comma(rules)} ' if said == "tool_name" else ""
    inside = f'"{{" {gap} {first}{named} {json.constant(with_what)} {json.COLON} {given} {gap} "}}"'
    return f"{gap} {inside} {gap}" if how.before else inside


def arguments(tool: Tool, rules: Rules, note: Callable[[str], None]) -> str:
    """The rule for what a tool is given: nothing where it says of no parameters, which is also what its prompt says."""
    schema = tool.parameters or {"properties": {}}
    try:
        return compiled({"allOf": [schema, {"type": "object"}], **_definitions(tool)}, rules)
    except BadRequest as error:
        note(f"the arguments of {tool.name} are only kept to be an object: {error}")
        return json.any_object(rules)


def _definitions(tool: Tool) -> dict[str, object]:
    """What references inside the schema lead to: their root is the schema itself."""
    return {key: tool.parameters[key] for key in ("$defs", "definitions") if key in tool.parameters}
